//! The device's replies to each request.

use rustix::io::Errno;
use vmroot_testkit::layer::Entry;
use vmroot_testkit::sample::access_list;
use vmroot_virtiofs::VirtioFsOptions;

use crate::fixture::{Fixture, Serving, test_bytes};
use crate::front_end::Guest;
use crate::message::*;
use crate::tree::{ROOT, attributes, read_directory, read_file};

/// A year in seconds.
const YEAR: u64 = 365 * 24 * 3600;

/// Bits of the reply to `INIT`.
const POSIX_ACL: u64 = 1 << 20;
const MAX_PAGES: u64 = 1 << 22;
const EXPECTED_FLAGS: u64 = 1 << 13 | 1 << 18 | MAX_PAGES | 1 << 23 | 1 << 25;

fn serve(entries: impl IntoIterator<Item = Entry>) -> (Fixture, Serving, Guest) {
    let fixture = Fixture::new(entries);
    let serving = fixture.serve(&VirtioFsOptions::default());
    let guest = Guest::connect(&serving.socket);
    (fixture, serving, guest)
}

fn call(guest: &mut Guest, opcode: u32, node: u64, body: &[u8], room: u32) -> Result<Vec<u8>, Errno> {
    let bytes = guest.call(&request(opcode, node, body), room);
    parse_reply(&bytes).map(<[u8]>::to_vec).map_err(Errno::from_raw_os_error)
}

/// Returns the reply to `INIT` from a kernel with all capabilities.
fn init(guest: &mut Guest) -> Vec<u8> {
    call(guest, INIT, 0, &words(&[7, 38, 128 << 10, 0x3fff_ffff]), 80).unwrap()
}

#[test]
fn replies_may_be_cached_for_a_year() {
    let (_fixture, _serving, mut guest) = serve([Entry::file("file", "content").mode(0o640)]);
    let found = call(&mut guest, LOOKUP, ROOT, b"file\0", 144).unwrap();
    assert_eq!((number(&found, 0, 8), number(&found, 16, 8), number(&found, 24, 8)), (2, YEAR, YEAR));
    assert_eq!((attributes(&found[40..]).mode, attributes(&found[40..]).size), (0o100_640, 7));
    let missing = call(&mut guest, LOOKUP, ROOT, b"missing\0", 144).unwrap();
    assert_eq!((number(&missing, 0, 8), number(&missing, 16, 8)), (0, YEAR), "missing names are cached too");
    let reply = call(&mut guest, GETATTR, 2, &[0; 16], 120).unwrap();
    assert_eq!(number(&reply, 0, 8), YEAR);
    assert_eq!(attributes(&reply[16..]), attributes(&found[40..]));
    assert_eq!(call(&mut guest, LOOKUP, 2, b"below\0", 144), Err(Errno::NOTDIR));
}

#[test]
fn open_is_not_implemented() {
    let (_fixture, _serving, mut guest) = serve([Entry::file("file", "content")]);
    assert_eq!(call(&mut guest, OPEN, 2, &words(&[0, 0]), 32), Err(Errno::NOSYS));
    assert_eq!(call(&mut guest, OPENDIR, ROOT, &words(&[0, 0]), 32), Err(Errno::NOSYS));
    for flags in [1, 2] {
        assert_eq!(call(&mut guest, OPEN, 2, &words(&[flags, 0]), 32), Err(Errno::ROFS));
    }
}

#[test]
fn capabilities_that_save_requests_are_negotiated() {
    let (_fixture, _serving, mut guest) = serve([Entry::file("file", "")]);
    let agreed = init(&mut guest);
    assert_eq!(number(&agreed, 0, 4), 7);
    let flags = number(&agreed, 12, 4);
    assert_eq!(flags & (EXPECTED_FLAGS | POSIX_ACL), EXPECTED_FLAGS, "a root without access control lists");
    assert_eq!((number(&agreed, 20, 4), number(&agreed, 28, 2)), (1 << 20, 256), "requests of a mebibyte");
}

#[test]
fn access_control_lists_are_enabled_if_the_root_has_any() {
    let (_fixture, _serving, mut guest) =
        serve([Entry::directory("acl").xattr("system.posix_acl_access", access_list(1))]);
    assert_eq!(number(&init(&mut guest), 12, 4) & POSIX_ACL, POSIX_ACL);
}

