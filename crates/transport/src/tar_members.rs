//! Access to the members of a tar by name, after one scan of its headers.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use tar::EntryType;
use vmroot_errors::describe_content;
use vmroot_model::{MAX_LINKS, PathWalk, TooManyLinks};

use crate::bundle::Bundle;
use crate::section::Section;
use crate::{Error, Result};

/// The number of bytes that show the kind of a file.
const CONTENT_START: u64 = 2048;

/// The maximum number of members. A docker save archive of a hundred images has some thousands.
const MEMBERS_LIMIT: u64 = 1 << 18;

/// The maximum length in bytes of one member's headers: its long name, its long link target and its PAX records.
const HEADERS_LIMIT: u64 = 1 << 20;

/// The maximum length in bytes of all names and link targets together.
const NAMES_LIMIT: u64 = 64 << 20;

/// The maximum length in bytes of a path, the kernel's `PATH_MAX`.
const PATH_LIMIT: usize = 4096;

/// A plain tar whose members can be read in any order, from any thread.
#[derive(Debug)]
pub(crate) struct TarMembers {
    path: PathBuf,
    file: Arc<File>,
    members: HashMap<String, Member>,
}

/// A member of a tar. Of several with one name, the last one counts, as when a tar is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Member {
    /// A file, stored contiguously.
    File {
        /// The offset in the tar of its first byte.
        offset: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// A hard link, with the name of another member.
    HardLink(String),
    /// A symbolic link. Its target is relative to the member's directory, or to the root of the archive if it starts
    /// with a slash.
    Symlink(String),
    /// A directory, a device, a sparse file, or a link with an invalid target.
    Other,
}

impl TarMembers {
    /// Scans a plain tar. `path` is its name in messages.
    pub(crate) fn scan(path: &Path, file: File) -> Result<Self> {
        let end = file.metadata().map_err(Error::io("stat", path))?.len();
        let mut members = HashMap::new();
        scan(path, &file, |name, member, _| {
            if let Member::File { offset, len } = member
                && offset.checked_add(len).is_none_or(|member_end| member_end > end)
            {
                return Err(Error::member(path, &name, "is cut off: the archive is truncated"));
            }
            members.insert(name, member);
            Ok(())
        })?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file), members })
    }

    /// Returns whether a member has this name. It may be a link.
    pub(crate) fn contains(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    /// Returns the offset and length of a member, following links within the archive.
    fn resolve(&self, member: &str) -> Result<Option<(u64, u64)>> {
        if member.len() > PATH_LIMIT {
            return Ok(None);
        }
        let mut reached: Vec<u8> = Vec::new();
        // A directory is the length of its path. It needs no member of its own.
        let mut walk = PathWalk::new(0, member.as_bytes()).stop_outside_root();
        while let Some(step) = walk.next() {
            reached.truncate(*step.directory);
            if !reached.is_empty() {
                reached.push(b'/');
            }
            reached.extend_from_slice(step.name);
            let is_last = step.is_last_name();
            let followed = match std::str::from_utf8(&reached).ok().and_then(|reached| self.members.get(reached)) {
                Some(&Member::File { offset, len }) if is_last => return Ok(Some((offset, len))),
                Some(Member::Other) if is_last => {
                    return Err(Error::member(&self.path, member, "is not a file stored in one piece"));
                }
                Some(Member::Symlink(target)) => walk.follow(target.as_bytes()),
                Some(Member::HardLink(target)) => walk.follow_from_root(target.as_bytes()),
                _ => {
                    walk.enter(reached.len());
                    continue;
                }
            };
            followed.map_err(|TooManyLinks| Error::TooManyLinks {
                path: self.path.clone(),
                member: member.to_owned(),
                limit: MAX_LINKS,
            })?;
        }
        if walk.has_left_root() {
            return Err(Error::member(&self.path, member, "leads out of the archive"));
        }
        Ok(None)
    }
}

impl Bundle for TarMembers {
    fn path(&self) -> &Path {
        &self.path
    }

    fn find(&self, member: &str) -> Result<Option<Section>> {
        Ok(self.resolve(member)?.map(|(offset, len)| Section::new(Arc::clone(&self.file), offset, len)))
    }
}

