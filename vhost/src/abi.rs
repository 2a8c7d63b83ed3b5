//! Features and configuration space, as the guest reads them.

use compcache_device::{PAGE_SIZE, SECTOR_SIZE};
use core::mem::offset_of;
use vhost::vhost_user::{VhostUserProtocolFeatures, message::VhostUserVirtioFeatures};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ,
    VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES,
    virtio_blk_config,
};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

/// Rings that a VMM may use. QEMU takes one for each of the guest's CPUs and does not start if
/// there are fewer; a ring that is not used costs next to nothing.
pub(crate) const QUEUES: usize = 64;
/// Entries of a ring at most; QEMU makes no larger ones.
pub(crate) const QUEUE_SIZE_MAX: usize = 1024;
/// Pieces of data in a request: with header and status they fit into a ring of 128, QEMU's default.
const SEGMENTS_MAX: u32 = 126;
/// Sectors of one discarded or zeroed range, 1 GiB: a longer one would keep the ring waiting.
pub(crate) const RANGE_SECTORS_MAX: u32 = 1 << 21;
/// Ranges of one such request.
pub(crate) const RANGES_MAX: u32 = 32;

/// Bytes of the configuration space.
const CONFIG_BYTES: usize = size_of::<virtio_blk_config>();
/// Sectors of a page.
const PAGE_SECTORS: u32 = (PAGE_SIZE / SECTOR_SIZE) as u32;

/// What the device can, as the bits of virtio and of vhost-user.
pub(crate) fn features(read_only: bool) -> u64 {
    let both = [
        VIRTIO_F_VERSION_1,
        VIRTIO_RING_F_EVENT_IDX,
        VIRTIO_RING_F_INDIRECT_DESC,
        VIRTIO_BLK_F_SEG_MAX,
        VIRTIO_BLK_F_BLK_SIZE,
        VIRTIO_BLK_F_TOPOLOGY,
        VIRTIO_BLK_F_FLUSH,
        VIRTIO_BLK_F_MQ,
    ];
    let writes: &[u32] = match read_only {
        true => &[VIRTIO_BLK_F_RO],
        false => &[VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES],
    };
    let bits = both.iter().chain(writes);
    bits.fold(
        VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits(),
        |all, bit| all | 1 << bit,
    )
}

/// Several rings, the configuration space, and answers to whether a message was understood.
pub(crate) fn protocol_features() -> VhostUserProtocolFeatures {
    VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::CONFIG
        | VhostUserProtocolFeatures::REPLY_ACK
}

/// The configuration space of a device.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSpace([u8; CONFIG_BYTES]);

impl ConfigSpace {
    pub(crate) fn new(size: u64) -> Self {
        let mut space = Self([0; CONFIG_BYTES]);
        let capacity = size / SECTOR_SIZE;
        space.put(
            offset_of!(virtio_blk_config, capacity),
            &capacity.to_le_bytes(),
        );
        // Blocks of a sector, and a page is what is best asked for.
        let exponent = PAGE_SECTORS.ilog2() as u8;
        space.put(
            offset_of!(virtio_blk_config, physical_block_exp),
            &[exponent],
        );
        space.put(
            offset_of!(virtio_blk_config, min_io_size),
            &(PAGE_SECTORS as u16).to_le_bytes(),
        );
        for (at, value) in [
            (offset_of!(virtio_blk_config, seg_max), SEGMENTS_MAX),
            (offset_of!(virtio_blk_config, blk_size), SECTOR_SIZE as u32),
            (offset_of!(virtio_blk_config, opt_io_size), PAGE_SECTORS),
            (
                offset_of!(virtio_blk_config, max_discard_sectors),
                RANGE_SECTORS_MAX,
            ),
            (offset_of!(virtio_blk_config, max_discard_seg), RANGES_MAX),
            // Pages are discarded as a whole only.
            (
                offset_of!(virtio_blk_config, discard_sector_alignment),
                PAGE_SECTORS,
            ),
            (
                offset_of!(virtio_blk_config, max_write_zeroes_sectors),
                RANGE_SECTORS_MAX,
            ),
            (
                offset_of!(virtio_blk_config, max_write_zeroes_seg),
                RANGES_MAX,
            ),
        ] {
            space.put(at, &value.to_le_bytes());
        }
        // Zeroed pages become holes.
        space.put(offset_of!(virtio_blk_config, write_zeroes_may_unmap), &[1]);
        space.put(
            offset_of!(virtio_blk_config, num_queues),
            &(QUEUES as u16).to_le_bytes(),
        );
        space
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// Some bytes of it; zeroes behind its end.
    pub(crate) fn bytes(&self, offset: u32, len: u32) -> Vec<u8> {
        let known = self.0.iter().copied().chain(core::iter::repeat(0));
        known.skip(offset as usize).take(len as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_space_is_laid_out_as_virtio_says() {
        // Offsets as in virtio 1.2, 5.2.4.
        let space = ConfigSpace::new(1 << 30);
        let u32_at = |at| u32::from_le_bytes(space.bytes(at, 4).try_into().unwrap());
        assert_eq!(space.bytes(0, 8), (1u64 << 21).to_le_bytes());
        assert_eq!(u32_at(12), 126);
        assert_eq!(u32_at(20), 512);
        assert_eq!(space.bytes(24, 4), [3, 0, 8, 0]);
        assert_eq!(u32_at(28), 8);
        assert_eq!(space.bytes(34, 2), [64, 0]);
        assert_eq!((u32_at(36), u32_at(40), u32_at(44)), (1 << 21, 32, 8));
        assert_eq!((u32_at(48), u32_at(52)), (1 << 21, 32));
        assert_eq!(space.bytes(56, 4), [1, 0, 0, 0]);
        assert_eq!(space.bytes(250, 6), [0; 6]);
        assert_eq!(space.bytes(u32::MAX, 3), [0; 3]);
    }

    #[test]
    fn a_device_that_takes_no_writes_says_so() {
        let has = |read_only, bit: u32| features(read_only) & 1 << bit != 0;
        assert!(has(true, VIRTIO_BLK_F_RO) && !has(false, VIRTIO_BLK_F_RO));
        assert!(has(false, VIRTIO_BLK_F_DISCARD) && !has(true, VIRTIO_BLK_F_DISCARD));
        assert!(has(true, VIRTIO_F_VERSION_1) && has(true, VIRTIO_BLK_F_FLUSH));
    }
}
