//! Requests of a VMM without a machine.

use std::thread;
use std::time::{Duration, Instant};

use vhost::vhost_user::VhostUserFrontend;
use vhost::vhost_user::message::VhostUserConfigFlags;
use vmroot_disk_serve::{Error, VhostUserOptions, VhostUserServer};
use vmroot_virtiofs::LockWait;

use crate::fixture::Fixture;
use crate::front_end::{DATA, Descriptor, Guest, NEXT, WRITE as WRITABLE};

pub(crate) const READ: u32 = 0;
pub(crate) const WRITE: u32 = 1;
pub(crate) const FLUSH: u32 = 4;
pub(crate) const GET_ID: u32 = 8;
pub(crate) const DISCARD: u32 = 11;
pub(crate) const WRITE_ZEROES: u32 = 13;
pub(crate) const OK: u8 = 0;
pub(crate) const IO_ERROR: u8 = 1;
pub(crate) const UNSUPPORTED: u8 = 2;

/// The place of the data of replies in guest memory.
pub(crate) const REPLY: u64 = DATA + (1 << 20);

/// Sends a request whose data is divided into descriptors of these lengths. Returns the status and the data.
pub(crate) fn request(guest: &mut Guest, queue: usize, kind: u32, sector: u64, lengths: &[u32]) -> (u8, Vec<u8>) {
    let header = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
    guest.write(DATA, &header);
    guest.write_descriptor(queue, 0, Descriptor { address: DATA, length: 16, flags: NEXT, next: 1 });
    let total: u32 = lengths.iter().sum();
    guest.write(REPLY, &vec![0xaa; total as usize + 1]);
    let (mut address, mut number) = (REPLY, 1);
    for length in lengths.iter().chain(&[1]) {
        let is_last = usize::from(number) == lengths.len() + 1;
        let flags = if is_last { WRITABLE } else { NEXT | WRITABLE };
        guest.write_descriptor(queue, number, Descriptor { address, length: *length, flags, next: number + 1 });
        (address, number) = (address + u64::from(*length), number + 1);
    }
    guest.make_available(queue, &[0]);
    let (head, written) = guest.wait_used(queue);
    assert!(head == 0 && written <= total + 1);
    let mut bytes = guest.read(REPLY, total as usize + 1);
    let status = bytes.pop().unwrap();
    assert!(status != OK || written == total + 1);
    (status, bytes)
}

#[test]
fn reads_of_every_sector_on_every_queue() {
    let fixture = Fixture::new();
    let serving = fixture.serve_vhost_user(3);
    let mut guest = Guest::connect_with(&serving.socket, 2);
    let sectors = fixture.expected.len() / 512;
    for (number, start) in (0..sectors).step_by(61).enumerate() {
        let count = 64.min(sectors - start);
        // Descriptors of odd lengths, which together are whole sectors.
        let lengths = [1, 510, 1, count as u32 * 512 - 512];
        let (status, data) = request(&mut guest, number % 3, READ, start as u64, &lengths);
        assert_eq!(status, OK, "sector {start}");
        assert!(data == fixture.expected[start * 512..(start + count) * 512], "sector {start}");
    }
    drop(guest);
    serving.end();
}

#[test]
fn other_requests_have_their_status() {
    let fixture = Fixture::new();
    let serving = fixture.serve_vhost_user(1);
    let mut guest = Guest::connect_with(&serving.socket, 0);
    let sectors = fixture.expected.len() as u64 / 512;
    for (kind, sector, lengths, status) in [
        (READ, 0, vec![], OK),
        (READ, sectors, vec![], OK),
        (READ, sectors - 1, vec![512], OK),
        (READ, sectors, vec![512], IO_ERROR),
        (READ, sectors - 1, vec![512, 512], IO_ERROR),
        (READ, u64::MAX, vec![512], IO_ERROR),
        (READ, u64::MAX / 512 + 1, vec![512], IO_ERROR),
        (READ, 0, vec![511], IO_ERROR),
        (WRITE, 0, vec![512], IO_ERROR),
        (WRITE, 0, vec![], IO_ERROR),
        (FLUSH, 0, vec![], OK),
        (DISCARD, 0, vec![16], UNSUPPORTED),
        (WRITE_ZEROES, 0, vec![], UNSUPPORTED),
        (u32::MAX, 0, vec![512], UNSUPPORTED),
        (GET_ID, 0, vec![19], IO_ERROR),
    ] {
        assert_eq!(request(&mut guest, 0, kind, sector, &lengths).0, status, "{kind} {sector} {lengths:?}");
    }
    let (status, id) = request(&mut guest, 0, GET_ID, 0, &[3, 17]);
    let text = fixture.device.identity().hex();
    assert_eq!((status, id.as_slice()), (OK, &text.as_bytes()[..20]));
    drop(guest);
    serving.end();
}

#[test]
fn the_configuration_describes_the_disk() {
    let fixture = Fixture::new();
    let serving = fixture.serve_vhost_user(3);
    let guest = &mut Guest::connect_with(&serving.socket, 0).front_end;
    assert_eq!(guest.get_queue_num().unwrap(), 3);
    let mut read = |offset, size: u32| {
        let room = vec![0; size as usize];
        guest.get_config(offset, size, VhostUserConfigFlags::empty(), &room).unwrap().1
    };
    assert_eq!(read(0, 8), (fixture.expected.len() as u64 / 512).to_le_bytes());
    assert_eq!(read(0, 60).len(), 60);
    assert_eq!(read(20, 4), 512u32.to_le_bytes());
    assert_eq!(read(34, 2), [3, 0]);
    serving.end();
}

#[test]
fn vmms_come_and_go() {
    let fixture = Fixture::new();
    let serving = fixture.serve_vhost_user(2);
    let reads = |guest: &mut Guest| request(guest, 0, READ, 2, &[512]) == (OK, fixture.expected[1024..1536].to_vec());
    let mut guests: Vec<Guest> = (0..20).map(|_| Guest::connect_with(&serving.socket, 1)).collect();
    assert!(guests.iter_mut().all(reads));
    guests.drain(5..15);
    assert!(guests.iter_mut().all(reads));
    let mut late = Guest::connect_with(&serving.socket, 0);
    assert!(reads(&mut late));
    late.restart_queue(0);
    assert!(reads(&mut late));
    serving.end();
}

/// A server that kept the memory of past guests would hold that of all of them.
#[test]
fn the_memory_of_a_guest_is_released_with_its_vmm() {
    let fixture = Fixture::new();
    let serving = fixture.serve_vhost_user(2);
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().contains("memfd:guest");
    let mut guest = Guest::connect_with(&serving.socket, 1);
    assert_eq!(request(&mut guest, 0, READ, 2, &[512]).0, OK);
    assert!(mapped());
    drop(guest);
    let start = Instant::now();
    while mapped() {
        assert!(start.elapsed() < Duration::from_secs(20), "the memory is still mapped");
        thread::sleep(Duration::from_millis(10));
    }
    serving.end();
}

#[test]
fn the_number_of_queues_is_limited() {
    let fixture = Fixture::new();
    let socket = fixture.directory().join("socket");
    for queues in [0, 65, usize::MAX] {
        let options = VhostUserOptions { queues };
        let device = std::sync::Arc::clone(&fixture.device);
        let result = VhostUserServer::bind(device, &socket, &options, &LockWait::default());
        assert!(matches!(result, Err(Error::Queues(number)) if number == queues));
    }
}