/// Reads the headers of a tar. Calls `found` with the normalised name of each member, the member, and a reader of its
/// bytes.
///
/// Names that are not UTF-8 or contain `..` are skipped, because archives of images never refer to them.
///
/// # Errors
/// - [`Error::ArchiveLimit`]: there are too many members, or too many bytes of headers or names.
/// - [`Error::NotAnArchive`]: the file is not a tar, or is truncated.
/// - The errors of `found`.
pub(crate) fn scan<R: Read + Seek>(
    path: &Path,
    tar: R,
    mut found: impl FnMut(String, Member, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let remaining = Rc::new(Cell::new(HEADERS_LIMIT));
    let mut archive = tar::Archive::new(HeaderLimitReader { inner: tar, remaining: Rc::clone(&remaining) });
    match scan_members(path, &mut archive, &remaining, &mut found) {
        Ok(0) => check_empty(path, &mut archive.into_inner().inner),
        Ok(_) => Ok(()),
        Err(ScanError::Other(error)) => Err(*error),
        Err(ScanError::Broken { member, source }) => {
            let content = if member == 1 { content(&mut archive.into_inner().inner) } else { None };
            Err(Error::NotAnArchive { path: path.to_owned(), reason: reason(member, content, &source) })
        }
    }
}

/// An error while members are read.
enum ScanError {
    /// The tar reader fails at a member, counted from 1.
    Broken { member: u64, source: io::Error },
    /// Any other error.
    Other(Box<Error>),
}

impl From<Error> for ScanError {
    fn from(error: Error) -> Self {
        Self::Other(Box::new(error))
    }
}

/// Returns the number of members.
fn scan_members<R: Read + Seek>(
    path: &Path,
    archive: &mut tar::Archive<HeaderLimitReader<R>>,
    remaining: &Cell<u64>,
    found: &mut impl FnMut(String, Member, &mut dyn Read) -> Result<()>,
) -> std::result::Result<u64, ScanError> {
    let over = |what, limit| ScanError::from(Error::ArchiveLimit { path: path.to_owned(), what, limit });
    let broken = |member: u64, source: io::Error| ScanError::Broken { member, source };
    let (mut names, mut members) = (0, 0);
    for (count, entry) in (1..).zip(archive.entries_with_seek().map_err(|error| broken(1, error))?) {
        let mut entry = entry.map_err(|error| match error.get_ref() {
            Some(inner) if inner.is::<HeadersTooLong>() => over("the headers of one member", HEADERS_LIMIT),
            _ => broken(count, error),
        })?;
        if count > MEMBERS_LIMIT {
            return Err(over("the number of members", MEMBERS_LIMIT));
        }
        let path = path_of(&entry);
        let member = member(&entry, &path);
        if let Some(name) = name(&path) {
            names += name.len() as u64 + member.target_len();
            if names > NAMES_LIMIT {
                return Err(over("the length of all names", NAMES_LIMIT));
            }
            remaining.set(u64::MAX);
            found(name, member, &mut entry)?;
        }
        remaining.set(HEADERS_LIMIT);
        members = count;
    }
    Ok(members)
}

/// Fails if a file that begins as an empty tar has other content after that: file systems such as EROFS and ext4 leave
/// their first 1024 bytes to boot loaders.
fn check_empty(path: &Path, file: &mut (impl Read + Seek)) -> Result<()> {
    let start = start(file).unwrap_or_default();
    if start.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    let seems = describe_content(&start).map_or_else(String::new, |content| format!("; it seems to be {content}"));
    Err(Error::NotAnArchive { path: path.to_owned(), reason: format!("it is not a tar{seems}") })
}

/// Returns what a file seems to be. `None` also stands for a stream that cannot be read again.
fn content(file: &mut (impl Read + Seek)) -> Option<&'static str> {
    describe_content(&start(file)?)
}

/// Returns the first bytes of a file. `None` stands for a stream that cannot be read again.
fn start(file: &mut (impl Read + Seek)) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    file.rewind().ok()?;
    file.take(CONTENT_START).read_to_end(&mut start).ok()?;
    Some(start)
}

/// Returns the reason for which a file is not an archive, after an error at a member, counted from 1. The messages of
/// the tar reader contain the bytes that it could not read.
fn reason(member: u64, content: Option<&'static str>, error: &io::Error) -> String {
    match (member, content) {
        _ if error.raw_os_error().is_some() => format!("it cannot be read: {error}"),
        (1, None) => "it is not a tar".to_owned(),
        (1, Some("a tar")) => "the first header of its tar is damaged".to_owned(),
        (1, Some(content)) => format!("it is not a tar; it seems to be {content}"),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("its tar is cut off in member {member}")
        }
        _ => format!("its tar is damaged at member {member}"),
    }
}

impl Member {
    fn target_len(&self) -> u64 {
        match self {
            Self::HardLink(target) | Self::Symlink(target) => target.len() as u64,
            Self::File { .. } | Self::Other => 0,
        }
    }
}

