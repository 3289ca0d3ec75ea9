//! Handles the requests in chains of descriptors.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fuse_backend_rs::abi::fuse_abi::{InHeader, Opcode, OutHeader};
use fuse_backend_rs::api::server::Server;
use fuse_backend_rs::transport::{Reader, VirtioFsWriter};
use rustix::io::Errno;
use virtio_queue::DescriptorChain;
use vm_memory::{ByteValued, GuestMemoryLoadGuard, GuestMemoryMmap};
use vmroot_container_fs::ContainerFs;

use crate::adapter::Adapter;

/// The most bytes that a request reads. The library allows 256 pages, and some arm64 guests have pages of 64 KiB. The
/// bytes are read directly into guest memory.
pub(crate) const MAX_DATA: u32 = 256 << 16;

/// The most bytes of a request, as in the library, which allocates no more than a request has bytes. A guest can use
/// one descriptor a thousand times in a chain to make a request longer.
const MAX_REQUEST: usize = (1 << 20) + 4096;

/// A request in guest memory, with a reference to that memory.
pub(crate) type Chain = DescriptorChain<GuestMemoryLoadGuard<GuestMemoryMmap>>;

/// The result of a request.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The first descriptor of the chain.
    pub(crate) head: u16,
    /// Bytes written to guest memory. 0 if no reply is expected or the chain has no room for one.
    pub(crate) written: u32,
}

/// Handles requests.
pub(crate) struct RequestHandler {
    server: Server<Adapter>,
}

impl RequestHandler {
    pub(crate) fn new(root: Arc<ContainerFs>) -> Self {
        Self { server: Server::new(Adapter::new(root)) }
    }

    /// Handles the request in a chain.
    pub(crate) fn handle(&self, chain: Chain) -> Reply {
        let head = chain.head_index();
        // No request is known to make the library panic. If one did, only its own reply would be missing; the other
        // guests of this process are still served.
        let written = catch_unwind(AssertUnwindSafe(|| self.write_reply(chain))).unwrap_or_default();
        Reply { head, written }
    }

    fn write_reply(&self, chain: Chain) -> u32 {
        let memory = chain.memory();
        let Ok(request) = Reader::from_descriptor_chain(memory, chain.clone()) else { return 0 };
        let Ok(reply) = VirtioFsWriter::new(memory, chain.clone()) else { return 0 };
        if request.available_bytes() > MAX_REQUEST {
            return reply_invalid(&chain);
        }
        match self.server.handle_message(request, reply.into(), None, None) {
            Ok(written) => u32::try_from(written).unwrap_or(u32::MAX),
            // The library sends no reply to an invalid request.
            Err(_) => reply_invalid(&chain),
        }
    }
}

/// Returns whether a request reads a file and may wait for the disk. All others are handled from memory.
pub(crate) fn reads_file(chain: &Chain) -> bool {
    header(chain).is_some_and(|header| header.opcode == Opcode::Read as u32)
}

fn header(chain: &Chain) -> Option<InHeader> {
    Reader::from_descriptor_chain(chain.memory(), chain.clone()).ok()?.read_obj().ok()
}

/// Replies `EINVAL` if the chain has room for it. Returns the number of bytes written.
fn reply_invalid(chain: &Chain) -> u32 {
    let unique = header(chain).unwrap_or_default().unique;
    let length = size_of::<OutHeader>() as u32;
    let header = OutHeader { len: length, error: -Errno::INVAL.raw_os_error(), unique };
    let Ok(mut reply) = VirtioFsWriter::new(chain.memory(), chain.clone()) else { return 0 };
    reply.write_all(header.as_slice()).map_or(0, |()| length)
}
