//! What a form leaves out of a root, or changes: one type for all forms.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bstr::BString;
use rustix::io::Errno;

/// Omissions that are listed; further ones are counted.
pub const LISTED_OMISSIONS: usize = 1000;

/// Something that is not in the output as it is in the root. The rest of the entry is, unless the entry is what is left
/// out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    /// In the root; `.` is the root directory itself.
    pub path: PathBuf,
    /// What is missing.
    pub what: Omitted,
    /// Why it is missing.
    pub why: Why,
}

/// What is missing, or has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Omitted {
    /// The owner and group; the exporting user has the entry.
    Owner {
        /// The owner in the root.
        uid: u32,
        /// The group in the root.
        gid: u32,
    },
    /// The mode. Where the owner is missing, a file loses its setuid and setgid bits: they would mean something else.
    Mode(u32),
    /// The modification time; the nearest that there is takes its place.
    Time,
    /// The xattr of this name.
    Xattr(BString),
    /// A device; nothing has its name.
    Device,
    /// A socket; nothing has its name. A program that listens on one makes it.
    Socket,
    /// A hard link; a copy has its name.
    HardLink,
}

/// Why something is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The form has no place for it.
    Form(Cow<'static, str>),
    /// The system refused it: `EPERM` to this user, or `EOPNOTSUPP` for xattrs that the file system does not have.
    System(Errno),
}

/// Everything of a root that is not in an output as it is in the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Omissions {
    /// How many there are, without cut times.
    pub total: u64,
    /// The first [`LISTED_OMISSIONS`] of them.
    pub listed: Vec<Omission>,
    /// Inodes whose time is cut to whole seconds, because the form has no others. They are counted alone: where there
    /// is one, nearly every inode is one.
    pub cut_times: u64,
}

/// A form cannot hold all of a root, and the caller asked for all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// The form.
    pub form: &'static str,
    /// What it cannot hold.
    pub omissions: Omissions,
}

impl Why {
    /// A reason that lies in the form.
    pub fn form(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Form(reason.into())
    }
}

impl Omissions {
    /// Counts one. `path` is called only if it is listed; the empty path of the root directory is listed as `.`.
    pub fn add(&mut self, path: impl FnOnce() -> PathBuf, what: Omitted, why: Why) {
        self.total += 1;
        if self.listed.len() < LISTED_OMISSIONS {
            let path = path();
            let path = if path.as_os_str().is_empty() { ".".into() } else { path };
            self.listed.push(Omission { path, what, why });
        }
    }

    /// Adds those of another part of the same root.
    pub fn append(&mut self, other: Self) {
        self.total += other.total;
        self.cut_times += other.cut_times;
        let room = LISTED_OMISSIONS - self.listed.len();
        self.listed.extend(other.listed.into_iter().take(room));
    }

    /// Whether nothing is missing at all.
    pub fn is_empty(&self) -> bool {
        self.total == 0 && self.cut_times == 0
    }

    /// Makes anything that is missing an error, if `strict` says so.
    ///
    /// # Errors
    /// [`Incomplete`], which names the first omission.
    pub fn check(&self, strict: bool, form: &'static str) -> Result<(), Incomplete> {
        if strict && !self.is_empty() { Err(Incomplete { form, omissions: self.clone() }) } else { Ok(()) }
    }

    /// All of it for people, a line for each of the first `most`, and one for the rest.
    pub fn lines(&self, most: usize) -> Vec<String> {
        let mut lines: Vec<_> =
            self.listed.iter().take(most).map(|one| format!("not as in the image: {one}")).collect();
        let more = self.total - lines.len() as u64;
        if more > 0 {
            lines.push(format!("not as in the image: {more} more"));
        }
        if self.cut_times > 0 {
            lines.push(format!("not as in the image: {} times are cut to whole seconds", self.cut_times));
        }
        lines
    }

    /// Sorts what is listed by path.
    pub(crate) fn sorted(mut self) -> Self {
        self.listed.sort_by(|a, b| a.path.cmp(&b.path));
        self
    }
}

impl fmt::Display for Omission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.path.display(), self.what, self.why)
    }
}

impl fmt::Display for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { uid, gid } => write!(f, "owner {uid}:{gid}"),
            Self::Mode(mode) => write!(f, "mode {mode:04o}"),
            Self::Time => f.write_str("modification time"),
            Self::Xattr(name) => write!(f, "xattr {name:?}"),
            Self::Device => f.write_str("device"),
            Self::Socket => f.write_str("socket"),
            Self::HardLink => f.write_str("hard link, copied instead"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(reason) => f.write_str(reason),
            Self::System(errno) => std::io::Error::from(*errno).fmt(f),
        }
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Omissions { total, listed, cut_times } = &self.omissions;
        write!(f, "{} cannot hold everything", self.form)?;
        if let Some(first) = listed.first() {
            write!(f, ": {first}")?;
        }
        if *total > 1 {
            write!(f, ", and {} more", total - 1)?;
        }
        if *cut_times > 0 {
            write!(f, ": {cut_times} modification times have parts of seconds")?;
        }
        Ok(())
    }
}

impl std::error::Error for Incomplete {}

/// A path of a root or a layer for messages: the root directory is `.`.
pub(crate) fn named(path: &[u8]) -> PathBuf {
    OsStr::from_bytes(if path.is_empty() { b"." } else { path }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_limit_and_a_count_none() {
        let many = || {
            let mut many = Omissions::default();
            for number in 0..LISTED_OMISSIONS - 1 {
                many.add(|| number.to_string().into(), Omitted::Time, Why::System(Errno::RANGE));
            }
            many
        };
        let mut all = many();
        all.append(many());
        assert_eq!((all.total, all.listed.len()), (2 * LISTED_OMISSIONS as u64 - 2, LISTED_OMISSIONS));
        assert_eq!(all.check(false, "a tar"), Ok(()));
        let message = all.check(true, "a tar").unwrap_err().to_string();
        assert!(message.starts_with("a tar cannot hold everything: 0: modification time ("), "{message}");
        assert!(message.ends_with("), and 1997 more"), "{message}");
    }

    #[test]
    fn cut_times_are_omissions_too() {
        let omissions = Omissions { cut_times: 3, ..Omissions::default() };
        let message = omissions.check(true, "a cpio").unwrap_err().to_string();
        assert_eq!(message, "a cpio cannot hold everything: 3 modification times have parts of seconds");
        assert_eq!(Omissions::default().check(true, "a cpio"), Ok(()));
    }
}
