//! Any bytes as a request of a guest to its disk, in any chain of descriptors: it is answered, and the server lives.
//!
//! An input is a count of descriptors, these as they lie in a queue, and the request.

#![no_main]

// It is made for more tests than this.
#[allow(dead_code)]
#[path = "../../crates/virtiofs/tests/it/front_end.rs"]
mod front_end;

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use front_end::{DATA, Descriptor, Guest};
use libfuzzer_sys::fuzz_target;
use vmroot_disk_serve::{Device, VhostUserOptions, VhostUserServer};
use vmroot_test_roots::Root;
use vmroot_testkit::layer::Entry;
use vmroot_virtiofs::LockWait;

/// Descriptors of the longest chain, and bytes of each.
const MOST: usize = 8;
const DESCRIPTOR: usize = 16;
/// Bytes of the longest request.
const REQUEST: usize = 1 << 16;

/// A server and its guest, for as long as the process lives: the server stops for no request.
struct Served {
    guest: Guest,
    _root: Root,
}

static SERVED: LazyLock<Mutex<Served>> = LazyLock::new(|| {
    let root = Root::of_entries([Entry::file("file", [7; 100_000])]);
    let device = Arc::new(Device::of_root(&root.fs).unwrap());
    let socket = root.files().join("socket");
    let options = VhostUserOptions { queues: 1 };
    let server = VhostUserServer::bind(device, &socket, &options, &LockWait::default()).unwrap();
    thread::spawn(|| server.serve());
    Mutex::new(Served { guest: Guest::connect_with(&socket, 0), _root: root })
});

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else { return };
    let count = usize::from(*count) % MOST + 1;
    let Some((descriptors, request)) = rest.split_at_checked(count * DESCRIPTOR) else { return };
    let mut served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let guest = &mut served.guest;
    guest.write(DATA, &request[..request.len().min(REQUEST)]);
    for (number, bytes) in (0..).zip(descriptors.as_chunks::<DESCRIPTOR>().0) {
        guest.write_descriptor(0, number, descriptor(bytes));
    }
    guest.make_available(0, &[0]);
    assert_eq!(guest.wait_used(0).0, 0);
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
