//! The parts of a root that an export leaves out or changes. All export forms use these types.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bstr::BString;
use rustix::io::Errno;

/// The most omissions that are listed. Further ones are only counted.
pub const LISTED_OMISSIONS: usize = 1000;

/// The most omissions of one kind and reason that messages name one by one.
const SINGLE: usize = 3;

/// The number of paths that a message about many omissions names.
const EXAMPLES: usize = 3;

/// A part of an entry that the output lacks or has with another value. [`Omitted::Device`] and [`Omitted::Socket`]
/// stand for the whole entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    /// The path in the root. `.` is the root directory.
    pub path: PathBuf,
    /// The missing part.
    pub what: Omitted,
    /// The reason.
    pub why: OmissionReason,
}

/// The part that is missing or has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Omitted {
    /// The owner and group. The entry belongs to the exporting user.
    Owner {
        /// The owner in the root.
        uid: u32,
        /// The group in the root.
        gid: u32,
    },
    /// The mode. A file whose owner is omitted also loses its setuid and setgid bits, which would apply to another
    /// user.
    Mode(u32),
    /// The modification time. The output has the nearest time that it can hold.
    Time,
    /// The xattr with this name.
    Xattr(BString),
    /// A device. The output has no entry of this name.
    Device,
    /// A socket. The output has no entry of this name. Programs create their sockets when they listen.
    Socket,
    /// A hard link. The output has a copy under this name.
    HardLink,
}

/// The reason for an omission.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OmissionReason {
    /// The output format cannot hold it.
    Form(Cow<'static, str>),
    /// The system refused it: `EPERM` for this user, or `EOPNOTSUPP` for an xattr that the file system does not
    /// support.
    System(Errno),
}

/// All omissions of an output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Omissions {
    /// The number of omissions, without [`Self::cut_times`].
    pub total: u64,
    /// The first [`LISTED_OMISSIONS`] of them.
    pub listed: Vec<Omission>,
    /// The number of inodes whose time is truncated to whole seconds, because the format has no fractions. They are not
    /// listed, because a root with one usually has many.
    pub cut_times: u64,
}

/// An export failed because it was strict and its form cannot hold the whole root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// The form, as in "a tar".
    pub form: &'static str,
    /// The parts that it cannot hold.
    pub omissions: Omissions,
}

impl OmissionReason {
    /// Creates a reason that lies in the format.
    pub fn form(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Form(reason.into())
    }
}

impl Omissions {
    /// Adds an omission. `path` is called only if the omission is listed. An empty path is listed as `.`.
    pub fn add(&mut self, path: impl FnOnce() -> PathBuf, what: Omitted, why: OmissionReason) {
        self.total += 1;
        if self.listed.len() < LISTED_OMISSIONS {
            let path = path();
            let path = if path.as_os_str().is_empty() { ".".into() } else { path };
            self.listed.push(Omission { path, what, why });
        }
    }

    /// Adds the omissions of another part of the same root.
    pub fn append(&mut self, other: Self) {
        self.total += other.total;
        self.cut_times += other.cut_times;
        let room = LISTED_OMISSIONS - self.listed.len();
        self.listed.extend(other.listed.into_iter().take(room));
    }

    /// Returns true if there is no omission and no truncated time.
    pub fn is_empty(&self) -> bool {
        self.total == 0 && self.cut_times == 0
    }

    /// Returns an error if there are omissions, for a strict export.
    ///
    /// # Errors
    /// [`Incomplete`], which names the first omission.
    pub fn require_complete(&self, form: &'static str) -> Result<(), Incomplete> {
        if self.is_empty() { Ok(()) } else { Err(Incomplete { form, omissions: self.clone() }) }
    }

    /// Returns messages, at most `most` and two more: one line for each omission, but only one line for many of the same
    /// kind and reason, with their number and the first of them. One more line has the number of the others.
    pub fn lines(&self, most: usize) -> Vec<String> {
        let mut groups: Vec<Vec<&Omission>> = Vec::new();
        for one in &self.listed {
            match groups.iter_mut().find(|group| group[0].is_like(one)) {
                Some(group) => group.push(one),
                None => groups.push(vec![one]),
            }
        }
        let (mut lines, mut shown) = (Vec::new(), 0);
        for group in &groups {
            let room = most.saturating_sub(lines.len());
            match group.len() <= SINGLE {
                true => {
                    lines.extend(group.iter().take(room).map(|one| format!("not as in the image: {one}")));
                    shown += group.len().min(room);
                }
                false if room > 0 => {
                    lines.push(format!("not as in the image: {}", summary(group)));
                    shown += group.len();
                }
                false => {}
            }
        }
        let more = self.total - shown as u64;
        if more > 0 {
            lines.push(format!("not as in the image: {more} more"));
        }
        if self.cut_times > 0 {
            let times = if self.cut_times == 1 { "time is" } else { "times are" };
            lines.push(format!("not as in the image: {} {times} cut to whole seconds", self.cut_times));
        }
        lines
    }

