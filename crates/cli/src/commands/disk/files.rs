//! `disk ls` and `disk cat`: files of a disk, without a mount.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vmroot::changes::Disk;
use vmroot::ext4::{Inode, ReadError};
use vmroot::{InodeId, InodeKind, Stat};

use crate::args::DiskLsArguments;
use crate::commands::files::{attributes_object, bytes_to_text, format_long};
use crate::context::Context;
use crate::exit::{AlreadyReported, report_operand};
use crate::output;

/// The bytes of a file that are read at once.
const PIECE: u64 = 1 << 20;

/// Lists a directory of a disk, or describes a file.
pub(super) fn list(context: &Context, arguments: &DiskLsArguments) -> anyhow::Result<()> {
    let disk = open(&arguments.disk)?;
    let path = arguments.path.as_os_str().as_bytes();
    let rows = disk.read(|reader| {
        let found = reader.resolve(path, true)?;
        if found.kind() != InodeKind::Directory || arguments.directory {
            return Ok(vec![(path.to_vec(), found)]);
        }
        let entries = reader.read_directory(&found)?.into_iter();
        entries.map(|entry| Ok((entry.name, reader.inode(entry.inode)?))).collect()
    });
    let rows: Vec<(Vec<u8>, Inode)> = rows.map_err(vmroot::Error::from)?;
    if context.json() {
        let objects = rows.iter().map(|(name, inode)| object(&disk, name, inode)).collect::<anyhow::Result<_>>()?;
        return Ok(output::print_json(&Value::Array(objects))?);
    }
    let mut lines = output::Lines::new();
    for (name, inode) in &rows {
        if !arguments.long {
            lines.print(name)?;
            continue;
        }
        let long = format_long(&stat(inode), arguments.human_readable);
        let target = target(&disk, inode)?.map(|target| [b" -> ", &target[..]].concat()).unwrap_or_default();
        lines.print([long.as_bytes(), b" ", name, &target].concat())?;
    }
    Ok(lines.finish()?)
}

/// Prints files of a disk. One that cannot be read does not keep others from being printed.
pub(super) fn cat(disk: &Path, paths: &[PathBuf]) -> anyhow::Result<()> {
    let disk = open(disk)?;
    let mut out = output::stdout();
    let mut code = 0;
    for path in paths {
        match print_file(&disk, path.as_os_str().as_bytes(), &mut out) {
            Err(error) if paths.len() > 1 && !error.is::<std::io::Error>() => {
                out.flush()?;
                code = report_operand(&error, "disk cat");
            }
            result => result?,
        }
    }
    out.flush()?;
    if code == 0 { Ok(()) } else { Err(AlreadyReported(code).into()) }
}

fn open(path: &Path) -> anyhow::Result<Disk> {
    Ok(Disk::open(path).map_err(vmroot::Error::from)?)
}

fn print_file(disk: &Disk, path: &[u8], out: &mut impl Write) -> anyhow::Result<()> {
    let inode = disk.read(|reader| {
        let inode = reader.resolve(path, true)?;
        match inode.kind() {
            InodeKind::Regular => Ok(inode),
            InodeKind::Directory => Err(ReadError::WrongKind { path: path.into(), what: "it is a directory" }),
            _ => Err(ReadError::WrongKind { path: path.into(), what: "it is not a regular file" }),
        }
    });
    let inode = inode.map_err(vmroot::Error::from)?;
    let mut file = disk.read(|reader| reader.open_file(&inode)).map_err(vmroot::Error::from)?;
    let mut buffer = vec![0; inode.size().min(PIECE) as usize];
    let mut offset = 0;
    while offset < inode.size() {
        let piece = &mut buffer[..(inode.size() - offset).min(PIECE) as usize];
        disk.read(|_| file.read_exact_at(piece, offset)).map_err(vmroot::Error::from)?;
        out.write_all(piece)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

fn target(disk: &Disk, inode: &Inode) -> anyhow::Result<Option<Vec<u8>>> {
    match inode.kind() {
        InodeKind::Symlink => Ok(Some(disk.read(|reader| reader.link_target(inode)).map_err(vmroot::Error::from)?)),
        _ => Ok(None),
    }
}

fn object(disk: &Disk, name: &[u8], inode: &Inode) -> anyhow::Result<Value> {
    let xattrs = disk.read(|reader| reader.xattrs(inode)).map_err(vmroot::Error::from)?;
    let pairs = xattrs.iter().map(|(name, value)| (&name[..], &value[..]));
    let mut object = attributes_object(&stat(inode), target(disk, inode)?.as_deref(), pairs);
    object["path"] = json!(bytes_to_text(name));
    Ok(object)
}

fn stat(inode: &Inode) -> Stat {
    Stat {
        ino: InodeId(inode.number()),
        kind: inode.kind(),
        mode: inode.mode(),
        uid: inode.uid(),
        gid: inode.gid(),
        nlink: inode.links().into(),
        size: inode.size(),
        blocks: 0,
        mtime: inode.mtime(),
        device: inode.device(),
    }
}
