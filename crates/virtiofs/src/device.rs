//! The vhost-user device: its features, its queues, and the threads that serve them.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;

use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VringMutex, VringState, VringT};
use virtio_queue::QueueOwnedT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};
use vmroot_container_fs::ContainerFs;

use crate::VirtioFsOptions;
use crate::pool::WorkerPool;
use crate::requests::{Chain, Reply, RequestHandler, reads_file};

/// The most descriptors of a queue, and the most buffers that preadv(2) takes.
const QUEUE_SIZE: usize = 1024;

/// Feature bits of virtio (virtio 1.2, section 6; `linux/virtio_ring.h`).
const RING_INDIRECT_DESC: u64 = 1 << 28;
const RING_EVENT_IDX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;

/// Number of queues that are not request queues: queue 0, for requests without a reply.
const OTHER_QUEUES: usize = 1;

/// The guest's memory, as the VMM currently maps it.
pub(crate) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// A queue in guest memory.
type Ring = VringState<Memory>;

type QueueResult<T> = Result<T, virtio_queue::Error>;

/// A virtio-fs device.
pub(crate) struct Device {
    handler: Arc<RequestHandler>,
    pool: WorkerPool,
    queues: usize,
    memory: Memory,
}

impl Device {
    pub(crate) fn new(root: Arc<ContainerFs>, options: &VirtioFsOptions, memory: Memory) -> io::Result<Self> {
        let handler = Arc::new(RequestHandler::new(root));
        let pool = WorkerPool::new(Arc::clone(&handler), options.threads)?;
        Ok(Self { handler, pool, queues: options.queues, memory })
    }

    /// Handles the requests in a queue until it is empty.
    ///
    /// The lock of the queue is held throughout. A VMM that stops the queue waits for the requests in progress, and
    /// after that nothing writes to the guest's memory.
    fn serve(&self, ring: &VringMutex) -> QueueResult<()> {
        let mut ring = ring.get_mut();
        loop {
            ring.disable_notification()?;
            loop {
                let chains = self.waiting_chains(&mut ring)?;
                if chains.is_empty() {
                    break;
                } else if chains.len() > 1 && !self.pool.is_empty() {
                    self.serve_with_pool(&mut ring, chains)?;
                } else {
                    chains.into_iter().try_for_each(|chain| finish(&mut ring, &self.handler.handle(chain)))?;
                }
            }
            if !ring.enable_notification()? {
                return Ok(());
            }
        }
    }

    /// Returns the requests that wait in a queue.
    fn waiting_chains(&self, ring: &mut Ring) -> QueueResult<Vec<Chain>> {
        Ok(ring.get_queue_mut().iter(self.memory.memory())?.collect())
    }

    /// Handles several requests, and those that arrive in the meantime. The thread pool handles reads. If the queue
    /// turns out to be invalid, this still waits for all requests in progress.
    fn serve_with_pool(&self, ring: &mut Ring, mut chains: Vec<Chain>) -> QueueResult<()> {
        let (done, replies) = channel();
        let (mut pending, mut result) = (0, Ok(()));
        loop {
            for chain in chains.drain(..) {
                if reads_file(&chain) {
                    self.pool.submit(chain, &done);
                    pending += 1;
                } else {
                    result = result.and_then(|()| finish(ring, &self.handler.handle(chain)));
                }
            }
            if pending == 0 {
                return result;
            }
            self.pool.run_one();
            let first = replies.recv().expect("there is a sender on this stack");
            for reply in std::iter::once(first).chain(replies.try_iter()) {
                pending -= 1;
                result = result.and_then(|()| finish(ring, &reply));
            }
            match result.and_then(|()| self.waiting_chains(ring)) {
                Ok(more) => (chains, result) = (more, Ok(())),
                Err(error) => result = Err(error),
            }
        }
    }
}

/// Returns a chain to the guest, and notifies the guest if it requested that.
fn finish(ring: &mut Ring, reply: &Reply) -> QueueResult<()> {
    ring.add_used(reply.head, reply.written)?;
    if ring.needs_notification()? {
        // An error cannot be reported anywhere.
        let _ = ring.signal_used_queue();
    }
    Ok(())
}

impl VhostUserBackend for Device {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        OTHER_QUEUES + self.queues
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        VERSION_1 | RING_INDIRECT_DESC | RING_EVENT_IDX | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::RESET_DEVICE
    }

    fn set_event_idx(&self, _: bool) {}

    /// The library replaces the memory in place, and this device shares it.
    fn update_memory(&self, _: Memory) -> io::Result<()> {
        Ok(())
    }

    /// Returns one thread for each request queue. The first thread also serves queue 0, which has almost no requests.
    fn queues_per_thread(&self) -> Vec<u64> {
        (0..self.queues).map(|thread| if thread == 0 { 0b11 } else { 0b10 << thread }).collect()
    }

    fn exit_event(&self, _: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK).ok()
    }

    fn handle_event(&self, queue: u16, _: EventSet, rings: &[VringMutex], _: usize) -> io::Result<()> {
        // An error would end the thread. Only the guest can have caused it, and it may reset the device.
        if let Some(ring) = rings.get(usize::from(queue))
            && let Err(error) = self.serve(ring)
        {
            tracing::debug!("the guest has made a queue invalid: {error}");
        }
        Ok(())
    }
}