/// Returns the path of a member. The `tar` crate ignores the prefix field of a POSIX header whose version is not `00`,
/// as Maven, Ant and JRuby write it. GNU tar and Go check the magic only.
fn path_of<R: Read>(entry: &tar::Entry<'_, R>) -> Vec<u8> {
    let path = entry.path_bytes();
    let header = entry.header();
    let block = header.as_bytes();
    let ignored_prefix = block[257..263] == *b"ustar\0" && header.as_ustar().is_none();
    // A different path comes from a PAX record or a GNU long name, which take precedence over the header.
    if ignored_prefix && path == header.path_bytes() {
        let prefix = block[345..500].split(|&byte| byte == 0).next().unwrap_or_default();
        if !prefix.is_empty() {
            return [prefix, b"/", &path].concat();
        }
    }
    path.into_owned()
}

fn member<R: Read>(entry: &tar::Entry<'_, R>, path: &[u8]) -> Member {
    let target = || {
        let target = entry.link_name_bytes().filter(|target| target.len() <= PATH_LIMIT)?;
        String::from_utf8(target.into_owned()).ok()
    };
    match entry.header().entry_type() {
        // Tars from before POSIX mark a directory by a slash at the end of its name. POSIX's type for files overrides
        // this.
        EntryType::Regular if path.ends_with(b"/") && entry.header().as_old().linkflag == [0] => Member::Other,
        EntryType::Regular | EntryType::Continuous => {
            Member::File { offset: entry.raw_file_position(), len: entry.size() }
        }
        EntryType::Link => target().map_or(Member::Other, Member::HardLink),
        EntryType::Symlink => target().map_or(Member::Other, Member::Symlink),
        _ => Member::Other,
    }
}

/// Returns the name of a member without `./` and without leading, doubled and trailing slashes.
fn name(raw: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(raw).ok()?;
    let components: Vec<_> = path.split('/').filter(|component| !matches!(*component, "" | ".")).collect();
    (!components.is_empty() && !components.contains(&"..")).then(|| components.join("/"))
}

/// A reader with a limit on header bytes. Without it, the tar reader would keep gigabytes of a "long name" in memory.
#[derive(Debug)]
struct HeaderLimitReader<R> {
    inner: R,
    /// The number of bytes that may be read before the next member. Skipped bytes do not count.
    remaining: Rc<Cell<u64>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the headers are too long")]
struct HeadersTooLong;

impl<R: Read> Read for HeaderLimitReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        let left = self.remaining.get().checked_sub(read as u64).ok_or_else(|| io::Error::other(HeadersTooLong))?;
        self.remaining.set(left);
        Ok(read)
    }
}

impl<R: Seek> Seek for HeaderLimitReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tar(members: &[(&str, EntryType, &str)]) -> TarMembers {
        let mut builder = tar::Builder::new(tempfile::tempfile().unwrap());
        for &(name, kind, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            // `set_path` refuses the names that this test needs.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            let body = if kind == EntryType::Regular { content } else { "" };
            if name == "v7/" {
                header.as_old_mut().linkflag = [0];
            }
            if kind.is_symlink() || kind.is_hard_link() {
                header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            header.set_size(body.len() as u64);
            header.set_cksum();
            builder.append(&header, body.as_bytes()).unwrap();
        }
        let mut file = builder.into_inner().unwrap();
        file.rewind().unwrap();
        TarMembers::scan(Path::new("test.tar"), file).unwrap()
    }

    fn read(tar: &TarMembers, name: &str) -> Result<Option<String>> {
        let Some(mut section) = tar.find(name)? else { return Ok(None) };
        let mut text = String::new();
        section.read_to_string(&mut text).unwrap();
        Ok(Some(text))
    }

    #[test]
    fn names_are_normalised_and_the_last_one_wins() {
        let tar = tar(&[
            ("./a", EntryType::Regular, "first"),
            ("/a", EntryType::Regular, "second"),
            ("dir/", EntryType::Directory, ""),
            ("dir//./b", EntryType::Regular, "b"),
            ("x/../a", EntryType::Regular, "smuggled"),
            ("v7/", EntryType::Regular, ""),
            ("posix/", EntryType::Regular, "a file"),
        ]);
        assert_eq!(read(&tar, "a").unwrap().unwrap(), "second");
        assert_eq!(read(&tar, "./dir/b").unwrap().unwrap(), "b");
        assert_eq!(read(&tar, "x/../a").unwrap().unwrap(), "second");
        assert_eq!(read(&tar, "missing").unwrap(), None);
        assert_eq!(read(&tar, "posix").unwrap().unwrap(), "a file");
        for directory in ["dir", "v7"] {
            assert!(read(&tar, directory).unwrap_err().to_string().contains("not a file"));
        }
    }

