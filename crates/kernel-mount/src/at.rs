//! The mount that a path shows, of vmroot or of another program.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use crate::table::TABLE;

/// What the source of an overlay of [`mount_overlay`](crate::mount_overlay) begins with: see [`overlay_source`].
const OVERLAY_SOURCE: &[u8] = b"vmroot:";
/// The most bytes of the path of a lower directory that are part of a source: the kernel takes 255 bytes in all.
const MAX_LOWER: usize = 200;
/// The last part of the source that it shows for a mount of [`mount_erofs`](crate::mount_erofs).
pub(crate) const EROFS_SOURCE: &str = "vmroot-erofs";
/// How the directory begins, in which that name is while it is mounted.
pub(crate) const EROFS_DIRECTORY: &str = ".tmp-";
/// The type of a FUSE mount of `vmroot-fuse-mount`.
const FUSE_TYPE: &str = "fuse.vmroot";

/// The source that a table of mounts shows for an overlay: vmroot's name, and the end of the path of the lower directory.
///
/// The name alone would not tell ours from an overlay that a user has called `vmroot`. The table shows the lower directory
/// too, so that the two can be compared, and nobody writes it twice by accident.
pub(crate) fn overlay_source(lower: &Path) -> OsString {
    let lower = lower.as_os_str().as_bytes();
    OsString::from_vec([OVERLAY_SOURCE, &lower[lower.len().saturating_sub(MAX_LOWER)..]].concat())
}

/// A mount that the kernel's table shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountAt {
    /// Where it is: absolute, without links.
    pub mountpoint: PathBuf,
    /// The type of the file system.
    pub form: OsString,
    /// The name of its source, which the program that mounted it has chosen.
    pub source: OsString,
    /// The lower directories of an overlay, as its options have them.
    lower: Option<OsString>,
}

impl MountAt {
    /// The mount that a path shows, the topmost of several; nothing where the path is no mountpoint.
    ///
    /// A file system whose server is gone is found as well: it is asked for nothing.
    ///
    /// # Errors
    /// When the path leads nowhere, or the table cannot be read.
    pub fn find(path: &Path) -> io::Result<Option<Self>> {
        // Opened so, a root directory is not asked for its attributes, and links are followed. What is open says by
        // itself where it is and which mount it belongs to: the path may mean something else a moment later.
        let directory = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let descriptor = directory.as_raw_fd();
        let place = fs::read_link(format!("/proc/self/fd/{descriptor}"))?;
        let details = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"))?;
        let number = details.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).unwrap_or_default();
        let table = fs::read(TABLE)?;
        let lines = table.split(|byte| *byte == b'\n').filter_map(|line| Self::parse(line, number.as_bytes()));
        Ok(lines.into_iter().find(|mount| mount.mountpoint == place))
    }

    /// A line of the table, if it is that of a mount with this number (proc_pid_mountinfo(5)).
    fn parse(line: &[u8], number: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        if fields.next()? != number {
            return None;
        }
        let mountpoint = unescaped(fields.nth(3)?);
        // Any number of optional fields ends with a dash.
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let (form, source) = (unescaped(rest.next()?), unescaped(rest.next()?));
        // A comma in a value is written in octal.
        let mut options = rest.next().unwrap_or_default().split(|byte| *byte == b',');
        let lower = options.find_map(|option| option.strip_prefix(b"lowerdir=")).map(unescaped);
        Some(Self { mountpoint: mountpoint.into(), form, source, lower })
    }

    /// Whether vmroot has mounted it.
    pub fn is_ours(&self) -> bool {
        match self.form.as_bytes() {
            b"erofs" => {
                let mut names = self.source.as_bytes().rsplit(|byte| *byte == b'/');
                names.next() == Some(EROFS_SOURCE.as_bytes())
                    && names.next().is_some_and(|directory| directory.starts_with(EROFS_DIRECTORY.as_bytes()))
            }
            b"overlay" => self.lower.as_ref().is_some_and(|lower| self.source == overlay_source(lower.as_ref())),
            form => form == FUSE_TYPE.as_bytes(),
        }
    }
}

/// A field whose blanks, tabs, line breaks and backslashes are written in octal.
fn unescaped(field: &[u8]) -> OsString {
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
    fn a_line_of_the_table() {
        let line =
            br"36 35 98:0 / /a\040b\011c\012d\134e\3777 rw,noatime shared:1 master:2 - fuse.vmroot vmroot:a,b\040c ro";
        let mount = MountAt::parse(line, b"36").unwrap();
        assert_eq!(mount.mountpoint.as_os_str().as_bytes(), b"/a b\tc\nd\\e\xff7");
        assert_eq!((mount.form.as_bytes(), mount.source.as_bytes()), (&b"fuse.vmroot"[..], &b"vmroot:a,b c"[..]));
        assert!(mount.is_ours());
        assert_eq!(MountAt::parse(line, b"3"), None);
    }

    #[test]
    fn the_mounts_of_others() {
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

    /// The kernel takes 255 bytes of a source, and a path may have more.
    #[test]
    fn a_long_path_of_a_lower_directory_is_cut() {
        let lower = format!("/{}/end", "d".repeat(900));
        let source = overlay_source(lower.as_ref()).into_string().unwrap();
        assert!(source.len() < 256 && source.starts_with("vmroot:d") && source.ends_with("d/end"), "{source}");
        let line = format!("36 35 0:50 / /mnt rw - overlay {source} rw,lowerdir={lower}");
        assert!(MountAt::parse(line.as_bytes(), b"36").unwrap().is_ours());
    }
}
