//! A VMM and its guest without a machine. It speaks vhost-user to the device and lays out queues with arbitrary
//! contents in shared memory.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vhost::VhostBackend;
use vhost::VhostUserMemoryRegionInfo;
use vhost::VringConfigData;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemory, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Size of the guest memory in bytes. The memory begins at address 0.
pub(crate) const MEMORY: u64 = 16 << 20;
/// Number of descriptors of a queue.
pub(crate) const QUEUE_SIZE: u16 = 256;
/// The start of the memory for requests and replies. The memory below is for the queues.
pub(crate) const DATA: u64 = 1 << 20;

/// Flag: the next descriptor of the chain follows (virtio 1.2, section 2.7.5).
pub(crate) const NEXT: u16 = 1;
/// Flag: the device writes to the buffer.
pub(crate) const WRITE: u16 = 2;
/// Flag: the buffer is a table of descriptors.
pub(crate) const INDIRECT: u16 = 4;

const VERSION_1: u64 = 1 << 32;
const INDIRECT_DESC: u64 = 1 << 28;

/// The longest wait for a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// A descriptor, as stored in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

impl Descriptor {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = self.address.to_le_bytes().to_vec();
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.next.to_le_bytes());
        bytes
    }
}

/// A guest with a device.
pub(crate) struct Guest {
    pub(crate) front_end: Frontend,
    pub(crate) memory: GuestMemoryMmap,
    queues: Vec<Queue>,
}

/// A queue in guest memory: a table of descriptors, the available ring and the used ring.
struct Queue {
    table: u64,
    available: u64,
    used: u64,
    kick: EventFd,
    call: EventFd,
    available_index: u16,
    used_index: u16,
}

impl Guest {
    /// Connects to a device, with one request queue and queue 0.
    pub(crate) fn connect(socket: &Path) -> Self {
        Self::connect_with(socket, 1)
    }

    /// Connects to a device, with several request queues.
    pub(crate) fn connect_with(socket: &Path, queues: usize) -> Self {
        let file = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, MEMORY).unwrap();
        let range = (GuestAddress(0), MEMORY as usize, Some(FileOffset::new(file.into(), 0)));
        let memory = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
        let mut front_end = Frontend::connect(socket, queues as u64 + 1).unwrap();
        front_end.set_owner().unwrap();
        let offered = front_end.get_features().unwrap();
        let wanted = VERSION_1 | INDIRECT_DESC | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        assert_eq!(offered & wanted, wanted);
        let offered = front_end.get_protocol_features().unwrap();
        let wanted_protocol = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::CONFIG;
        front_end.set_protocol_features(offered & wanted_protocol).unwrap();
        front_end.set_features(wanted).unwrap();
        let region = memory.iter().next().unwrap();
        front_end.set_mem_table(&[VhostUserMemoryRegionInfo::from_guest_region(region).unwrap()]).unwrap();
        let mut guest = Self { front_end, memory, queues: Vec::new() };
        (0..=queues).for_each(|number| guest.start_queue(number));
        guest
    }

    fn start_queue(&mut self, number: usize) {
        let table = (number as u64) << 16;
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let queue = Queue {
            table,
            available: table + 0x4000,
            used: table + 0x8000,
            kick: event(),
            call: event(),
            available_index: 0,
            used_index: 0,
        };
        let address = |guest: u64| self.memory.get_host_address(GuestAddress(guest)).unwrap() as u64;
        let config = VringConfigData {
            queue_max_size: QUEUE_SIZE,
            queue_size: QUEUE_SIZE,
            flags: 0,
            desc_table_addr: address(queue.table),
            used_ring_addr: address(queue.used),
            avail_ring_addr: address(queue.available),
            log_addr: None,
        };
        self.write(queue.table, &[0; 0x10000]);
        self.front_end.set_vring_num(number, QUEUE_SIZE).unwrap();
        self.front_end.set_vring_addr(number, &config).unwrap();
        self.front_end.set_vring_base(number, 0).unwrap();
        self.front_end.set_vring_call(number, &queue.call).unwrap();
        self.front_end.set_vring_kick(number, &queue.kick).unwrap();
        self.front_end.set_vring_enable(number, true).unwrap();
        if number < self.queues.len() {
            self.queues[number] = queue;
        } else {
            self.queues.push(queue);
        }
    }

    /// Stops a queue and starts it again, as a driver does when the guest restarts.
    pub(crate) fn restart_queue(&mut self, number: usize) {
        self.front_end.get_vring_base(number).unwrap();
        self.start_queue(number);
    }

    /// Returns the number of chains that the device has returned.
    pub(crate) fn used_count(&self, queue: usize) -> u16 {
        self.memory.load(GuestAddress(self.queues[queue].used + 2), Ordering::Acquire).unwrap()
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    pub(crate) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    /// Writes a descriptor to the table of a queue.
    pub(crate) fn write_descriptor(&self, queue: usize, number: u16, descriptor: Descriptor) {
        self.write(self.queues[queue].table + u64::from(number) * 16, &descriptor.bytes());
    }

    /// Makes the chains that begin at these descriptors available and notifies the device.
    pub(crate) fn make_available(&mut self, queue: usize, heads: &[u16]) {
        for head in heads {
            let slot = self.queues[queue].available_index % QUEUE_SIZE;
            self.write(self.queues[queue].available + 4 + u64::from(slot) * 2, &head.to_le_bytes());
            self.queues[queue].available_index = self.queues[queue].available_index.wrapping_add(1);
        }
        self.set_available_index(queue, self.queues[queue].available_index);
    }

    /// Sets the index of the available ring and notifies the device.
    pub(crate) fn set_available_index(&self, queue: usize, index: u16) {
        self.memory.store(index, GuestAddress(self.queues[queue].available + 2), Ordering::Release).unwrap();
        self.queues[queue].kick.write(1).unwrap();
    }

    /// Waits until the device returns a chain. Returns its first descriptor and the number of bytes written.
    pub(crate) fn wait_used(&mut self, queue: usize) -> (u16, u32) {
        let start = Instant::now();
        while self.used_count(queue) == self.queues[queue].used_index {
            assert!(start.elapsed() < REPLY_TIMEOUT, "the device does not reply");
            thread::yield_now();
        }
        let state = &self.queues[queue];
        let element = self.read(state.used + 4 + u64::from(state.used_index % QUEUE_SIZE) * 8, 8);
        let number = |at: usize| u32::from_le_bytes(element[at..at + 4].try_into().unwrap());
        self.queues[queue].used_index = self.queues[queue].used_index.wrapping_add(1);
        (number(0) as u16, number(4))
    }

    /// Sends a request with `room` bytes for the reply. Returns the bytes written.
    pub(crate) fn call(&mut self, request: &[u8], room: u32) -> Vec<u8> {
        self.call_queue(1, request, room)
    }

    /// Sends a request like [`Self::call`], to one of several queues.
    pub(crate) fn call_queue(&mut self, queue: usize, request: &[u8], room: u32) -> Vec<u8> {
        let reply = DATA + (4 << 20);
        self.write(DATA, request);
        self.write_descriptor(
            queue,
            0,
            Descriptor { address: DATA, length: request.len() as u32, flags: NEXT, next: 1 },
        );
        self.write_descriptor(queue, 1, Descriptor { address: reply, length: room, flags: WRITE, next: 0 });
        self.make_available(queue, &[0]);
        let (head, written) = self.wait_used(queue);
        assert_eq!(head, 0);
        assert!(written <= room, "{written} of {room}");
        self.read(reply, written as usize)
    }
}
