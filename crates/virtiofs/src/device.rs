//! The device that a VMM sees: its features, its queues, and what serves them.

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
use crate::crew::Crew;
use crate::requests::{Answered, Chain, Requests, reads_file};

/// The most descriptors of a queue, which is also the most buffers that one preadv(2) takes.
const QUEUE_SIZE: usize = 1024;

/// Bits of virtio's features (virtio 1.2, section 6; `linux/virtio_ring.h`).
const RING_INDIRECT_DESC: u64 = 1 << 28;
const RING_EVENT_IDX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;

/// Queues besides those for requests: the one for what needs no answer, which is number 0.
const OTHER_QUEUES: usize = 1;

/// The guest's memory, as the VMM has it now.
pub(crate) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// A queue in guest memory.
type Ring = VringState<Memory>;

type QueueResult<T> = Result<T, virtio_queue::Error>;

/// A virtio-fs device.
pub(crate) struct Device {
    requests: Arc<Requests>,
    crew: Crew,
    queues: usize,
    memory: Memory,
}

impl Device {
    pub(crate) fn new(root: Arc<ContainerFs>, options: &VirtioFsOptions, memory: Memory) -> io::Result<Self> {
        let requests = Arc::new(Requests::new(root));
        let crew = Crew::new(Arc::clone(&requests), options.threads)?;
        Ok(Self { requests, crew, queues: options.queues, memory })
    }

    /// Answers what is in a queue, until it is empty.
    ///
    /// The lock is held throughout: a VMM that stops the queue waits for what is under way, and after that nothing
    /// writes to the guest's memory.
    fn serve(&self, ring: &VringMutex) -> QueueResult<()> {
        let mut ring = ring.get_mut();
        loop {
            ring.disable_notification()?;
            loop {
                let chains = self.take(&mut ring)?;
                if chains.is_empty() {
                    break;
                } else if chains.len() > 1 && !self.crew.is_empty() {
                    self.share(&mut ring, chains)?;
                } else {
                    chains.into_iter().try_for_each(|chain| finish(&mut ring, &self.requests.answer(chain)))?;
                }
            }
            if !ring.enable_notification()? {
                return Ok(());
            }
        }
    }

    /// The requests that wait in a queue.
    fn take(&self, ring: &mut Ring) -> QueueResult<Vec<Chain>> {
        Ok(ring.get_queue_mut().iter(self.memory.memory())?.collect())
    }

    /// Answers several requests, and those that come in the meantime, the reads among them together with the crew. Also
    /// when the queue turns out to be spoiled, all that was begun is waited for.
    fn share(&self, ring: &mut Ring, mut chains: Vec<Chain>) -> QueueResult<()> {
        let (done, answers) = channel();
        let (mut begun, mut result) = (0, Ok(()));
        loop {
            for chain in chains.drain(..) {
                if reads_file(&chain) {
                    self.crew.give(chain, &done);
                    begun += 1;
                } else {
                    result = result.and_then(|()| finish(ring, &self.requests.answer(chain)));
                }
            }
            if begun == 0 {
                return result;
            }
            self.crew.help();
            let first = answers.recv().expect("there is a sender on this stack");
            for answer in std::iter::once(first).chain(answers.try_iter()) {
                begun -= 1;
                result = result.and_then(|()| finish(ring, &answer));
            }
            match result.and_then(|()| self.take(ring)) {
                Ok(more) => (chains, result) = (more, Ok(())),
                Err(error) => result = Err(error),
            }
        }
    }
}

/// Gives a chain back to the guest, and tells it if it wants to be told.
fn finish(ring: &mut Ring, answer: &Answered) -> QueueResult<()> {
    ring.add_used(answer.head, answer.written)?;
    if ring.needs_notification()? {
        // There is nobody else to tell.
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

    /// The memory is shared with the library, which replaces what is in it.
    fn update_memory(&self, _: Memory) -> io::Result<()> {
        Ok(())
    }

    /// A thread for each request queue; the first has the queue besides as well, which is next to nothing.
    fn queues_per_thread(&self) -> Vec<u64> {
        (0..self.queues).map(|thread| if thread == 0 { 0b11 } else { 0b10 << thread }).collect()
    }

    fn exit_event(&self, _: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK).ok()
    }

    fn handle_event(&self, queue: u16, _: EventSet, rings: &[VringMutex], _: usize) -> io::Result<()> {
        // An error would end the thread, and only the guest can have made one. It may reset the device.
        if let Some(ring) = rings.get(usize::from(queue))
            && let Err(error) = self.serve(ring)
        {
            tracing::debug!("the guest has spoiled a queue: {error}");
        }
        Ok(())
    }
}
