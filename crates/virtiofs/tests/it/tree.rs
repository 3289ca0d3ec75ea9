//! Lists the tree of a device with the requests of a guest.

use std::collections::BTreeMap;

use vmroot_model::{Algorithm, Hasher};
use vmroot_testkit::listing::{Listing, Row};

use crate::front_end::Guest;
use crate::message::{
    GETXATTR, LISTXATTR, READ, READDIRPLUS, READLINK, number, parse_reply, read_body, request, words,
};

/// The number of the root inode.
pub(crate) const ROOT: u64 = 1;

/// Bytes of an entry and of a directory entry before its name (`fuse_entry_out`, `fuse_dirent`).
pub(crate) const ENTRY: usize = 128;
pub(crate) const DIRENT: usize = 24;

/// The attributes that the device returns for an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) node: u64,
    pub(crate) size: u64,
    pub(crate) mtime: i128,
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
}

/// Parses a `fuse_attr`.
pub(crate) fn attributes(bytes: &[u8]) -> Attributes {
    let word = |at| number(bytes, at, 4) as u32;
    let seconds = i128::from(number(bytes, 32, 8).cast_signed());
    Attributes {
        node: number(bytes, 0, 8),
        size: number(bytes, 8, 8),
        mtime: seconds * 1_000_000_000 + i128::from(word(52)),
        mode: word(60),
        nlink: word(64),
        uid: word(68),
        gid: word(72),
        rdev: word(76),
    }
}

/// Returns the names of a directory without `.` and `..`, with their attributes. Requests `size` bytes at a time.
pub(crate) fn read_directory(guest: &mut Guest, directory: u64, size: u32) -> Vec<(Vec<u8>, Attributes)> {
    let (mut names, mut offset) = (Vec::new(), 0);
    loop {
        let bytes = guest.call(&request(READDIRPLUS, directory, &read_body(offset, size)), size + 16);
        let mut rest = parse_reply(&bytes).unwrap();
        if rest.is_empty() {
            return names;
        }
        while !rest.is_empty() {
            let dirent = &rest[ENTRY..];
            offset = number(dirent, 8, 8);
            let length = number(dirent, 16, 4) as usize;
            let name = dirent[DIRENT..DIRENT + length].to_vec();
            let attributes = attributes(&rest[40..]);
            assert_eq!(number(dirent, 0, 8), attributes.node);
            assert_eq!(number(dirent, 20, 4) as u32, attributes.mode >> 12);
            if name != b"." && name != b".." {
                assert_eq!(number(rest, 0, 8), attributes.node);
                names.push((name, attributes));
            }
            rest = &rest[ENTRY + (DIRENT + length).next_multiple_of(8)..];
        }
    }
}

/// Reads a whole file, `size` bytes at a time.
pub(crate) fn read_file(guest: &mut Guest, node: u64, size: u32, mut piece: impl FnMut(&[u8])) {
    let mut offset = 0;
    loop {
        let bytes = guest.call(&request(READ, node, &read_body(offset, size)), size + 16);
        let read = parse_reply(&bytes).unwrap();
        piece(read);
        offset += read.len() as u64;
        if read.len() < size as usize {
            return;
        }
    }
}

/// Returns all xattrs of an inode.
pub(crate) fn xattrs(guest: &mut Guest, node: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let names = with_size(guest, |size| request(LISTXATTR, node, &words(&[size, 0])));
    let names: Vec<_> = names.split_inclusive(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    names
        .into_iter()
        .map(|name| {
            let value = with_size(guest, |size| request(GETXATTR, node, &[&words(&[size, 0]), &name[..]].concat()));
            (name[..name.len() - 1].to_vec(), value)
        })
        .collect()
}

/// Requests the number of bytes, then the bytes.
fn with_size(guest: &mut Guest, request: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let bytes = guest.call(&request(0), 64);
    let size = number(parse_reply(&bytes).unwrap(), 0, 4) as u32;
    if size == 0 {
        return Vec::new();
    }
    parse_reply(&guest.call(&request(size), size + 16)).unwrap().to_vec()
}

/// Lists the whole tree.
pub(crate) fn listing(guest: &mut Guest) -> Listing {
    let mut rows = BTreeMap::new();
    let mut groups: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    let mut directories = vec![(Vec::new(), ROOT)];
    while let Some((path, directory)) = directories.pop() {
        for (name, found) in read_directory(guest, directory, 4096) {
            let path = if path.is_empty() { name } else { [&path[..], b"/", &name].concat() };
            let row = row(guest, &found);
            if row.kind == 'd' {
                directories.push((path.clone(), found.node));
            } else if found.nlink > 1 {
                groups.entry(found.node).or_default().push(path.clone());
            }
            rows.insert(path, row);
        }
    }
    for mut paths in groups.into_values() {
        paths.sort();
        for path in &paths {
            rows.get_mut(path).unwrap().link = Some(paths[0].clone());
        }
    }
    Listing { rows }
}

fn row(guest: &mut Guest, found: &Attributes) -> Row {
    let kind = match found.mode >> 12 {
        0o01 => 'p',
        0o02 => 'c',
        0o04 => 'd',
        0o06 => 'b',
        0o10 => 'f',
        0o12 => 'l',
        0o14 => 's',
        other => panic!("{other:o} is not a kind"),
    };
    let random = (found.rdev >> 8 & 0xfff, found.rdev & 0xff | found.rdev >> 12 & 0xfff00);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    if kind == 'f' {
        read_file(guest, found.node, 1 << 20, |piece| hasher.update(piece));
    }
    let target =
        (kind == 'l').then(|| parse_reply(&guest.call(&request(READLINK, found.node, &[]), 4200)).unwrap().to_vec());
    Row {
        kind,
        mode: found.mode & 0o7777,
        uid: found.uid,
        gid: found.gid,
        mtime: found.mtime,
        size: (kind == 'f').then_some(found.size),
        device: matches!(kind, 'b' | 'c').then_some(random),
        link: None,
        target,
        xattrs: xattrs(guest, found.node),
        sha256: (kind == 'f').then(|| hasher.finish().hex()[..32].into()),
    }
}
