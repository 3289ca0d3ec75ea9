//! `ls`, `stat`, `cat`, `readlink` and `resolve`: commands that read a root without a mount.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use vmroot::{ContainerFs, InodeId, InodeKind, RootError, Stat, Timestamp, Top};

use crate::args::LsArguments;
use crate::context::Context;
use crate::exit::{AlreadyReported, report_operand};
use crate::{output, times};

/// A path as it is printed, and its inode.
type Row = (Vec<u8>, InodeId);

/// Lists directories and files, one name on each line. Of several, the files come first, and each directory has a heading.
pub(crate) fn list(context: &Context, arguments: &LsArguments) -> anyhow::Result<()> {
    let opened = context.root(&arguments.image, &Top::default())?;
    let root = &opened.root;
    let is_single = arguments.paths.len() == 1;
    let mut code = 0;
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for path in &arguments.paths {
        let path = path.as_os_str().as_bytes();
        match root.resolve_path(path) {
            Err(error) if is_single => return Err(error.into()),
            Err(error) => code = report_operand(&error.into(), "ls"),
            Ok(found) if root.stat(found.ino).kind == InodeKind::Directory && !arguments.directory => {
                directories.push((path.to_vec(), found.ino));
            }
            Ok(found) => files.push((path.to_vec(), found.ino)),
        }
    }
    match (context.json(), is_single) {
        (true, _) => print_list_json(root, files, &directories, arguments)?,
        (false, true) => {
            let rows = match directories.first() {
                Some((_, directory)) => entries(root, *directory, arguments)?,
                None => files,
            };
            let mut lines = output::Lines::new();
            print_rows(&mut lines, root, &rows, arguments)?;
            lines.finish()?;
        }
        (false, false) => print_list(root, &files, &directories, arguments)?,
    }
    if code == 0 { Ok(()) } else { Err(AlreadyReported(code).into()) }
}

/// Prints several files and directories as ls(1) does.
fn print_list(root: &ContainerFs, files: &[Row], directories: &[Row], arguments: &LsArguments) -> anyhow::Result<()> {
    let mut lines = output::Lines::new();
    print_rows(&mut lines, root, files, arguments)?;
    for (position, (path, directory)) in directories.iter().enumerate() {
        if position > 0 || !files.is_empty() {
            lines.print("")?;
        }
        lines.print([path, &b":"[..]].concat())?;
        print_rows(&mut lines, root, &entries(root, *directory, arguments)?, arguments)?;
    }
    Ok(lines.finish()?)
}

/// Prints files and the entries of directories as one array. With several operands, the paths begin with them.
fn print_list_json(
    root: &ContainerFs,
    files: Vec<Row>,
    directories: &[Row],
    arguments: &LsArguments,
) -> anyhow::Result<()> {
    let mut rows = files;
    for (path, directory) in directories {
        let below = |name: Vec<u8>| match arguments.paths.len() {
            1 => name,
            _ if path.ends_with(b"/") => [&path[..], &name].concat(),
            _ => [&path[..], &name].join(&b'/'),
        };
        rows.extend(entries(root, *directory, arguments)?.into_iter().map(|(name, ino)| (below(name), ino)));
    }
    let objects = rows.iter().map(|(name, ino)| stat_json(root, name, *ino));
    Ok(output::print_json(&objects.collect())?)
}

/// Returns the entries of a directory, or with `--recursive` every path below it.
fn entries(root: &ContainerFs, directory: InodeId, arguments: &LsArguments) -> anyhow::Result<Vec<Row>> {
    match arguments.recursive {
        true => paths_below(root, directory),
        false => Ok(root.readdir(directory, 0)?.map(|entry| (entry.name.to_vec(), entry.ino)).collect()),
    }
}

fn print_rows(
    lines: &mut output::Lines,
    root: &ContainerFs,
    rows: &[Row],
    arguments: &LsArguments,
) -> anyhow::Result<()> {
    for (name, ino) in rows {
        let long = || format_long(&root.stat(*ino), arguments.human_readable);
        match (arguments.long, root.readlink(*ino)) {
            (false, _) => lines.print(name)?,
            (true, Ok(target)) => lines.print([long().as_bytes(), b" ", name, b" -> ", target].concat())?,
            (true, Err(_)) => lines.print([long().as_bytes(), b" ", name].concat())?,
        }
    }
    Ok(())
}

