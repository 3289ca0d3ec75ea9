//! Invalid requests and queues: the guest gets errors, and the device keeps working.

use std::fs;

use vmroot_testkit::layer::Entry;
use vmroot_virtiofs::VirtioFsOptions;

use crate::fixture::{Fixture, Serving, test_bytes};
use crate::front_end::{DATA, Descriptor, Guest, INDIRECT, MEMORY, NEXT, QUEUE_SIZE, WRITE as WRITABLE};
use crate::message::*;
use crate::tree::ROOT;

/// Number of mutated requests, and of random chains.
const RUNS: u32 = 20_000;

/// Sizes of the room for a reply.
const REPLY_SIZES: [u32; 10] = [0, 1, 15, 16, 17, 104, 144, 4112, 4096, (1 << 20) + 16];

/// Random that are more likely to cause errors than others.
const EDGE_VALUES: [u32; 12] = [0, 1, 2, 7, 39, 40, 4096, 1 << 20, 1 << 31, u32::MAX - 1, u32::MAX, 0x1000_0001];

/// A deterministic random number generator (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn choose<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

fn serve() -> (Fixture, Serving, Guest) {
    let fixture = Fixture::new([
        Entry::directory("directory").xattr("user.name", "value"),
        Entry::file("directory/file", test_bytes(1, 100_000)).xattr("user.other", [7; 1000]),
        Entry::symlink("link", "directory/file"),
    ]);
    let serving = fixture.serve(&VirtioFsOptions { queues: 1, threads: 2 });
    let guest = Guest::connect(&serving.socket);
    (fixture, serving, guest)
}

#[track_caller]
fn assert_alive(guest: &mut Guest) {
    let found = guest.call(&request(LOOKUP, ROOT, b"directory\0"), 144);
    assert_eq!(number(parse_reply(&found).unwrap(), 0, 8), 2);
}

/// Returns one request of each kind: valid ones, and ones that no kernel sends.
fn requests() -> Vec<Vec<u8>> {
    let mut requests = valid_requests();
    let known: Vec<u64> = requests.iter().map(|request| number(request, 4, 4)).collect();
    // Requests that no kernel sends to such a device. The last is an INIT of the other byte order.
    let others = (0..60).chain([4096, u32::MAX, INIT.swap_bytes()]);
    requests
        .extend(others.filter(|opcode| !known.contains(&(*opcode).into())).map(|opcode| request(opcode, 2, &[0; 96])));
    requests
}

fn valid_requests() -> Vec<Vec<u8>> {
    let named = |words_in_front: &[u32], name: &[u8]| [&words(words_in_front), name].concat();
    vec![
        request(LOOKUP, ROOT, b"directory\0"),
        request(FORGET, 2, &[1, 0, 0, 0, 0, 0, 0, 0]),
        request(GETATTR, 2, &[0; 16]),
        request(SETATTR, 2, &[0; 88]),
        request(READLINK, 3, &[]),
        request(SYMLINK, ROOT, b"name\0target\0"),
        request(MKNOD, ROOT, &named(&[0, 0, 0, 0], b"name\0")),
        request(MKDIR, ROOT, &named(&[0, 0], b"name\0")),
        request(UNLINK, ROOT, b"name\0"),
        request(RMDIR, ROOT, b"name\0"),
        request(RENAME, ROOT, &named(&[1, 0], b"old\0new\0")),
        request(LINK, ROOT, &named(&[1, 0], b"name\0")),
        request(OPEN, 4, &words(&[0, 0])),
        request(READ, 4, &read_body(0, 4096)),
        request(WRITE, 4, &named(&[0, 0, 0, 0, 4, 0, 0, 0, 0, 0], b"data")),
        request(STATFS, ROOT, &[]),
        request(SETXATTR, 2, &named(&[1, 0], b"user.x\0v")),
        request(GETXATTR, 2, &named(&[100, 0], b"user.name\0")),
        request(LISTXATTR, 2, &words(&[100, 0])),
        request(REMOVEXATTR, 2, b"user.name\0"),
        request(INIT, 0, &words(&[7, 38, 1 << 17, 0x3fff_ffff])),
        request(OPENDIR, ROOT, &words(&[0, 0])),
        request(READDIR, ROOT, &read_body(0, 4096)),
        request(READDIRPLUS, ROOT, &read_body(0, 4096)),
        request(CREATE, ROOT, &named(&[0, 0, 0, 0], b"name\0")),
        request(IOCTL, 2, &words(&[0, 0, 0, 0, 0, 0, 8, 8, 1, 2])),
        request(BATCH_FORGET, 0, &words(&[2, 0, 2, 0, 1, 0, 3, 0, 1, 0])),
        request(FALLOCATE, 2, &[0; 32]),
    ]
}

