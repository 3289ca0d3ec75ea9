//! The lines of passwd(5) and group(5).

/// `name:password:uid:gid:comment:home:shell`. What follows the gid may be missing.
pub(crate) struct PasswdEntry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: &'a [u8],
}

/// `name:password:gid:members`. The members may be missing.
pub(crate) struct GroupEntry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) gid: u32,
    members: &'a [u8],
}

impl<'a> PasswdEntry<'a> {
    pub(crate) fn all(text: &'a [u8]) -> impl Iterator<Item = Self> {
        entries(text).filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let home = fields.nth(1).unwrap_or_default();
            Some(Self { name, uid: id(uid)?, gid: id(gid)?, home })
        })
    }
}

impl<'a> GroupEntry<'a> {
    pub(crate) fn all(text: &'a [u8]) -> impl Iterator<Item = Self> {
        entries(text).filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
            Some(Self { name, gid: id(gid)?, members: fields.next().unwrap_or_default() })
        })
    }

    /// Whether the group lists a user.
    pub(crate) fn has(&self, user: &[u8]) -> bool {
        self.members.split(|byte| *byte == b',').any(|member| member.trim_ascii() == user)
    }
}

/// The lines that can be entries. `#` begins a comment. `+` and `-` stand for entries of a directory service, which no
/// image has with it.
fn entries(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b'+' | b'-' | b':')))
}

/// A user's or a group's id: digits alone. The largest number is -1 to the kernel, and means that nothing changes.
pub(crate) fn id(text: &[u8]) -> Option<u32> {
    // A sign would be fine with the parser of std.
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|id| *id != u32::MAX)
}