    /// Sorts the listed omissions by path.
    pub fn sorted(mut self) -> Self {
        self.listed.sort_by(|a, b| a.path.cmp(&b.path));
        self
    }
}

impl Omission {
    /// Returns whether another omission is of the same part, for the same reason.
    fn is_like(&self, other: &Self) -> bool {
        let same_part = match (&self.what, &other.what) {
            (Omitted::Xattr(name), Omitted::Xattr(other)) => name == other,
            (what, other) => std::mem::discriminant(what) == std::mem::discriminant(other),
        };
        same_part && self.why == other.why
    }
}

/// Returns one text for several omissions of one kind.
fn summary(group: &[&Omission]) -> String {
    let what = match &group[0].what {
        Omitted::Owner { .. } => "the owners",
        Omitted::Mode(_) => "the modes",
        Omitted::Time => "the modification times",
        Omitted::Xattr(name) => &format!("the xattrs {name:?}"),
        Omitted::Device => "devices:",
        Omitted::Socket => "sockets:",
        Omitted::HardLink => "hard links, copied instead:",
    };
    let paths: Vec<String> = group.iter().take(EXAMPLES).map(|one| one.path.display().to_string()).collect();
    let of = if what.ends_with(':') { "" } else { " of" };
    format!("{what}{of} {} files, such as {} ({})", group.len(), paths.join(", "), group[0].why)
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

impl fmt::Display for OmissionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(reason) => f.write_str(reason),
            Self::System(errno) => {
                let text = std::io::Error::from(*errno).to_string();
                // Without the number that the standard library adds.
                f.write_str(text.split(" (os error").next().unwrap_or_default())
            }
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

/// Returns a path of a root or a layer for messages. The root directory is `.`.
pub fn display_path(path: &[u8]) -> PathBuf {
    OsStr::from_bytes(if path.is_empty() { b"." } else { path }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_limited_and_count_is_not() {
        let many = || {
            let mut many = Omissions::default();
            for number in 0..LISTED_OMISSIONS - 1 {
                many.add(|| number.to_string().into(), Omitted::Time, OmissionReason::System(Errno::RANGE));
            }
            many
        };
        let mut all = many();
        all.append(many());
        assert_eq!((all.total, all.listed.len()), (2 * LISTED_OMISSIONS as u64 - 2, LISTED_OMISSIONS));
        let message = all.require_complete("a tar").unwrap_err().to_string();
        assert!(message.starts_with("a tar cannot hold everything: 0: modification time ("), "{message}");
        assert!(message.ends_with("), and 1997 more"), "{message}");
    }

    #[test]
    fn many_omissions_of_a_kind_are_one_line() {
        let mut omissions = Omissions::default();
        let denied = || OmissionReason::System(Errno::PERM);
        for number in 0..1200 {
            omissions.add(|| format!("f{number}").into(), Omitted::Owner { uid: number, gid: 0 }, denied());
            if number < 2 {
                omissions.add(|| format!("d{number}").into(), Omitted::Device, denied());
            }
        }
        assert_eq!(
            omissions.lines(20),
            [
                "not as in the image: the owners of 998 files, such as f0, f1, f2 (Operation not permitted)",
                "not as in the image: d0: device (Operation not permitted)",
                "not as in the image: d1: device (Operation not permitted)",
                "not as in the image: 202 more",
            ]
        );
        assert_eq!(omissions.lines(1).len(), 2);
    }

    #[test]
    fn truncated_times_are_omissions() {
        let omissions = Omissions { cut_times: 3, ..Omissions::default() };
        let message = omissions.require_complete("a cpio").unwrap_err().to_string();
        assert_eq!(message, "a cpio cannot hold everything: 3 modification times have parts of seconds");
        assert_eq!(Omissions::default().require_complete("a cpio"), Ok(()));
    }
}
