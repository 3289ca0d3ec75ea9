//! From a chain of descriptors to its answer.

use std::io::Write;
use std::ops::Deref;
use std::sync::Arc;

use fuse_backend_rs::abi::fuse_abi::{InHeader, OutHeader};
use fuse_backend_rs::api::server::Server;
use fuse_backend_rs::transport::{Reader, VirtioFsWriter};
use rustix::io::Errno;
use virtio_queue::DescriptorChain;
use vm_memory::{ByteValued, GuestMemoryMmap};
use vmroot_container_fs::ContainerFs;

use crate::adapter::Adapter;

/// The most bytes that a request reads.
pub(crate) const MAX_DATA: u32 = 1 << 20;

/// The most bytes of a request. The library allocates no more than a request has bytes, and a guest can have one
/// descriptor stand in a chain a thousand times.
const MAX_REQUEST: usize = MAX_DATA as usize + 4096;

/// Answers requests.
pub(crate) struct Requests {
    server: Server<Adapter>,
}

impl Requests {
    pub(crate) fn new(root: Arc<ContainerFs>) -> Self {
        Self { server: Server::new(Adapter::new(root)) }
    }

    /// Answers the request in a chain; gives the number of bytes written to guest memory, 0 where none are expected or
    /// the chain has no place for an answer.
    pub(crate) fn answer<M>(&self, memory: &GuestMemoryMmap, chain: DescriptorChain<M>) -> u32
    where
        M: Deref<Target = GuestMemoryMmap> + Clone,
    {
        let Ok(request) = Reader::from_descriptor_chain(memory, chain.clone()) else { return 0 };
        let Ok(answer) = VirtioFsWriter::new(memory, chain) else { return 0 };
        let refuse = |mut request: Reader<'_>, answer| refuse(request.read_obj().unwrap_or_default(), answer);
        if request.available_bytes() > MAX_REQUEST {
            return refuse(request, answer);
        }
        match self.server.handle_message(request.clone(), answer.clone().into(), None, None) {
            Ok(written) => u32::try_from(written).unwrap_or(u32::MAX),
            // The library says nothing to who sends nonsense.
            Err(_) => refuse(request, answer),
        }
    }
}

/// Answers "invalid argument", where there is room for it.
fn refuse(request: InHeader, mut answer: VirtioFsWriter<'_>) -> u32 {
    let length = size_of::<OutHeader>() as u32;
    let header = OutHeader { len: length, error: -Errno::INVAL.raw_os_error(), unique: request.unique };
    answer.write_all(header.as_slice()).map_or(0, |()| length)
}
