//! Finds the mount that a path shows, of vmroot or of another program.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use crate::source::PREFIX;
use crate::table::TABLE;

/// The type of the FUSE mounts of `vmroot-fuse-mount`.
const FUSE_TYPE: &str = "fuse.vmroot";
/// The start of a path by descriptor, which an overlay has for a lower directory with a special name.
const DESCRIPTOR: &[u8] = b"/proc/self/fd/";

/// A mount in the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountAt {
    /// The mountpoint: an absolute path without symlinks.
    pub mountpoint: PathBuf,
    /// The type of the file system.
    pub form: OsString,
    /// The name of the source, chosen by the program that mounted it.
    pub source: OsString,
    /// The number of the file system, as `MAJOR:MINOR`. No other file system has it until this one ends.
    pub device: String,
    /// The number of the mount in the table.
    number: Vec<u8>,
    /// The directory of the file system that the mount shows.
    root: OsString,
    /// The options of the file system.
    options: Vec<OsString>,
    /// The mountpoint of an earlier mount of the same file system.
    earlier: Option<PathBuf>,
}

/// The program that made a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// vmroot.
    Vmroot,
    /// Another program, which mounted a mount of vmroot or a directory of it at a second place (`mount --bind`).
    Bind {
        /// The mountpoint of vmroot's mount, if that exists.
        original: Option<PathBuf>,
    },
    /// Another program.
    Other,
}

impl MountAt {
    /// Returns the mount that a path shows, the topmost of several; `None` if the path is not a mountpoint.
    ///
    /// Works for a file system whose server is gone too, because it sends no request to it.
    ///
    /// # Errors
    /// An I/O error if the path does not exist or the table cannot be read.
    pub fn find(path: &Path) -> io::Result<Option<Self>> {
        let (mount, place) = locate(path)?;
        Ok(mount.filter(|mount| mount.mountpoint == place))
    }

    /// Returns the mount that a path is part of; `None` if its mountpoint is out of reach.
    ///
    /// # Errors
    /// An I/O error if the path does not exist or the table cannot be read.
    pub fn containing(path: &Path) -> io::Result<Option<Self>> {
        locate(path).map(|(mount, _)| mount)
    }

    /// Returns all mounts of the caller's mount namespace, in the order in which they were made.
    ///
    /// # Errors
    /// An I/O error if the table cannot be read.
    pub fn all() -> io::Result<Vec<Self>> {
        Ok(parse_table(&fs::read(TABLE)?))
    }

    /// Returns the program that made the mount.
    pub fn owner(&self) -> Owner {
        let name = self.source.as_bytes();
        let has_name = name == b"vmroot" || name.starts_with(PREFIX.as_bytes());
        let is_ours = match self.form.as_bytes() {
            b"erofs" => has_name,
            // Other programs may choose the same source. No other one gives a lower directory by its name alone.
            b"overlay" => has_name && self.option("lowerdir=").is_some_and(is_relative_or_descriptor),
            form => form == FUSE_TYPE.as_bytes(),
        };
        if !is_ours {
            return Owner::Other;
        }
        if self.root != "/" || self.earlier.is_some() {
            return Owner::Bind { original: self.earlier.clone() };
        }
        Owner::Vmroot
    }

    /// Returns whether vmroot mounted it.
    pub fn is_ours(&self) -> bool {
        self.owner() == Owner::Vmroot
    }

    /// Returns the image's name in the source of a mount of vmroot.
    pub fn image(&self) -> Option<&OsStr> {
        self.source.as_bytes().strip_prefix(PREFIX.as_bytes()).map(OsStr::from_bytes)
    }

    /// Returns the upper directory of an overlay, as its options show it.
    pub fn upper(&self) -> Option<PathBuf> {
        self.option("upperdir=").map(|path| path.to_owned().into())
    }

    /// Returns the work directory of an overlay, as its options show it.
    pub fn work(&self) -> Option<PathBuf> {
        self.option("workdir=").map(|path| path.to_owned().into())
    }

    /// Returns the id of the user who made a FUSE mount.
    pub fn user(&self) -> Option<u32> {
        self.option("user_id=")?.to_str()?.parse().ok()
    }

    fn option(&self, name: &str) -> Option<&OsStr> {
        let values = self.options.iter().map(|option| option.as_bytes());
        values.into_iter().find_map(|option| option.strip_prefix(name.as_bytes())).map(OsStr::from_bytes)
    }

    /// Parses a line of the table (proc_pid_mountinfo(5)).
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = fields.next()?.to_owned();
        let device = String::from_utf8_lossy(fields.nth(1)?).into_owned();
        let (root, mountpoint) = (unescape(fields.next()?), unescape(fields.next()?).into());
        // A dash ends any number of optional fields.
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let (form, source) = (unescape(rest.next()?), unescape(rest.next()?));
        // Commas in values are escaped in octal.
        let options = rest.next().unwrap_or_default().split(|byte| *byte == b',').map(unescape).collect();
        Some(Self { mountpoint, form, source, device, number, root, options, earlier: None })
    }
}