/// Asserts that the written bytes are empty or a reply to the request.
#[track_caller]
fn assert_reply(request: &[u8], written: &[u8]) {
    if written.is_empty() {
        return;
    }
    assert!(written.len() >= REPLY_HEADER, "{request:x?}");
    assert_eq!(number(written, 0, 4) as usize, written.len(), "{request:x?}");
    let error = (number(written, 4, 4) as u32).cast_signed();
    assert!((-4095..=0).contains(&error), "{error} for {request:x?}");
    if request.len() >= REQUEST_HEADER {
        assert_eq!(written[8..16], request[8..16], "{request:x?}");
    }
}

#[test]
fn requests_of_every_length() {
    let (_fixture, _serving, mut guest) = serve();
    for opcode in 0..60 {
        let full = request(opcode, 2, &[1; 100]);
        for length in 0..full.len() {
            for size in [length as u32, full.len() as u32, u32::MAX] {
                let mut short = full[..length].to_vec();
                short.iter_mut().zip(size.to_le_bytes()).for_each(|(byte, value)| *byte = value);
                let written = guest.call(&short, 200);
                assert_reply(&short, &written);
            }
        }
    }
    assert_alive(&mut guest);
}

#[test]
fn mutated_requests() {
    let (_fixture, _serving, mut guest) = serve();
    let (requests, mut random) = (requests(), Random(0x9e37_79b9_7f4a_7c15));
    for _ in 0..RUNS {
        let mut request = requests[random.below(requests.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut request, &mut random);
        }
        let room = random.choose(&REPLY_SIZES);
        let written = guest.call(&request, room);
        assert_reply(&request, &written);
    }
    assert_alive(&mut guest);
}

fn mutate(request: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(request.len().max(1));
    match random.below(6) {
        0 => request.truncate(at),
        1 => request.extend(std::iter::repeat_n(random.next() as u8, random.below(5000))),
        2 | 3 => {
            let odd = random.choose(&EDGE_VALUES).to_le_bytes();
            request.iter_mut().skip(at / 4 * 4).zip(odd).for_each(|(byte, odd)| *byte = odd);
        }
        4 => request.retain(|&byte| byte != 0 || at.is_multiple_of(2)),
        _ => request.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
    }
}

#[test]
fn invalid_inode_numbers_are_stale() {
    let (_fixture, _serving, mut guest) = serve();
    for node in [0, 5, 1 << 32, (1 << 32) + 1, u64::MAX] {
        for mut request in requests() {
            request[16..24].copy_from_slice(&node.to_le_bytes());
            let written = guest.call(&request, 5000);
            assert_reply(&request, &written);
        }
        let bytes = guest.call(&request(GETATTR, node, &[0; 16]), 120);
        assert_eq!(parse_reply(&bytes), Err(rustix::io::Errno::STALE.raw_os_error()));
    }
    assert_alive(&mut guest);
}