/// Returns every path below a directory, relative to it, parents first.
fn paths_below(root: &ContainerFs, directory: InodeId) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut open = vec![(directory, 0, Vec::new())];
    while let Some((directory, cookie, path)) = open.pop() {
        let Some(entry) = root.readdir(directory, cookie)?.next() else { continue };
        let child: Vec<u8> = if path.is_empty() { entry.name.to_vec() } else { [&path, entry.name].join(&b'/') };
        open.push((directory, entry.next, path));
        rows.push((child.clone(), entry.ino));
        if entry.kind == InodeKind::Directory {
            open.push((entry.ino, 0, child));
        }
    }
    Ok(rows)
}

/// Prints the attributes of a path.
pub(crate) fn stat(context: &Context, image: &str, path: &Path, dereference: bool) -> anyhow::Result<()> {
    let opened = context.root(image, &Top::default())?;
    let root = &opened.root;
    let bytes = path.as_os_str().as_bytes();
    let resolved = if dereference { root.resolve_path(bytes)? } else { root.resolve_link(bytes)? };
    if context.json() {
        return Ok(output::print_json(&stat_json(root, &resolved.path, resolved.ino))?);
    }
    let stat = root.stat(resolved.ino);
    output::print_line([b"path   ", &resolved.path[..]].concat())?;
    output::print_line(format!("type   {}", kind_name(stat.kind)))?;
    output::print_line(format!("mode   {:04o}", stat.mode & 0o7777))?;
    output::print_line(format!("owner  {}:{}", stat.uid, stat.gid))?;
    output::print_line(format!("size   {}", stat.size))?;
    output::print_line(format!("links  {}", stat.nlink))?;
    output::print_line(format!("inode  {}", stat.ino.0))?;
    output::print_line(format!("mtime  {}", format_time(stat.mtime)))?;
    if matches!(stat.kind, InodeKind::Character | InodeKind::Block) {
        output::print_line(format!("device {}", stat.device))?;
    }
    if let Ok(target) = root.readlink(resolved.ino) {
        output::print_line([b"target ", target].concat())?;
    }
    // Escaped, because values may be binary, such as those of file capabilities.
    for (name, value) in root.xattrs(resolved.ino) {
        output::print_line(format!("xattr  {}={}", name.escape_ascii(), value.escape_ascii()))?;
    }
    Ok(())
}

/// Prints files. One that cannot be read does not keep others from being printed.
pub(crate) fn cat(context: &Context, image: &str, paths: &[PathBuf]) -> anyhow::Result<()> {
    let opened = context.root(image, &Top::default())?;
    let mut out = output::stdout();
    let mut code = 0;
    for path in paths {
        match cat_file(&opened.root, path, &mut out) {
            Err(error) if paths.len() > 1 && !error.is::<std::io::Error>() => {
                out.flush()?;
                code = report_operand(&error, "cat");
            }
            result => result?,
        }
    }
    out.flush()?;
    if code == 0 { Ok(()) } else { Err(AlreadyReported(code).into()) }
}

fn cat_file(root: &ContainerFs, path: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let bytes = path.as_os_str().as_bytes();
    let ino = root.resolve_path(bytes)?.ino;
    if root.stat(ino).kind == InodeKind::Directory {
        return Err(RootError::IsADirectory(bytes.into()).into());
    }
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        let count = root.read_at(ino, offset, &mut buffer).with_context(|| path.display().to_string())?;
        if count == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..count])?;
        offset += count as u64;
    }
}

/// Prints the target of a symbolic link.
pub(crate) fn readlink(context: &Context, image: &str, path: &Path) -> anyhow::Result<()> {
    let opened = context.root(image, &Top::default())?;
    let bytes = path.as_os_str().as_bytes();
    let resolved = opened.root.resolve_link(bytes)?;
    let target = opened.root.readlink(resolved.ino).map_err(|_| RootError::NotALink(bytes.into()))?;
    if context.json() {
        return Ok(output::print_json(
            &json!({"path": bytes_to_text(&resolved.path), "target": bytes_to_text(target)}),
        )?);
    }
    Ok(output::print_line(target)?)
}

/// Prints a path with all symbolic links resolved.
pub(crate) fn resolve(context: &Context, image: &str, path: &Path) -> anyhow::Result<()> {
    let opened = context.root(image, &Top::default())?;
    let asked = path.as_os_str().as_bytes();
    let resolved = opened.root.resolve_path(asked)?;
    if context.json() {
        let kind = kind_name(opened.root.stat(resolved.ino).kind);
        return Ok(output::print_json(
            &json!({"path": bytes_to_text(asked), "resolved": bytes_to_text(&resolved.path), "type": kind}),
        )?);
    }
    Ok(output::print_line(resolved.path)?)
}

