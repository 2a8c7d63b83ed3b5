//! The allocators that `alloc_xv` is compared with.
//!
//! | name        | what it is                                               | objects move |
//! |-------------|----------------------------------------------------------|--------------|
//! | `slab`      | the kernel's kmalloc on SLUB                             | no           |
//! | `buddy`     | binary buddy, 32 bytes to a page                         | no           |
//! | `first_fit` | boundary tags and one free list, as in Xen's old xmalloc | no           |
//! | `xvmalloc`  | segregated fit inside single pages                       | no           |
//! | `zsmalloc`  | size classes over chains of up to 8 pages, with handles  | compaction   |
//! | `tlsf`      | the crate `rlsf` over one contiguous region              | no           |
//! | `malloc`    | the process's own                                        | no           |
//!
//! All work on real memory. What counts as data, metadata and reference is said at
//! [`Footprint`](crate::engine::Footprint) and holds for all of them; the first five take
//! their pages from one and the same source. Unsafe code is in three files: `memory`, `tlsf`
//! and `malloc`.

mod addressed;
mod buddy;
mod first_fit;
mod lists;
#[cfg(target_env = "gnu")]
mod malloc;
mod memory;
mod pages;
mod slab;
mod slots;
#[cfg(test)]
mod suite;
mod tlsf;
mod xvmalloc;
mod zsmalloc;

use crate::engine::Engine;

/// One empty engine of each kind, in the order of the table. `malloc` is there with glibc
/// only, whose accounting it reads.
///
/// Memory is taken as objects come, so an engine that is not used costs nothing. Run one engine
/// at a time: `malloc` shares its heap with everything else in the process.
///
/// ```
/// for mut engine in compcache_bench::comparison_engines() {
///     engine.alloc(0, 1000)?;
///     engine.write(0, &[7; 1000])?;
///     assert!(engine.footprint().total_bytes() >= 1000);
///     engine.free(0)?;
/// }
/// # Ok::<(), compcache_bench::engine::EngineError>(())
/// ```
pub fn comparison_engines() -> Vec<Box<dyn Engine>> {
    vec![
        Box::new(slab::Slab::new()),
        Box::new(buddy::Buddy::new()),
        Box::new(first_fit::FirstFit::new()),
        Box::new(xvmalloc::XvMalloc::new()),
        Box::new(zsmalloc::Zsmalloc::new()),
        Box::new(tlsf::TlsfRegion::new()),
        #[cfg(target_env = "gnu")]
        Box::new(malloc::Malloc::new()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_results() {
        let names: Vec<_> = comparison_engines().iter().map(|e| e.name()).collect();
        let expected = [
            "slab",
            "buddy",
            "first_fit",
            "xvmalloc",
            "zsmalloc",
            "tlsf",
            "malloc",
        ];
        assert_eq!(names[..6], expected[..6]);
    }
}