#[test]
fn files_are_read_at_any_offset_and_size() {
    let content = test_bytes(1, (3 << 20) + 777);
    let (_fixture, _serving, mut guest) =
        serve([Entry::file("a", test_bytes(2, 5000)), Entry::file("b", content.clone())]);
    for size in [4096, 65_536 + 1, 1 << 20] {
        let mut read = Vec::new();
        read_file(&mut guest, 3, size, |piece| read.extend_from_slice(piece));
        assert!(read == content, "in pieces of {size}");
    }
    for (offset, length) in [(0, 0), (1, 1), (4095, 2), (5000, 0), (4999, 1), (u64::MAX, 0)] {
        let read = call(&mut guest, READ, 2, &read_body(offset, 2), 18).unwrap();
        let expected = test_bytes(2, 5000);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(5000);
        assert_eq!(read, expected[start..(start + 2).min(5000)], "at {offset}, {length}");
    }
    assert_eq!(call(&mut guest, READ, ROOT, &read_body(0, 10), 26), Err(Errno::ISDIR));
    assert_eq!(call(&mut guest, READ, 2, &read_body(0, 3 << 20), (3 << 20) + 16).unwrap().len(), 5000);
    assert_eq!(call(&mut guest, READ, 2, &read_body(0, (16 << 20) + 1), 5016), Err(Errno::INVAL));
    assert_eq!(
        call(&mut guest, READ, 2, &read_body(0, 100), 50),
        Err(Errno::INVAL),
        "the guest would read zeros after a short reply"
    );
}

#[test]
fn a_read_fills_several_buffers() {
    use crate::front_end::{DATA, Descriptor, NEXT, WRITE as WRITABLE};
    let content = test_bytes(3, 3 * 4096);
    let (_fixture, _serving, mut guest) = serve([Entry::file("file", content.clone())]);
    let message = request(READ, 2, &read_body(0, 3 * 4096));
    let places = [DATA + 0x9000, DATA + 0x5000, DATA + 0x7000];
    guest.write(DATA, &message);
    let descriptor = |address, length, flags, next| Descriptor { address, length, flags, next };
    guest.write_descriptor(1, 0, descriptor(DATA, 40, NEXT, 1));
    guest.write_descriptor(1, 1, descriptor(DATA + 40, message.len() as u32 - 40, NEXT, 2));
    guest.write_descriptor(1, 2, descriptor(DATA + 0x1000, 16, NEXT | WRITABLE, 3));
    for (number, place) in (3..).zip(places) {
        let flags = if number == 5 { WRITABLE } else { NEXT | WRITABLE };
        guest.write_descriptor(1, number, descriptor(place, 4096, flags, number + 1));
    }
    guest.make_available(1, &[0]);
    assert_eq!(guest.wait_used(1), (0, 16 + 3 * 4096));
    for (page, place) in content.chunks(4096).zip(places) {
        assert!(guest.read(place, 4096) == page);
    }
}

#[test]
fn concurrent_reads_each_get_a_reply() {
    use crate::front_end::{DATA, Descriptor, NEXT, WRITE as WRITABLE};
    const REQUESTS: u16 = 100;
    let content = test_bytes(4, 1 << 20);
    let (_fixture, _serving, mut guest) = serve([Entry::file("file", content.clone())]);
    for number in 0..REQUESTS {
        let (message_at, reply_at) = (DATA + u64::from(number) * 128, DATA + (1 << 20) + u64::from(number) * 8192);
        let message = request(READ, 2, &read_body(u64::from(number) * 10_000, 8000));
        guest.write(message_at, &message);
        let length = message.len() as u32;
        guest.write_descriptor(
            1,
            2 * number,
            Descriptor { address: message_at, length, flags: NEXT, next: 2 * number + 1 },
        );
        guest.write_descriptor(
            1,
            2 * number + 1,
            Descriptor { address: reply_at, length: 8016, flags: WRITABLE, next: 0 },
        );
    }
    guest.make_available(1, &(0..REQUESTS).map(|number| 2 * number).collect::<Vec<_>>());
    let mut heads: Vec<u16> = (0..REQUESTS)
        .map(|_| {
            let (head, written) = guest.wait_used(1);
            assert_eq!(written, 8016);
            head
        })
        .collect();
    heads.sort_unstable();
    assert_eq!(heads, (0..REQUESTS).map(|number| 2 * number).collect::<Vec<_>>());
    for number in 0..usize::from(REQUESTS) {
        let bytes = guest.read(DATA + (1 << 20) + number as u64 * 8192, 8016);
        assert!(parse_reply(&bytes).unwrap() == &content[number * 10_000..number * 10_000 + 8000], "read {number}");
    }
}

#[test]
fn a_large_directory_is_listed_in_parts() {
    let names = (0..5000).map(|number| format!("directory/file-{number:05}"));
    let (_fixture, _serving, mut guest) = serve(names.map(|name| Entry::file(name, "")));
    for size in [512, 4096, 1 << 20] {
        let found = read_directory(&mut guest, 2, size);
        assert_eq!(found.len(), 5000);
        assert!(found.iter().zip(0..).all(|((name, _), number)| *name == format!("file-{number:05}").into_bytes()));
    }
    assert_eq!(call(&mut guest, READDIRPLUS, 3, &read_body(0, 4096), 4112), Err(Errno::NOTDIR));
    let plain = call(&mut guest, READDIR, ROOT, &read_body(0, 4096), 4112).unwrap();
    assert_eq!(plain.len(), 2 * 32 + 40, "two dots, and a name of nine letters");
}

