//! The reasons for which `fusermount3` refuses to mount or unmount.

use std::fmt;

/// The reason for which `fusermount3` refused.
///
/// The program tells it in English on standard error. Its texts are those of libfuse 2.9 to 3.17 (util/fusermount.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The user may not write to the mountpoint.
    NotWritable,
    /// Another user owns the mountpoint, in a directory like `/tmp`.
    NotOwner,
    /// `allow_other` needs `user_allow_other` in `/etc/fuse.conf`.
    AllowOther,
    /// The user has as many FUSE mounts as `mount_max` of `/etc/fuse.conf` allows.
    TooMany,
    /// The file system of the mountpoint is none that users may mount over.
    FileSystem,
    /// There is no `/dev/fuse`, or the user may not open it.
    Device,
    /// The kernel refuses mounts, as in a container without the permission.
    NotPermitted,
    /// A program uses the mount.
    Busy,
    /// The mount is not one of the user.
    NotOurs,
    /// Any other reason.
    Other,
}

/// The texts of `fusermount3` and their reasons. The first one that occurs counts.
const TEXTS: [(&str, Refusal); 14] = [
    ("no write access to mountpoint", Refusal::NotWritable),
    ("not owned by user", Refusal::NotOwner),
    ("user_allow_other", Refusal::AllowOther),
    ("too many FUSE filesystems", Refusal::TooMany),
    ("mounting over filesystem type", Refusal::FileSystem),
    ("device not found", Refusal::Device),
    ("device /dev/fuse not found", Refusal::Device),
    ("failed to open /dev/fuse", Refusal::Device),
    ("resource busy", Refusal::Busy),
    ("entry for", Refusal::NotOurs),
    ("not found in /etc/mtab", Refusal::NotOurs),
    ("Operation not permitted", Refusal::NotPermitted),
    ("Permission denied", Refusal::NotPermitted),
    ("must be root", Refusal::NotPermitted),
];

impl Refusal {
    /// Recognises the reason in the output of `fusermount3`.
    pub(crate) fn of(message: &str) -> Self {
        let found = TEXTS.iter().find(|(text, _)| message.contains(text));
        found.map_or(Self::Other, |(_, refusal)| *refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWritable => "this user may not write to the directory",
            Self::NotOwner => "this user does not own the directory, which is in one like /tmp",
            Self::AllowOther => "/etc/fuse.conf does not let users give access to other users",
            Self::TooMany => "this user has as many FUSE mounts as /etc/fuse.conf allows",
            Self::FileSystem => "users may not mount over the file system of this directory",
            Self::Device => "/dev/fuse is missing or cannot be opened",
            Self::NotPermitted => "the kernel does not permit FUSE mounts here, as in many containers",
            Self::Busy => "a program uses it",
            Self::NotOurs => "it is not a mount of this user",
            Self::Other => "fusermount3 refuses it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_fusermount_are_recognised() {
        for (message, refusal) in [
            ("fusermount3: user has no write access to mountpoint /x", Refusal::NotWritable),
            ("fusermount3: mountpoint /tmp/x not owned by user", Refusal::NotOwner),
            (
                "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf",
                Refusal::AllowOther,
            ),
            (
                "fusermount3: too many FUSE filesystems mounted; mount_max=1000 can be set in /etc/fuse.conf",
                Refusal::TooMany,
            ),
            ("fusermount3: mounting over filesystem type 0x9fa0 is forbidden", Refusal::FileSystem),
            ("fuse: device not found, try 'modprobe fuse' first", Refusal::Device),
            ("fusermount3: mount failed: Operation not permitted", Refusal::NotPermitted),
            ("fusermount3: failed to unmount /x: Device or resource busy", Refusal::Busy),
            ("fusermount3: entry for /x not found in /etc/mtab", Refusal::NotOurs),
            ("something else", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(message), refusal, "{message}");
        }
    }
}
