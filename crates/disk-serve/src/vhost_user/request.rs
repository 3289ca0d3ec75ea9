//! Requests of a guest (virtio 1.2, section 5.2.6).
//!
//! A request is a chain of descriptors: 16 bytes that the device reads, the data, and a status byte, the last byte that
//! the device may write. Their division into descriptors has no meaning.

use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryLoadGuard, GuestMemoryMmap, VolatileSlice};

use super::configuration::QUEUE_SIZE;
use crate::Device;

/// The unit of positions and lengths in bytes.
pub(super) const SECTOR: u64 = 512;

/// Types of requests.
const READ: u32 = 0;
const WRITE: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;

/// The bytes of the reply to [`GET_ID`].
const ID_LENGTH: usize = 20;
/// The bytes of the header.
const HEADER: usize = 16;
/// The most places for data: the largest queue's descriptors. A table of descriptors can have more, although a driver must
/// not make one (virtio 1.2, section 2.7.5.3.1).
const MAX_PLACES: usize = QUEUE_SIZE;

/// The status of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// A chain in guest memory, with a reference to that memory.
pub(super) type Chain = DescriptorChain<GuestMemoryLoadGuard<GuestMemoryMmap>>;

/// A parsed request.
#[derive(Debug)]
pub(super) struct Request {
    /// The type and the first sector; `None` if the header is incomplete or outside of guest memory.
    header: Option<(u32, u64)>,
    /// The places for data, without the status byte.
    data: Vec<(GuestAddress, usize)>,
    /// The bytes of `data`.
    length: u64,
    /// The place of the status byte; `None` if the device may write nothing.
    status: Option<GuestAddress>,
    /// Whether there are more than [`MAX_PLACES`].
    is_too_long: bool,
}

impl Request {
    /// Parses a chain. A chain that ends too early is a request that fails.
    pub(super) fn parse(chain: &Chain) -> Self {
        let memory = chain.memory();
        let (mut header, mut filled, mut is_readable) = ([0; HEADER], 0, true);
        let mut request = Self { header: None, data: Vec::new(), length: 0, status: None, is_too_long: false };
        for descriptor in chain.clone() {
            let (address, length) = (descriptor.addr(), descriptor.len() as usize);
            if descriptor.is_write_only() {
                request.add_place(address, length);
            } else if filled < HEADER {
                let part = &mut header[filled..HEADER.min(filled + length)];
                is_readable &= memory.read_slice(part, address).is_ok();
                filled += part.len();
            }
        }
        if filled == HEADER && is_readable && !request.is_too_long {
            let [kind, _, low, high] = [0, 4, 8, 12].map(|at| word(&header, at));
            request.header = Some((kind, u64::from(high) << 32 | u64::from(low)));
        }
        request.split_status();
        request
    }

    fn add_place(&mut self, address: GuestAddress, length: usize) {
        if length == 0 {
            return;
        }
        if self.data.len() == MAX_PLACES {
            self.is_too_long = true;
            // The last place has the status byte.
            self.length -= self.data.pop().map_or(0, |(_, length)| length as u64);
        }
        self.data.push((address, length));
        self.length += length as u64;
    }

    /// Takes the last byte as the place of the status.
    fn split_status(&mut self) {
        let Some((address, length)) = self.data.pop() else { return };
        self.length -= length as u64;
        self.status = address.0.checked_add(length as u64 - 1).map(GuestAddress);
        self.add_place(address, length - 1);
    }

    /// Starts reading the data of a read request into the page cache.
    pub(super) fn read_ahead(&self, device: &Device) {
        if let Some((READ, sector)) = self.header
            && let Some(offset) = self.offset(sector, device)
        {
            device.read_ahead(offset, self.length);
        }
    }

    /// Answers the request. Returns the number of bytes that were written from the first place on.
    pub(super) fn answer(&self, memory: &GuestMemoryMmap, device: &Device) -> u32 {
        // Without a status byte, there is no reply.
        let Some(place) = self.status else { return 0 };
        let status = self.run(memory, device);
        if memory.write_obj(status as u8, place).is_err() {
            return 0;
        }
        match status {
            Status::Ok => u32::try_from(self.length + 1).unwrap_or(u32::MAX),
            // Only the last byte is defined.
            _ if self.length > 0 => 0,
            _ => 1,
        }
    }

    fn run(&self, memory: &GuestMemoryMmap, device: &Device) -> Status {
        match self.header {
            Some((READ, sector)) => self.read(memory, device, sector),
            Some((GET_ID, _)) => self.write_id(memory, device),
            Some((FLUSH, _)) => Status::Ok,
            Some((WRITE, _)) | None => Status::IoError,
            Some(_) => Status::Unsupported,
        }
    }

    fn read(&self, memory: &GuestMemoryMmap, device: &Device, sector: u64) -> Status {
        let read = || {
            let offset = self.offset(sector, device)?;
            device.read_into(&self.slices(memory)?, offset).ok()
        };
        read().map_or(Status::IoError, |()| Status::Ok)
    }

    fn write_id(&self, memory: &GuestMemoryMmap, device: &Device) -> Status {
        let write = || {
            let text = device.identity().hex();
            let mut id: Vec<u8> = text.bytes().take(ID_LENGTH).collect();
            id.resize(ID_LENGTH, 0);
            let mut left = id.as_slice();
            // Data after the identification is not touched.
            for slice in self.slices(memory)? {
                let (now, rest) = left.split_at(left.len().min(slice.len()));
                slice.copy_from(now);
                left = rest;
            }
            left.is_empty().then_some(())
        };
        write().map_or(Status::IoError, |()| Status::Ok)
    }

    /// Returns the offset of the data on the disk, if all of it is there.
    fn offset(&self, sector: u64, device: &Device) -> Option<u64> {
        let offset = sector.checked_mul(SECTOR)?;
        let end = offset.checked_add(self.length)?;
        (self.length.is_multiple_of(SECTOR) && end <= device.length()).then_some(offset)
    }

    /// Returns the places for data in guest memory, if all are mapped.
    fn slices<'m>(&self, memory: &'m GuestMemoryMmap) -> Option<Vec<VolatileSlice<'m>>> {
        let places = self.data.iter().flat_map(|(address, length)| memory.get_slices(*address, *length));
        places.collect::<Result<_, _>>().ok()
    }
}

fn word(bytes: &[u8; HEADER], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}
