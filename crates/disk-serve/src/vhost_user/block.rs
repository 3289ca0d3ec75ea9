//! The device of one VMM: its queues, and the threads that serve them.

use std::io;
use std::sync::Arc;

use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::{VhostUserBackend, VringMutex, VringState, VringT};
use virtio_queue::QueueOwnedT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

use super::configuration::{self, QUEUE_SIZE};
use super::request::{Chain, Request};
use crate::Device;

/// The guest's memory, as the VMM currently maps it.
pub(super) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// A queue in guest memory.
type Ring = VringState<Memory>;

/// The number of waiting requests whose data is read at once. It also limits the memory of parsed requests.
const READ_AHEAD: usize = 16;

type QueueResult<T> = Result<T, virtio_queue::Error>;

/// A virtio block device.
pub(super) struct BlockDevice {
    device: Arc<Device>,
    queues: usize,
    memory: Memory,
}

impl BlockDevice {
    pub(super) fn new(device: Arc<Device>, queues: usize, memory: Memory) -> Self {
        Self { device, queues, memory }
    }

    /// Answers the requests in a queue, in their order, until it is empty.
    ///
    /// The lock of the queue is held throughout. A VMM that stops the queue waits for the request in progress, and after
    /// that nothing writes to the guest's memory.
    fn serve(&self, ring: &VringMutex) -> QueueResult<()> {
        let mut ring = ring.get_mut();
        loop {
            ring.disable_notification()?;
            loop {
                let chains: Vec<Chain> = ring.get_queue_mut().iter(self.memory.memory())?.collect();
                if chains.is_empty() {
                    break;
                }
                self.answer(&mut ring, &chains)?;
            }
            // A request that arrived before this is not notified.
            if !ring.enable_notification()? {
                return Ok(());
            }
        }
    }

    fn answer(&self, ring: &mut Ring, chains: &[Chain]) -> QueueResult<()> {
        for chains in chains.chunks(READ_AHEAD) {
            self.answer_some(ring, chains)?;
        }
        Ok(())
    }

    fn answer_some(&self, ring: &mut Ring, chains: &[Chain]) -> QueueResult<()> {
        let requests: Vec<Request> = chains.iter().map(Request::parse).collect();
        // A disk reads for all waiting requests at once, although they are answered one by one.
        requests.iter().skip(1).for_each(|request| request.read_ahead(&self.device));
        for (chain, request) in chains.iter().zip(requests) {
            let written = request.answer(chain.memory(), &self.device);
            ring.add_used(chain.head_index(), written)?;
            if ring.needs_notification()? {
                // An error cannot be reported anywhere.
                let _ = ring.signal_used_queue();
            }
        }
        Ok(())
    }
}

impl VhostUserBackend for BlockDevice {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        self.queues
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        configuration::features()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        configuration::protocol_features()
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        configuration::configuration(self.device.length(), self.queues, offset, size)
    }

    fn set_event_idx(&self, _: bool) {}

    /// The library replaces the memory in place, and this device shares it.
    fn update_memory(&self, _: Memory) -> io::Result<()> {
        Ok(())
    }

    /// Returns one thread for each queue.
    fn queues_per_thread(&self) -> Vec<u64> {
        (0..self.queues).map(|queue| 1 << queue).collect()
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
