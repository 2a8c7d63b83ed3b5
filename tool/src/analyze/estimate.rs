//! What allocators would take for objects of given sizes, by rule rather than by trial.
//!
//! `compcache bench` measures; this estimates a freshly filled store, within a percent of it and
//! without the few pages that each arena keeps at hand.

use crate::pages::PAGE_SIZE;

/// Arenas of a cache.
const ARENAS: usize = 4;
/// The slots of a cache with as many arenas: they know which page lives where.
type Slots = alloc_xv::Slots<alloc_xv::MmapSource, parking_lot::RawMutex, ARENAS>;
/// Blocks are whole granules.
const GRANULE_BYTES: u64 = 4;
/// The checksum behind each stored page.
const CHECKSUM_BYTES: u64 = 4;
/// What an arena keeps for each page put in, stored or same-filled.
const ENTRY_BYTES: u64 = 8;
/// What an arena keeps for each page of memory that holds blocks.
const PAGE_TABLE_BYTES: u64 = 4;
/// Leaves of an arena's table that one directory page records, 32 bytes each.
const DIRECTORY_LEAVES: u64 = PAGE_SIZE as u64 / 32;
/// What a slab-based store keeps for each page: pointer, size and flags.
const SLAB_SLOT_BYTES: u64 = 16;

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

/// This cache, with checksums: the blocks of each arena in whole pages, and its tables.
pub(crate) fn cache_bytes(sizes: &[u32]) -> u64 {
    let lives_in = |arena: usize| {
        let pages = (0u64..).zip(sizes);
        pages
            .filter(move |(page, _)| Slots::arena_of(*page) == Some(arena))
            .map(|(_, size)| size)
    };
    (0..ARENAS).map(|arena| arena_bytes(lives_in(arena))).sum()
}

fn arena_bytes<'a>(sizes: impl Iterator<Item = &'a u32>) -> u64 {
    let (mut entries, mut blocks) = (0, 0);
    for size in sizes {
        entries += 1;
        if *size > 0 {
            blocks += (u64::from(*size) + CHECKSUM_BYTES + alloc_xv::OVERHEAD as u64)
                .next_multiple_of(GRANULE_BYTES);
        }
    }
    let data_bytes = whole_pages(blocks);
    data_bytes
        + table_bytes(entries * ENTRY_BYTES)
        + table_bytes(data_bytes / PAGE_SIZE as u64 * PAGE_TABLE_BYTES)
}

/// A table of single pages, and the directory pages above it.
fn table_bytes(entries_bytes: u64) -> u64 {
    let leaves = entries_bytes.div_ceil(PAGE_SIZE as u64);
    (leaves + leaves.div_ceil(DIRECTORY_LEAVES)) * PAGE_SIZE as u64
}

/// A slab allocator: each object in the next larger class, each class in whole slabs, and a slot a page; no checksums.
pub(crate) fn slab_bytes(sizes: &[u32]) -> u64 {
    let mut objects = [0u64; KMALLOC.len()];
    for size in sizes.iter().filter(|size| **size > 0) {
        let class = KMALLOC.partition_point(|(class, _)| class < size);
        objects[class.min(KMALLOC.len() - 1)] += 1;
    }
    let slabs = KMALLOC
        .iter()
        .zip(objects)
        .map(|((class, slab), count)| count.div_ceil(slab / u64::from(*class)) * slab);
    slabs.sum::<u64>() + whole_pages(sizes.len() as u64 * SLAB_SLOT_BYTES)
}

fn whole_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_SIZE as u64)
}

#[cfg(test)]
mod tests;
