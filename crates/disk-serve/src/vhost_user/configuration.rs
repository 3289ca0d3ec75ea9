//! The features of the device, and its configuration space (virtio 1.2, section 5.2).

use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};

use super::request::SECTOR;
use crate::BLOCK;

/// The most descriptors of a queue.
pub(super) const QUEUE_SIZE: usize = 1024;
/// The most segments of a request. The header and the status need two more descriptors, and VMMs use queues of 128.
const MAX_SEGMENTS: u32 = 126;
/// The most bytes of the configuration that a VMM can request (`VHOST_USER_CONFIG_SIZE`).
const MAX_CONFIGURATION: usize = 256;
/// The preferred size of requests in blocks: 128 KiB.
const PREFERRED_BLOCKS: u32 = 32;

/// Feature bits of virtio (virtio 1.2, sections 5.2.3 and 6).
const SEG_MAX: u64 = 1 << 2;
const RO: u64 = 1 << 5;
const BLK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const TOPOLOGY: u64 = 1 << 10;
const MQ: u64 = 1 << 12;
const RING_INDIRECT_DESC: u64 = 1 << 28;
const RING_EVENT_IDX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;

/// The features of the device.
pub(super) fn features() -> u64 {
    let device = SEG_MAX | RO | BLK_SIZE | FLUSH | TOPOLOGY | MQ;
    let rings = RING_INDIRECT_DESC | RING_EVENT_IDX | VERSION_1;
    device | rings | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
}

/// The features of the connection with the VMM. QEMU requires `CONFIG` of a disk.
pub(super) fn protocol_features() -> VhostUserProtocolFeatures {
    VhostUserProtocolFeatures::CONFIG
        | VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::REPLY_ACK
        | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
}

/// Returns `size` bytes of the configuration from `offset` on, or none if a VMM cannot request them. Fields that the
/// device does not know are zeros.
pub(super) fn configuration(length: u64, queues: usize, offset: u32, size: u32) -> Vec<u8> {
    let (Ok(offset), Ok(size)) = (usize::try_from(offset), usize::try_from(size)) else { return Vec::new() };
    let Some(end) = offset.checked_add(size).filter(|end| *end <= MAX_CONFIGURATION) else { return Vec::new() };
    fields(length, queues)[offset..end].to_vec()
}

/// Returns `struct virtio_blk_config`, with zeros after it.
fn fields(length: u64, queues: usize) -> [u8; MAX_CONFIGURATION] {
    let mut bytes = [0; MAX_CONFIGURATION];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &(length / SECTOR).to_le_bytes());
    put(12, &MAX_SEGMENTS.to_le_bytes());
    put(20, &(SECTOR as u32).to_le_bytes());
    // The topology: 8 sectors are a block, which is the smallest sensible request.
    put(24, &[(BLOCK / SECTOR).ilog2() as u8]);
    put(26, &((BLOCK / SECTOR) as u16).to_le_bytes());
    put(28, &(PREFERRED_BLOCKS * (BLOCK / SECTOR) as u32).to_le_bytes());
    put(34, &(queues as u16).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vmm_gets_exactly_the_bytes_it_requests() {
        for (offset, size) in [(0, 0), (0, 8), (0, 60), (0, 96), (34, 2), (0, 256), (255, 1)] {
            assert_eq!(configuration(8192, 3, offset, size).len(), size as usize);
        }
        for (offset, size) in [(0, 257), (256, 1), (1, 256), (u32::MAX, u32::MAX), (u32::MAX, 2)] {
            assert!(configuration(8192, 3, offset, size).is_empty());
        }
        assert_eq!(configuration(8192, 3, 0, 8), 16u64.to_le_bytes());
        assert_eq!(configuration(8192, 3, 34, 2), [3, 0]);
    }
}