    /// Maven, Ant and JRuby write other versions after POSIX's magic. A PAX record takes precedence over name and
    /// prefix.
    #[test]
    fn the_prefix_field_is_used_with_every_version_field() {
        for version in [b"00", b"\0\0", b"  ", b" \0"] {
            let mut file = tempfile::tempfile().unwrap();
            for records in [&b""[..], b"14 path=other\n"] {
                let mut headers = Vec::new();
                if !records.is_empty() {
                    let mut pax = tar::Header::new_ustar();
                    pax.set_entry_type(EntryType::XHeader);
                    pax.set_size(records.len() as u64);
                    pax.set_cksum();
                    headers.extend([pax.as_bytes(), &[records, &[0; 512][records.len()..]].concat()[..]].concat());
                }
                let mut header = tar::Header::new_ustar();
                header.as_ustar_mut().unwrap().name[..9].copy_from_slice(b"layer.tar");
                header.as_ustar_mut().unwrap().prefix[..2].copy_from_slice(b"ID");
                header.as_mut_bytes()[263..265].copy_from_slice(version);
                header.set_size(0);
                header.set_cksum();
                headers.extend_from_slice(header.as_bytes());
                file.write_all(&headers).unwrap();
            }
            file.write_all(&[0; 1024]).unwrap();
            file.rewind().unwrap();
            let tar = TarMembers::scan(Path::new("test.tar"), file).unwrap();
            let mut names: Vec<_> = tar.members.keys().collect();
            names.sort();
            assert_eq!(names, ["ID/layer.tar", "other"], "{version:?}");
        }
    }

    #[test]
    fn links_are_followed_only_within_the_archive() {
        let tar = tar(&[
            ("one/layer.tar", EntryType::Regular, "layer"),
            ("two/layer.tar", EntryType::Symlink, "../one/layer.tar"),
            ("three/layer.tar", EntryType::Symlink, "/two/layer.tar"),
            ("hard", EntryType::Link, "three/layer.tar"),
            ("alias", EntryType::Symlink, "one"),
            ("out", EntryType::Symlink, "../../etc/passwd"),
            ("root", EntryType::Symlink, "/etc/passwd"),
            ("loop", EntryType::Symlink, "pool"),
            ("pool", EntryType::Symlink, "loop"),
            ("self", EntryType::Link, "self"),
        ]);
        for name in ["two/layer.tar", "three/layer.tar", "hard", "alias/layer.tar"] {
            assert_eq!(read(&tar, name).unwrap().unwrap(), "layer", "{name}");
        }
        assert!(read(&tar, "out").unwrap_err().to_string().contains("out of the archive"));
        assert_eq!(read(&tar, "root").unwrap(), None);
        for name in ["loop", "self"] {
            let error = read(&tar, name).unwrap_err().to_string();
            assert!(error.contains("more than 40 links") && error.contains(name), "{error}");
        }
    }

    #[test]
    fn the_error_names_a_truncated_member() {
        let mut header = tar::Header::new_gnu();
        header.set_path("layer.tar").unwrap();
        header.set_size(u64::MAX >> 2);
        header.set_cksum();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.rewind().unwrap();
        let error = TarMembers::scan(Path::new("test.tar"), file).unwrap_err().to_string();
        assert!(error.contains("layer.tar") && error.contains("truncated"), "{error}");
    }

    #[test]
    fn a_name_of_gigabytes_is_refused() {
        let mut header = tar::Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(8 << 30);
        header.set_cksum();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len(9 << 30).unwrap();
        file.rewind().unwrap();
        let error = TarMembers::scan(Path::new("test.tar"), file).unwrap_err();
        assert!(matches!(error, Error::ArchiveLimit { limit: HEADERS_LIMIT, .. }), "{error}");
    }

    #[test]
    fn other_files_are_refused_and_an_empty_file_has_no_members() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(TarMembers::scan(Path::new("test.tar"), file.try_clone().unwrap()).unwrap().members.is_empty());
        file.write_all(&[b'x'; 2048]).unwrap();
        file.rewind().unwrap();
        let error = TarMembers::scan(Path::new("test.tar"), file).unwrap_err();
        assert!(matches!(error, Error::NotAnArchive { .. }), "{error}");
    }
}
