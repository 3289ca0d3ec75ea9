//! Parsing the lines of passwd(5) and group(5).

/// An entry of `/etc/passwd`: `name:password:uid:gid:comment:home:shell`. Fields after the gid may be missing.
pub(crate) struct PasswdEntry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: &'a [u8],
}

/// An entry of `/etc/group`: `name:password:gid:members`. The members may be missing.
pub(crate) struct GroupEntry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) gid: u32,
    members: &'a [u8],
}

impl<'a> PasswdEntry<'a> {
    /// Returns the valid entries of a file.
    pub(crate) fn all(text: &'a [u8]) -> impl Iterator<Item = Self> {
        entry_lines(text).filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let home = fields.nth(1).unwrap_or_default();
            Some(Self { name, uid: parse_id(uid)?, gid: parse_id(gid)?, home })
        })
    }
}

impl<'a> GroupEntry<'a> {
    /// Returns the valid entries of a file.
    pub(crate) fn all(text: &'a [u8]) -> impl Iterator<Item = Self> {
        entry_lines(text).filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
            Some(Self { name, gid: parse_id(gid)?, members: fields.next().unwrap_or_default() })
        })
    }

    /// Returns whether the group has a user as a member.
    pub(crate) fn has_member(&self, user: &[u8]) -> bool {
        self.members.split(|byte| *byte == b',').any(|member| member.trim_ascii() == user)
    }
}

/// Returns the lines that may be entries.
///
/// Skips comments, which begin with `#`, and lines that begin with `+` or `-`, which refer to a directory service
/// (NIS).
fn entry_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b'+' | b'-' | b':')))
}

/// Parses the id of a user or a group, which consists of digits.
///
/// Returns `None` for the largest number. It is -1 to the kernel, which means "no change".
pub(crate) fn parse_id(text: &[u8]) -> Option<u32> {
    // `parse` alone would accept a sign.
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|id| *id != u32::MAX)
}
