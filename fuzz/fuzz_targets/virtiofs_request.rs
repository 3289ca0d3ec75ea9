//! Any bytes as a request of a guest over virtio-fs, in any chain of descriptors: it is answered, and the device lives.
//!
//! An input is a count of descriptors, these as they lie in a queue, and the request. Without descriptors, the request
//! is in one and room for the answer in another, as in a normal guest.

#![no_main]

// They are made for more tests than this.
#[allow(dead_code)]
#[path = "../../crates/virtiofs/tests/it/fixture.rs"]
mod fixture;
#[allow(dead_code)]
#[path = "../../crates/virtiofs/tests/it/front_end.rs"]
mod front_end;

use std::sync::{LazyLock, Mutex, PoisonError};

use fixture::{Fixture, Serving, test_bytes};
use front_end::{DATA, Descriptor, Guest};
use libfuzzer_sys::fuzz_target;
use vmroot_testkit::layer::Entry;
use vmroot_virtiofs::VirtioFsOptions;

/// Descriptors of the longest chain, and bytes of each.
const MOST: usize = 8;
const DESCRIPTOR: usize = 16;
/// Bytes of the longest request.
const REQUEST: usize = 1 << 20;
/// Room for an answer.
const ROOM: u32 = 8192;

/// A device and its guest, for as long as the process lives: the device stops for no request.
struct Served {
    guest: Guest,
    _serving: Serving,
    _fixture: Fixture,
}

static SERVED: LazyLock<Mutex<Served>> = LazyLock::new(|| {
    let fixture = Fixture::new([
        Entry::directory("directory").xattr("user.name", "value"),
        Entry::file("directory/file", test_bytes(1, 100_000)).xattr("user.other", [7; 1000]),
        Entry::symlink("link", "directory/file"),
    ]);
    let serving = fixture.serve(&VirtioFsOptions { queues: 1, threads: 2 });
    let guest = Guest::connect(&serving.socket);
    Mutex::new(Served { guest, _serving: serving, _fixture: fixture })
});

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else { return };
    let count = usize::from(*count) % (MOST + 1);
    let Some((descriptors, request)) = rest.split_at_checked(count * DESCRIPTOR) else { return };
    let request = &request[..request.len().min(REQUEST)];
    let mut served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let guest = &mut served.guest;
    if count == 0 {
        guest.call(request, ROOM);
        return;
    }
    guest.write(DATA, request);
    for (number, bytes) in (0..).zip(descriptors.as_chunks::<DESCRIPTOR>().0) {
        guest.write_descriptor(1, number, descriptor(bytes));
    }
    guest.make_available(1, &[0]);
    assert_eq!(guest.wait_used(1).0, 0);
});

/// Returns a descriptor of memory outside of the queues. A guest that overwrites its queues harms only itself.
fn descriptor(bytes: &[u8; DESCRIPTOR]) -> Descriptor {
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let address = number(0, 8);
    Descriptor {
        address: if address < DATA { address + DATA } else { address },
        length: number(8, 4) as u32,
        flags: number(12, 2) as u16,
        next: number(14, 2) as u16,
    }
}