#[test]
fn random_chains() {
    let (_fixture, _serving, mut guest) = serve();
    let (requests, mut random) = (requests(), Random(0x0123_4567_89ab_cdef));
    for _ in 0..RUNS {
        guest.write(DATA, &requests[random.below(requests.len())]);
        for descriptor in 0..8 {
            let contents = random_descriptor(&mut random);
            guest.write_descriptor(1, descriptor, contents);
            // A table of descriptors, for descriptors with the flag for it.
            guest.write(DATA + 0x10_0000 + u64::from(descriptor) * 16, &contents.bytes());
        }
        let head = random.below(8) as u16;
        guest.make_available(1, &[head]);
        assert_eq!(guest.wait_used(1).0, head);
    }
    assert_alive(&mut guest);
}

/// Returns a random descriptor that does not refer to the memory of the queues, which the guest needs itself.
fn random_descriptor(random: &mut Random) -> Descriptor {
    let places =
        [DATA, DATA, DATA + 40, DATA + 0x10_0000, MEMORY - 8, MEMORY, MEMORY + 4096, 1 << 40, u64::MAX - 7, u64::MAX];
    let lengths = [0, 1, 16, 40, 64, 128, 4096, 1 << 20, (MEMORY - DATA) as u32, u32::MAX - 15, u32::MAX];
    let flags = [0, NEXT, NEXT, NEXT, WRITABLE, NEXT | WRITABLE, NEXT | WRITABLE, INDIRECT, NEXT | INDIRECT, u16::MAX];
    let next = [0, 1, 2, 3, 4, 5, 6, 7, 8, QUEUE_SIZE - 1, QUEUE_SIZE, u16::MAX];
    Descriptor {
        address: random.choose(&places),
        length: random.choose(&lengths),
        flags: random.choose(&flags),
        next: random.choose(&next),
    }
}

/// For each of these requests, the library would allocate a gibibyte or more if it trusted the guest's numbers.
#[test]
fn sizes_in_requests_do_not_allocate_memory() {
    let (_fixture, _serving, mut guest) = serve();
    let before = largest_resident();
    for opcode in [IOCTL, LOOKUP, SETXATTR, WRITE, BATCH_FORGET, SYMLINK, CREATE, 49] {
        let mut message = request(opcode, 2, &words(&[0, 0, 0, 0, 0, 0, 1 << 30, 1 << 30, 0, 0]));
        message[..4].copy_from_slice(&(1u32 << 30).to_le_bytes());
        guest.write(DATA, &message);
        for number in 0..QUEUE_SIZE - 1 {
            let length = if number == 0 { message.len() as u32 } else { (MEMORY - DATA - 4096) as u32 };
            guest.write_descriptor(1, number, Descriptor { address: DATA, length, flags: NEXT, next: number + 1 });
        }
        let room = Descriptor { address: DATA + 4096, length: 4096, flags: WRITABLE, next: 0 };
        guest.write_descriptor(1, QUEUE_SIZE - 1, room);
        guest.make_available(1, &[0]);
        guest.wait_used(1);
    }
    assert_alive(&mut guest);
    let more = largest_resident() - before;
    assert!(more < 256 << 20, "{more} bytes more");
}

/// Returns the largest resident set size that this process has had, in bytes.
fn largest_resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn an_invalid_queue_can_be_restarted() {
    let (_fixture, _serving, mut guest) = serve();
    guest.set_available_index(1, QUEUE_SIZE * 3);
    guest.restart_queue(1);
    assert_alive(&mut guest);
    for head in [QUEUE_SIZE, u16::MAX] {
        guest.make_available(1, &[head]);
        guest.restart_queue(1);
        assert_alive(&mut guest);
    }
}

#[test]
fn a_repeated_head_gets_a_reply_each_time() {
    let (_fixture, _serving, mut guest) = serve();
    guest.write(DATA, &request(READ, 4, &read_body(0, 4096)));
    guest.write_descriptor(1, 0, Descriptor { address: DATA, length: 80, flags: NEXT, next: 1 });
    guest.write_descriptor(1, 1, Descriptor { address: DATA + 4096, length: 4112, flags: WRITABLE, next: 0 });
    guest.make_available(1, &[0; 50]);
    for _ in 0..50 {
        assert_eq!(guest.wait_used(1), (0, 4112));
    }
    assert_alive(&mut guest);
}