#[test]
fn xattrs_are_returned_by_size() {
    let (_fixture, _serving, mut guest) = serve([Entry::file("file", "").xattr("user.a", "12345").xattr("user.b", "")]);
    let named = |size, name: &[u8]| [&words(&[size, 0]), name].concat();
    assert_eq!(call(&mut guest, GETXATTR, 2, &named(0, b"user.a\0"), 24).unwrap()[..4], words(&[5]));
    assert_eq!(call(&mut guest, GETXATTR, 2, &named(5, b"user.a\0"), 21).unwrap(), b"12345");
    assert_eq!(call(&mut guest, GETXATTR, 2, &named(4, b"user.a\0"), 21), Err(Errno::RANGE));
    assert_eq!(call(&mut guest, GETXATTR, 2, &named(9, b"user.c\0"), 25), Err(Errno::NODATA));
    assert_eq!(call(&mut guest, LISTXATTR, 2, &named(0, b""), 24).unwrap()[..4], words(&[14]));
    assert_eq!(call(&mut guest, LISTXATTR, 2, &named(14, b""), 40).unwrap(), b"user.a\0user.b\0");
    assert_eq!(call(&mut guest, LISTXATTR, 2, &named(13, b""), 40), Err(Errno::RANGE));
}

#[test]
fn statfs_returns_no_free_space() {
    let (_fixture, _serving, mut guest) = serve([Entry::file("file", test_bytes(5, 100_000))]);
    let size = call(&mut guest, STATFS, ROOT, &[], 96).unwrap();
    let [blocks, free, available, files] = [0, 8, 16, 24].map(|at| number(&size, at, 8));
    assert_eq!((blocks, free, available, files), (25, 0, 0, 2));
    assert_eq!((number(&size, 40, 4), number(&size, 44, 4)), (4096, 255));
}

#[test]
fn all_changes_are_rejected() {
    let (_fixture, _serving, mut guest) = serve([Entry::file("file", "content")]);
    let bodies: [(u32, u64, Vec<u8>); 14] = [
        (SETATTR, 2, vec![0; 88]),
        (SYMLINK, ROOT, b"name\0target\0".to_vec()),
        (MKNOD, ROOT, [&[0; 16][..], b"name\0"].concat()),
        (MKDIR, ROOT, [&[0; 8][..], b"name\0"].concat()),
        (UNLINK, ROOT, b"file\0".to_vec()),
        (RMDIR, ROOT, b"file\0".to_vec()),
        (RENAME, ROOT, [&1u64.to_le_bytes()[..], b"file\0other\0"].concat()),
        (LINK, ROOT, [&2u64.to_le_bytes()[..], b"other\0"].concat()),
        (WRITE, 2, [&[0; 40][..], b"bytes"].concat()),
        (SETXATTR, 2, [&words(&[1, 0])[..], b"user.x\0v"].concat()),
        (REMOVEXATTR, 2, b"user.x\0".to_vec()),
        (CREATE, ROOT, [&[0; 16][..], b"name\0"].concat()),
        (FALLOCATE, 2, vec![0; 32]),
        (OPEN, 2, words(&[2, 0])),
    ];
    for (opcode, node, body) in bodies {
        assert_eq!(call(&mut guest, opcode, node, &body, 200), Err(Errno::ROFS), "request {opcode}");
    }
}

/// A truncated contents file must cause an error. Zeros instead of the bytes would be worse.
#[test]
fn a_read_failure_is_an_error_and_logged_once() {
    let (fixture, _serving, mut guest) = serve([Entry::file("file", test_bytes(1, 100_000))]);
    init(&mut guest);
    let log = crate::log::capture();
    let files = std::fs::read_dir(fixture.directory()).unwrap().map(|entry| entry.unwrap().path());
    let contents = files.into_iter().find(|path| path.extension().is_some_and(|end| end == "contents")).unwrap();
    std::fs::OpenOptions::new().write(true).open(&contents).unwrap().set_len(4096).unwrap();
    assert_eq!(call(&mut guest, READ, 2, &read_body(0, 4096), 4096 + 16).unwrap(), test_bytes(1, 4096));
    for _ in 0..3 {
        assert_eq!(call(&mut guest, READ, 2, &read_body(8192, 4096), 4096 + 16), Err(Errno::IO));
    }
    let lines = log.lines_with(contents.to_str().unwrap());
    let [line] = &lines[..] else { panic!("not logged once: {lines:?}") };
    assert!(line.contains("at byte 8192"), "{line}");
}
