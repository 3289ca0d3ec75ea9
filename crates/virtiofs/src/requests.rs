//! From a chain of descriptors to its answer.

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

/// The most bytes that a request reads: the library allows 256 pages, and those of some arm64 guests have 64 KiB. They go
/// straight into the guest's memory.
pub(crate) const MAX_DATA: u32 = 256 << 16;

/// The most bytes of a request, as the library has it. It allocates no more than a request has bytes, and a guest can have
/// one descriptor stand in a chain a thousand times.
const MAX_REQUEST: usize = (1 << 20) + 4096;

/// A request in guest memory, with that memory.
pub(crate) type Chain = DescriptorChain<GuestMemoryLoadGuard<GuestMemoryMmap>>;

/// A request that is answered.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The first descriptor of its chain.
    pub(crate) head: u16,
    /// The bytes written to guest memory: 0 where none are expected, or the chain has no place for an answer.
    pub(crate) written: u32,
}

/// Answers requests.
pub(crate) struct Requests {
    server: Server<Adapter>,
}

impl Requests {
    pub(crate) fn new(root: Arc<ContainerFs>) -> Self {
        Self { server: Server::new(Adapter::new(root)) }
    }

    /// Answers the request in a chain.
    pub(crate) fn answer(&self, chain: Chain) -> Answered {
        let head = chain.head_index();
        // No request is known that makes the library panic. One that did would leave the guest without this answer, and
        // not all guests of this process without any.
        let written = catch_unwind(AssertUnwindSafe(|| self.write_answer(chain))).unwrap_or_default();
        Answered { head, written }
    }

    fn write_answer(&self, chain: Chain) -> u32 {
        let memory = chain.memory();
        let Ok(request) = Reader::from_descriptor_chain(memory, chain.clone()) else { return 0 };
        let Ok(answer) = VirtioFsWriter::new(memory, chain.clone()) else { return 0 };
        if request.available_bytes() > MAX_REQUEST {
            return refuse(&chain);
        }
        match self.server.handle_message(request, answer.into(), None, None) {
            Ok(written) => u32::try_from(written).unwrap_or(u32::MAX),
            // The library says nothing to who sends nonsense.
            Err(_) => refuse(&chain),
        }
    }
}

/// Whether a request reads a file, for which it may have to wait for the disk. All others are answered from memory.
pub(crate) fn reads_file(chain: &Chain) -> bool {
    header(chain).is_some_and(|header| header.opcode == Opcode::Read as u32)
}

fn header(chain: &Chain) -> Option<InHeader> {
    Reader::from_descriptor_chain(chain.memory(), chain.clone()).ok()?.read_obj().ok()
}

/// Answers "invalid argument", where there is room for it.
fn refuse(chain: &Chain) -> u32 {
    let unique = header(chain).unwrap_or_default().unique;
    let length = size_of::<OutHeader>() as u32;
    let header = OutHeader { len: length, error: -Errno::INVAL.raw_os_error(), unique };
    let Ok(mut answer) = VirtioFsWriter::new(chain.memory(), chain.clone()) else { return 0 };
    answer.write_all(header.as_slice()).map_or(0, |()| length)
}