/// Returns the mount that a path is part of, and the path without symlinks.
fn locate(path: &Path) -> io::Result<(Option<MountAt>, PathBuf)> {
    // `O_PATH` follows symlinks and sends no request for the attributes of a root directory. The descriptor
    // identifies its path and its mount, while the path could refer to another file a moment later.
    let directory = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let descriptor = directory.as_raw_fd();
    let place = fs::read_link(format!("/proc/self/fd/{descriptor}"))?;
    let details = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"))?;
    let number = details.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).unwrap_or_default();
    let mount = MountAt::all()?.into_iter().find(|mount| mount.number == number.as_bytes());
    Ok((mount, place))
}

/// Parses the table, and finds mounts of the same file system. Mounts are listed in the order in which they were made.
fn parse_table(table: &[u8]) -> Vec<MountAt> {
    let mut mounts: Vec<MountAt> = Vec::new();
    for line in table.split(|byte| *byte == b'\n') {
        let Some(mut mount) = MountAt::parse(line) else { continue };
        let is_earlier = |other: &&MountAt| other.device == mount.device && other.root == "/";
        mount.earlier = mounts.iter().find(is_earlier).map(|other| other.mountpoint.clone());
        mounts.push(mount);
    }
    mounts
}

fn is_relative_or_descriptor(path: &OsStr) -> bool {
    !path.as_bytes().starts_with(b"/") || path.as_bytes().starts_with(DESCRIPTOR)
}

/// Decodes a field whose spaces, tabs, line breaks and backslashes are escaped in octal.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_parsed() {
        let line = br"36 35 98:0 / /a\040b\011c\012d\134e\3777 rw,noatime shared:1 master:2 - fuse.vmroot vmroot:a,b\040c ro,user_id=7";
        let mount = MountAt::parse(line).unwrap();
        assert_eq!(mount.mountpoint.as_os_str().as_bytes(), b"/a b\tc\nd\\e\xff7");
        assert_eq!((mount.form.as_bytes(), mount.source.as_bytes()), (&b"fuse.vmroot"[..], &b"vmroot:a,b c"[..]));
        assert_eq!((mount.device.as_str(), mount.user()), ("98:0", Some(7)));
        assert!(mount.is_ours());
        assert_eq!(mount.image().unwrap(), "a,b c");
        for short in ["", "36 35", "36 35 98:0 / /a rw - tmpfs"] {
            assert_eq!(MountAt::parse(short.as_bytes()), None);
        }
    }

    fn owner(form: &str, source: &str, lower: &str) -> Owner {
        let line = format!("36 35 0:50 / /mnt rw - {form} {source} rw,lowerdir={lower},upperdir=/u,workdir=/w");
        MountAt::parse(line.as_bytes()).unwrap().owner()
    }

    #[test]
    fn mounts_of_other_programs_are_not_ours() {
        for (form, source, lower) in [
            ("tmpfs", "vmroot", ""),
            ("fuse", "vmroot:image", ""),
            ("fuse.sshfs", "vmroot", ""),
            ("overlay", "overlay", "root"),
            ("overlay", "overlay", "l/ABC:l/DEF"),
            ("overlay", "vmroot", "/lower"),
            ("overlay", "vmroot:image", "/a/.tmp-1-0"),
            ("overlay", "/vmroot:image", "root"),
            ("erofs", "/dev/loop0", ""),
            ("erofs", "/images/vmroot:image", ""),
            ("erofs", "vmroots", ""),
            ("ext4", "vmroot:image", ""),
        ] {
            assert_eq!(owner(form, source, lower), Owner::Other, "{form} {source}");
        }
        for (form, source, lower) in [
            ("fuse.vmroot", "alpine", ""),
            ("overlay", "vmroot:image", "root"),
            ("overlay", "vmroot:image", "/proc/self/fd/7"),
            ("erofs", "vmroot:quay.io/x/y", ""),
        ] {
            assert_eq!(owner(form, source, lower), Owner::Vmroot, "{form} {source}");
        }
    }

    #[test]
    fn second_mounts_of_a_file_system_are_bind_mounts() {
        let table = b"36 35 0:50 / /ours rw - erofs vmroot:a ro\n\
            37 35 0:50 /etc /part rw - erofs vmroot:a ro\n\
            38 35 0:50 / /whole rw - erofs vmroot:a ro\n\
            39 35 0:51 / /other rw - erofs vmroot:a ro\n\
            40 35 0:52 /etc /alone rw - fuse.vmroot vmroot:a ro\n";
        let owners: Vec<Owner> = parse_table(table).iter().map(MountAt::owner).collect();
        let bind = |original: Option<&str>| Owner::Bind { original: original.map(PathBuf::from) };
        let expected = [Owner::Vmroot, bind(Some("/ours")), bind(Some("/ours")), Owner::Vmroot, bind(None)];
        assert_eq!(owners, expected);
    }

    #[test]
    fn directories_of_an_overlay_are_in_its_options() {
        let line = br"36 35 0:50 / /mnt rw - overlay vmroot:a rw,lowerdir=root,upperdir=/u\040v,workdir=/w";
        let mount = MountAt::parse(line).unwrap();
        assert_eq!((mount.upper().unwrap(), mount.work().unwrap()), ("/u v".into(), "/w".into()));
    }
}
