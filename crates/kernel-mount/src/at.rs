//! Finds the mount that a path shows, of vmroot or of another program.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use vmroot_output::TEMPORARY_PREFIX;

use crate::table::TABLE;

/// The prefix of the source of an overlay of [`mount_overlay`](crate::mount_overlay); see [`overlay_source`].
const OVERLAY_SOURCE: &[u8] = b"vmroot:";
/// The most bytes of a lower directory's path that become part of a source. The kernel takes 255 bytes in all.
const MAX_LOWER: usize = 200;
/// The file name of the source of a [`mount_erofs`](crate::mount_erofs) mount.
pub(crate) const EROFS_SOURCE: &str = "vmroot-erofs";
/// The type of the FUSE mounts of `vmroot-fuse-mount`.
const FUSE_TYPE: &str = "fuse.vmroot";

/// Returns the source that mount tables show for an overlay: the name of vmroot and the end of the lower directory's
/// path.
///
/// The name alone could be the source of a user's overlay too. The table also shows the lower directory, so the two can
/// be compared. No other overlay contains the same path twice by accident.
pub(crate) fn overlay_source(lower: &Path) -> OsString {
    let lower = lower.as_os_str().as_bytes();
    OsString::from_vec([OVERLAY_SOURCE, &lower[lower.len().saturating_sub(MAX_LOWER)..]].concat())
}

/// A mount in the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountAt {
    /// The mountpoint: an absolute path without symlinks.
    pub mountpoint: PathBuf,
    /// The type of the file system.
    pub form: OsString,
    /// The name of the source, chosen by the program that mounted it.
    pub source: OsString,
    /// The lower directories of an overlay, as in its options.
    lower: Option<OsString>,
}

impl MountAt {
    /// Returns the mount that a path shows, the topmost of several; `None` if the path is not a mountpoint.
    ///
    /// Works for a file system whose server is gone too, because it sends no request to it.
    ///
    /// # Errors
    /// An I/O error if the path does not exist or the table cannot be read.
    pub fn find(path: &Path) -> io::Result<Option<Self>> {
        // `O_PATH` follows symlinks and sends no request for the attributes of a root directory. The descriptor
        // identifies its path and its mount, while the path could refer to another file a moment later.
        let directory = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let descriptor = directory.as_raw_fd();
        let place = fs::read_link(format!("/proc/self/fd/{descriptor}"))?;
        let details = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"))?;
        let number = details.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).unwrap_or_default();
        let table = fs::read(TABLE)?;
        let lines = table.split(|byte| *byte == b'\n').filter_map(|line| Self::parse(line, number.as_bytes()));
        Ok(lines.into_iter().find(|mount| mount.mountpoint == place))
    }

    /// Parses a line of the table if it is that of the mount with this number (proc_pid_mountinfo(5)).
    fn parse(line: &[u8], number: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        if fields.next()? != number {
            return None;
        }
        let mountpoint = unescape(fields.nth(3)?);
        // A dash ends any number of optional fields.
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let (form, source) = (unescape(rest.next()?), unescape(rest.next()?));
        // Commas in values are escaped in octal.
        let mut options = rest.next().unwrap_or_default().split(|byte| *byte == b',');
        let lower = options.find_map(|option| option.strip_prefix(b"lowerdir=")).map(unescape);
        Some(Self { mountpoint: mountpoint.into(), form, source, lower })
    }

    /// Returns whether vmroot mounted it.
    pub fn is_ours(&self) -> bool {
        match self.form.as_bytes() {
            b"erofs" => {
                let mut names = self.source.as_bytes().rsplit(|byte| *byte == b'/');
                // A temporary directory holds the file name during the mount.
                names.next() == Some(EROFS_SOURCE.as_bytes())
                    && names.next().is_some_and(|directory| directory.starts_with(TEMPORARY_PREFIX.as_bytes()))
            }
            b"overlay" => self.lower.as_ref().is_some_and(|lower| self.source == overlay_source(lower.as_ref())),
            form => form == FUSE_TYPE.as_bytes(),
        }
    }
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
        let line =
            br"36 35 98:0 / /a\040b\011c\012d\134e\3777 rw,noatime shared:1 master:2 - fuse.vmroot vmroot:a,b\040c ro";
        let mount = MountAt::parse(line, b"36").unwrap();
        assert_eq!(mount.mountpoint.as_os_str().as_bytes(), b"/a b\tc\nd\\e\xff7");
        assert_eq!((mount.form.as_bytes(), mount.source.as_bytes()), (&b"fuse.vmroot"[..], &b"vmroot:a,b c"[..]));
        assert!(mount.is_ours());
        assert_eq!(MountAt::parse(line, b"3"), None);
    }

    #[test]
    fn mounts_of_other_programs_are_not_ours() {
        let is_ours = |form: &str, source: &str| {
            let line =
                format!("36 35 0:50 / /mnt rw - {form} {source} rw,lowerdir=/a\\040b/.tmp-x,upperdir=/u,workdir=/w");
            MountAt::parse(line.as_bytes(), b"36").unwrap().is_ours()
        };
        for (form, source) in [
            ("tmpfs", "vmroot"),
            ("fuse", "vmroot:image"),
            ("fuse.sshfs", "vmroot"),
            ("overlay", "overlay"),
            ("overlay", "vmroot"),
            ("overlay", "vmroot:"),
            ("overlay", "vmroot:/u"),
            ("overlay", "vmroot:image"),
            ("erofs", "/dev/loop0"),
            ("erofs", "/images/vmroot-erofs.img"),
            ("erofs", "/images/vmroot-erofs"),
            ("erofs", "vmroot-erofs"),
            ("ext4", "/dev/vmroot-erofs"),
        ] {
            assert!(!is_ours(form, source), "{form} {source}");
        }
        assert!(is_ours("fuse.vmroot", "alpine") && is_ours("overlay", "vmroot:/a\\040b/.tmp-x"));
        assert!(is_ours("erofs", "/cache/.tmp-x/vmroot-erofs"));
    }

    /// The kernel takes 255 bytes of a source, while a path can have more.
    #[test]
    fn a_long_lower_path_is_truncated() {
        let lower = format!("/{}/end", "d".repeat(900));
        let source = overlay_source(lower.as_ref()).into_string().unwrap();
        assert!(source.len() < 256 && source.starts_with("vmroot:d") && source.ends_with("d/end"), "{source}");
        let line = format!("36 35 0:50 / /mnt rw - overlay {source} rw,lowerdir={lower}");
        assert!(MountAt::parse(line.as_bytes(), b"36").unwrap().is_ours());
    }
}
