//! Invalid chains and queues of guests: they get errors, and the server keeps working.

use std::fs;

use crate::fixture::{Fixture, runs};
use crate::front_end::{DATA, Descriptor, Guest, INDIRECT, MEMORY, NEXT, QUEUE_SIZE, WRITE as WRITABLE};
use crate::vhost_user::{GET_ID, OK, READ, REPLY, request};

/// Number of random chains.
const RUNS: u32 = 20_000;

/// A deterministic random number generator (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn choose<T: Copy>(&mut self, all: &[T]) -> T {
        all[(self.next() % all.len() as u64) as usize]
    }
}

#[track_caller]
fn assert_alive(fixture: &Fixture, guest: &mut Guest) {
    assert_eq!(request(guest, 0, READ, 2, &[512]), (OK, fixture.expected[1024..1536].to_vec()));
}

/// Returns a random descriptor that does not refer to the memory of the queues, which the guest needs itself.
fn random_descriptor(random: &mut Random) -> Descriptor {
    let places = [DATA, DATA, DATA + 8, REPLY, REPLY + 1, MEMORY - 8, MEMORY, 1 << 40, u64::MAX - 7, u64::MAX];
    let lengths = [0, 1, 8, 16, 16, 16, 511, 512, 4096, 1 << 20, (MEMORY - DATA) as u32, u32::MAX - 15, u32::MAX];
    let flags = [0, NEXT, NEXT, NEXT, WRITABLE, NEXT | WRITABLE, NEXT | WRITABLE, INDIRECT, NEXT | INDIRECT, u16::MAX];
    let next = [0, 1, 2, 3, 4, 5, 6, 7, 8, QUEUE_SIZE - 1, QUEUE_SIZE, u16::MAX];
    Descriptor {
        address: random.choose(&places),
        length: random.choose(&lengths),
        flags: random.choose(&flags),
        next: random.choose(&next),
    }
}

#[test]
fn random_chains() {
    let fixture = Fixture::new();
    let serving = fixture.serve_vhost_user(1);
    let mut guest = Guest::connect_with(&serving.socket, 0);
    let mut random = Random(0x0123_4567_89ab_cdef);
    for _ in 0..runs(RUNS) {
        let (kind, sector) =
            (random.choose(&[READ, READ, READ, 1, 4, GET_ID, 99]), random.choose(&[0, 1, 100, u64::MAX]));
        guest.write(DATA, &[&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat());
        for descriptor in 0..8 {
            let contents = random_descriptor(&mut random);
            guest.write_descriptor(0, descriptor, contents);
            // A table of descriptors, for descriptors with the flag for it.
            guest.write(REPLY + u64::from(descriptor) * 16, &contents.bytes());
        }
        let head = (random.next() % 8) as u16;
        guest.make_available(0, &[head]);
        assert_eq!(guest.wait_used(0).0, head);
    }
    assert_alive(&fixture, &mut guest);
    serving.end();
}

#[test]
fn incomplete_chains() {
    let fixture = Fixture::new();
    let serving = fixture.serve_vhost_user(1);
    let mut guest = Guest::connect_with(&serving.socket, 0);
    let writable = |length| Descriptor { address: REPLY, length, flags: WRITABLE, next: 0 };
    // A header of every length but 16.
    for length in (0..16).chain([17, 4096]) {
        guest.write(DATA, &[0; 4096]);
        guest.write(REPLY, &[0xaa; 513]);
        guest.write_descriptor(0, 0, Descriptor { address: DATA, length, flags: NEXT, next: 1 });
        guest.write_descriptor(0, 1, writable(513));
        guest.make_available(0, &[0]);
        guest.wait_used(0);
        assert_eq!(guest.read(REPLY + 512, 1)[0], u8::from(length < 16), "{length}");
    }
    // No status, only a status, an empty chain, and a chain that is a loop.
    for (head, descriptors) in [
        (0, vec![Descriptor { address: DATA, length: 16, flags: 0, next: 0 }]),
        (0, vec![writable(1)]),
        (0, vec![writable(0)]),
        (0, vec![Descriptor { address: DATA, length: 16, flags: NEXT, next: 0 }]),
        (0, vec![Descriptor { address: REPLY, length: u32::MAX, flags: NEXT | WRITABLE, next: 0 }]),
    ] {
        for (number, descriptor) in descriptors.into_iter().enumerate() {
            guest.write_descriptor(0, number as u16, descriptor);
        }
        guest.make_available(0, &[head]);
        assert_eq!(guest.wait_used(0).0, head);
    }
    assert_alive(&fixture, &mut guest);
    serving.end();
}

/// A table of 65535 descriptors in each chain of a full queue would need a gibibyte if all were kept.
#[test]
fn long_chains_do_not_allocate_memory() {
    let fixture = Fixture::new();
    let serving = fixture.serve_vhost_user(1);
    let mut guest = Guest::connect_with(&serving.socket, 0);
    let before = largest_resident();
    let count = u16::MAX - 1;
    let table: Vec<u8> = (0..count)
        .flat_map(|number| Descriptor { address: REPLY, length: 1, flags: NEXT | WRITABLE, next: number + 1 }.bytes())
        .collect();
    let place = REPLY + (1 << 20);
    guest.write(place, &table);
    guest.write_descriptor(0, 0, Descriptor { address: place, length: table.len() as u32, flags: INDIRECT, next: 0 });
    guest.make_available(0, &[0; QUEUE_SIZE as usize - 1]);
    for _ in 0..QUEUE_SIZE - 1 {
        guest.wait_used(0);
    }
    assert_alive(&fixture, &mut guest);
    let more = largest_resident() - before;
    assert!(more < 64 << 20, "{more} bytes more");
    serving.end();
}

/// Returns the largest resident set size that this process has had, in bytes.
fn largest_resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn an_invalid_queue_harms_only_its_guest() {
    let fixture = Fixture::new();
    let serving = fixture.serve_vhost_user(1);
    let (mut guest, mut other) = (Guest::connect_with(&serving.socket, 0), Guest::connect_with(&serving.socket, 0));
    guest.set_available_index(0, QUEUE_SIZE * 3);
    assert_alive(&fixture, &mut other);
    guest.restart_queue(0);
    assert_alive(&fixture, &mut guest);
    for head in [QUEUE_SIZE, u16::MAX] {
        guest.make_available(0, &[head]);
        guest.restart_queue(0);
        assert_alive(&fixture, &mut guest);
    }
    serving.end();
}
