//! `alloc_page` and `__free_page` as a page source.

use crate::shim;
use alloc_xv::{FrameId, OutOfPages, PageSource};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a page; the shim does not compile where the kernel's are others.
pub(crate) const PAGE: usize = 4096;

/// Where the direct map begins: address of frame 0. The kernel chooses it when it boots.
static DIRECT_MAP: AtomicUsize = AtomicUsize::new(0);

/// Single pages of the kernel, named by their frame numbers. They lie in the direct map, so an
/// address is a sum.
pub struct KernelPages(());

impl KernelPages {
    /// The kernel's pages, to be used after [`compcache_pages_init`].
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

/// Says where the pages of the kernel appear. Once, while the module is initialised.
///
/// # Safety
///
/// The page with frame number `n`, while it is allocated, is at `direct_map + n * 4096`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pages_init(direct_map: usize) {
    DIRECT_MAP.store(direct_map, Ordering::Relaxed);
}

// SAFETY: 1. a page that the kernel has allocated belongs to who asked, 4096 bytes aligned to as
// many, and `compcache_pages_init`'s caller vouches for its address; 2. the direct map does not change; 3. 4096;
// 4. and 5. no windows.
unsafe impl PageSource for KernelPages {
    const PAGE_SIZE: usize = PAGE;

    #[inline]
    fn take(&self, _wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        let pfn = shim::page_take();
        if pfn == 0 {
            return Err(OutOfPages);
        }
        match u32::try_from(pfn).ok().and_then(FrameId::new) {
            Some(frame) => Ok(frame),
            None => {
                // Memory above 4 TiB cannot be named.
                // SAFETY: just taken, and nobody knows of it.
                unsafe { shim::page_give(pfn) };
                Err(OutOfPages)
            }
        }
    }

    #[inline]
    unsafe fn give_back(&self, frame: FrameId) {
        // SAFETY: the caller's word.
        unsafe { shim::page_give(u64::from(frame.number())) }
    }

    #[inline]
    fn address(&self, frame: FrameId) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(
            DIRECT_MAP
                .load(Ordering::Relaxed)
                .wrapping_add(frame.number() as usize * PAGE),
        )
    }
}
