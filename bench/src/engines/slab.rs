//! Slab: the kernel's `kmalloc` on SLUB.
//!
//! | class             | 8   | 16  | 32  | 64 | 96 | 128 | 192 | 256 | 512 | 1024 | 2048 | 4096 | 8192 |
//! |-------------------|----:|----:|----:|---:|---:|----:|----:|----:|----:|-----:|-----:|-----:|-----:|
//! | pages in a slab   | 1   | 1   | 1   | 1  | 1  | 1   | 1   | 1   | 2   | 4    | 8    | 8    | 8    |
//! | objects in a slab | 512 | 256 | 128 | 64 | 42 | 32  | 21  | 16  | 16  | 16   | 16   | 8    | 4    |
//! | `min_partial`     | 5   | 5   | 5   | 5  | 5  | 5   | 5   | 5   | 5   | 5    | 5    | 6    | 6    |
//!
//! Sources: the kernel's slab documentation, and `/sys/kernel/slab/kmalloc-*` of a Linux 6.18
//! machine with 2 CPUs, whose `order`, `objs_per_slab` and `min_partial` are this table. How
//! the order follows from the size is told at [`cache::slab_order`].
//!
//! Left out is what only moves slabs between CPUs: there is one CPU, with one active slab for
//! each class and no list of partial slabs of its own. Metadata is the 13 caches with
//! their per-node and per-CPU parts.
#![deny(unsafe_code)]

pub(crate) mod cache;
#[cfg(test)]
mod tests;

use self::cache::{Cache, SlabInfo};
use super::addressed::{Addressed, Placement};
use super::memory::{Table, whole_pages};
use super::pages::{Address, PAGES_MAX, Pages};
use crate::engine::EngineError;

/// Object sizes of the kmalloc caches up to two pages.
pub(crate) const CLASS_SIZES: [usize; 13] = [
    8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192,
];

/// `kmem_cache` 232, `kmem_cache_node` 72 and `kmem_cache_cpu` 32 bytes on Linux 6.18.
const CACHE_STRUCT_BYTES: u64 = 232 + 72 + 32;

/// The engine.
pub(crate) type Slab = Addressed<Kmalloc>;

/// The kmalloc caches.
#[derive(Debug)]
pub(crate) struct Kmalloc {
    caches: [Cache; CLASS_SIZES.len()],
    slabs: Table<SlabInfo>,
}

impl Default for Kmalloc {
    fn default() -> Self {
        Self {
            caches: CLASS_SIZES.map(Cache::new),
            slabs: Table::new(PAGES_MAX),
        }
    }
}

/// Number of the smallest class that holds `size`.
fn class_index(size: usize) -> usize {
    CLASS_SIZES.partition_point(|&class| class < size)
}

impl Placement for Kmalloc {
    const NAME: &'static str = "slab";
    const SIZE_MAX: usize = CLASS_SIZES[CLASS_SIZES.len() - 1];

    fn place(&mut self, pages: &mut Pages, size: usize) -> Result<Address, EngineError> {
        self.caches[class_index(size)].alloc(pages, &mut self.slabs)
    }

    fn release(&mut self, pages: &mut Pages, at: Address, size: usize) {
        self.caches[class_index(size)].free(pages, &mut self.slabs, at);
    }

    fn metadata_bytes(&self) -> u64 {
        whole_pages(CLASS_SIZES.len() as u64 * CACHE_STRUCT_BYTES)
    }
}
