//! What allocators would take for objects of given sizes, by rule rather than by trial.
//!
//! `compcache bench` measures; this estimates a freshly filled store, within a percent of it.

use crate::pages::PAGE_SIZE;

/// Blocks are whole granules of 8 bytes.
const GRANULE_BYTES: u64 = 8;
/// The header before each block.
const HEADER_BYTES: u64 = 4;
/// Slot, handle entry and shares of tables for one page; every page has a slot, stored or not.
const METADATA_BYTES: u64 = 16;

/// SLUB's kmalloc classes up to a page, with the bytes of one slab of each on a machine of 4096-byte pages.
const KMALLOC: [(u32, u64); 12] = [
    (8, 4096),
    (16, 4096),
    (32, 4096),
    (64, 4096),
    (96, 4096),
    (128, 4096),
    (192, 4096),
    (256, 8192),
    (512, 16384),
    (1024, 32768),
    (2048, 32768),
    (4096, 32768),
];

/// This cache: a header an object, whole granules, whole pages, and the metadata of each page.
pub(crate) fn cache_bytes(sizes: &[u32]) -> u64 {
    let blocks: u64 = stored(sizes)
        .map(|size| (u64::from(size) + HEADER_BYTES).next_multiple_of(GRANULE_BYTES))
        .sum();
    whole_pages(blocks) + whole_pages(sizes.len() as u64 * METADATA_BYTES)
}

/// A slab allocator: each object in the next larger class, each class in whole slabs, and the same metadata a page.
pub(crate) fn slab_bytes(sizes: &[u32]) -> u64 {
    let mut objects = [0u64; KMALLOC.len()];
    for size in stored(sizes) {
        let class = KMALLOC.partition_point(|(class, _)| *class < size);
        objects[class.min(KMALLOC.len() - 1)] += 1;
    }
    let slabs = KMALLOC
        .iter()
        .zip(objects)
        .map(|((class, slab), count)| count.div_ceil(slab / u64::from(*class)) * slab);
    slabs.sum::<u64>() + whole_pages(sizes.len() as u64 * METADATA_BYTES)
}

fn stored(sizes: &[u32]) -> impl Iterator<Item = u32> {
    sizes.iter().copied().filter(|size| *size > 0)
}

fn whole_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_SIZE as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_filled_pages_take_metadata_alone() {
        assert_eq!(cache_bytes(&[0; 256]), 4096);
        assert_eq!(slab_bytes(&[0; 256]), 4096);
    }

    #[test]
    fn slabs_round_up_to_classes_and_slabs() {
        // 33 objects of class 1024: two slabs of 32.
        assert_eq!(slab_bytes(&[600; 33]), 2 * 32768 + 4096);
        // Exactly a class stays in it.
        assert_eq!(slab_bytes(&[96; 42]), 4096 + 4096);
        assert_eq!(slab_bytes(&[4096]), 32768 + 4096);
    }

    #[test]
    fn blocks_are_whole_granules() {
        // 1020 + 4 = 1024: four to a page.
        assert_eq!(cache_bytes(&[1020; 4]), 2 * 4096);
        assert_eq!(cache_bytes(&[1021; 4]), 3 * 4096);
    }
}