fn stat_json(root: &ContainerFs, path: &[u8], ino: InodeId) -> Value {
    let mut value = attributes_json(root, ino);
    value["path"] = json!(bytes_to_text(path));
    value
}

/// Returns the attributes of an inode as JSON, without a path.
pub(super) fn attributes_json(root: &ContainerFs, ino: InodeId) -> Value {
    attributes_object(&root.stat(ino), root.readlink(ino).ok(), root.xattrs(ino))
}

/// Returns attributes as JSON, with the target of a symbolic link.
pub(super) fn attributes_object<'a>(
    stat: &Stat,
    target: Option<&[u8]>,
    xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Value {
    let xattrs = xattrs.map(|(name, value)| (bytes_to_text(name), json!(bytes_to_text(value))));
    json!({
        "type": kind_name(stat.kind),
        "mode": format!("{:04o}", stat.mode & 0o7777),
        "uid": stat.uid,
        "gid": stat.gid,
        "size": stat.size,
        "nlink": stat.nlink,
        "inode": stat.ino.0,
        "mtime": times::rfc3339(stat.mtime.seconds, stat.mtime.nanoseconds),
        "mtimeSeconds": stat.mtime.seconds,
        "device": matches!(stat.kind, InodeKind::Character | InodeKind::Block)
            .then(|| stat.device.to_string()),
        "target": target.map(bytes_to_text),
        "xattrs": xattrs.collect::<serde_json::Map<_, _>>(),
    })
}

/// Returns bytes as text for JSON. Valid UTF-8 is unchanged; in other bytes, backslashes and all but printable ASCII
/// are escaped.
pub(super) fn bytes_to_text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), str::to_owned)
}

pub(super) fn kind_name(kind: InodeKind) -> &'static str {
    match kind {
        InodeKind::Regular => "file",
        InodeKind::Directory => "directory",
        InodeKind::Symlink => "symlink",
        InodeKind::Character => "character device",
        InodeKind::Block => "block device",
        InodeKind::Fifo => "fifo",
        InodeKind::Socket => "socket",
        InodeKind::Link => "link",
    }
}

/// Returns a time with nanoseconds, as `stat` prints it.
fn format_time(time: Timestamp) -> String {
    format!("{}.{:09} UTC", times::readable(time.seconds), time.nanoseconds)
}

/// Formats attributes as `ls -ln` does, with numeric owners. With `units`, sizes are for people.
pub(super) fn format_long(stat: &Stat, units: bool) -> String {
    let size = match stat.kind {
        InodeKind::Character | InodeKind::Block => format!("{}, {}", stat.device.major, stat.device.minor),
        _ if units => output::format_bytes(stat.size),
        _ => stat.size.to_string(),
    };
    let (mode, links, uid, gid) = (format_mode(stat), stat.nlink, stat.uid, stat.gid);
    format!("{mode} {links:>4} {uid:>5} {gid:>5} {size:>10} {}", times::readable(stat.mtime.seconds))
}

fn format_mode(stat: &Stat) -> String {
    let kind = match stat.kind {
        InodeKind::Regular | InodeKind::Link => '-',
        InodeKind::Directory => 'd',
        InodeKind::Symlink => 'l',
        InodeKind::Character => 'c',
        InodeKind::Block => 'b',
        InodeKind::Fifo => 'p',
        InodeKind::Socket => 's',
    };
    let bit = |mask: u32, letter: char| if stat.mode & mask == 0 { '-' } else { letter };
    let special = |execute: u32, mask: u32, letter: char| match (stat.mode & mask != 0, stat.mode & execute != 0) {
        (true, true) => letter,
        (true, false) => letter.to_ascii_uppercase(),
        (false, true) => 'x',
        (false, false) => '-',
    };
    let letters = [
        kind,
        bit(0o400, 'r'),
        bit(0o200, 'w'),
        special(0o100, 0o4000, 's'),
        bit(0o040, 'r'),
        bit(0o020, 'w'),
        special(0o010, 0o2000, 's'),
        bit(0o004, 'r'),
        bit(0o002, 'w'),
        special(0o001, 0o1000, 't'),
    ];
    letters.iter().collect()
}
