//! The cache as a kernel or a boot loader has it: no `std`, no `alloc`, no global allocator. Pages
//! come from a piece of memory, cache and workspaces are `static`. See `compcache.h` for the C
//! side, and `check.sh` for what is checked.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

use compcache::{Cache, Config, Error, Lz4, Lz4Workspace, RegionSource, Shared};
use core::slice;
use spin::Once;

const PAGE: usize = 4096;

type Workspace = Shared<Lz4, PAGE>;
type Pages = Cache<RegionSource<PAGE>, Lz4, &'static [Workspace], spin::Mutex<()>, PAGE, 1>;

static WORKSPACES: [Workspace; 2] = [const { Shared::new(Lz4Workspace::small()) }; 2];
static CACHE: Once<Pages> = Once::new();

const OK: i32 = 0;
const ABSENT: i32 = 1;
const INVALID: i32 = -1;
const NO_SPACE: i32 = -2;
const CORRUPT: i32 = -3;

/// What `compcache_stats` writes.
#[repr(C)]
pub struct Stats {
    orig_data_size: u64,
    compr_data_size: u64,
    mem_used_total: u64,
    same_pages: u64,
    huge_pages: u64,
}

fn status(error: Error) -> i32 {
    match error {
        Error::NoSpace(_) => NO_SPACE,
        Error::Corrupt { .. } => CORRUPT,
        _ => INVALID,
    }
}

/// Makes the cache, once.
///
/// # Safety
///
/// `memory` is `bytes` bytes that nobody else uses from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_init(memory: *mut u8, bytes: usize, pages: u64) -> i32 {
    if memory.is_null() || CACHE.is_completed() {
        return INVALID;
    }
    // SAFETY: not null; the caller gives the memory away for ever.
    let region = unsafe { slice::from_raw_parts_mut(memory, bytes) };
    let Ok(source) = RegionSource::new(region) else {
        return NO_SPACE;
    };
    match Cache::new(source, Lz4, &WORKSPACES[..], Config::new(pages)) {
        Ok(cache) => {
            CACHE.call_once(|| cache);
            OK
        }
        Err(_) => INVALID,
    }
}

/// Stores a page.
///
/// # Safety
///
/// `page` is null or 4096 readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_put(index: u64, page: *const [u8; PAGE]) -> i32 {
    // SAFETY: the caller's word.
    let (Some(cache), Some(page)) = (CACHE.get(), unsafe { page.as_ref() }) else {
        return INVALID;
    };
    cache.put(index, page).map_or_else(status, |()| OK)
}

/// Reads a page.
///
/// # Safety
///
/// `page` is null or 4096 writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_get(index: u64, page: *mut [u8; PAGE]) -> i32 {
    // SAFETY: the caller's word.
    let (Some(cache), Some(page)) = (CACHE.get(), unsafe { page.as_mut() }) else {
        return INVALID;
    };
    let found = |stored| if stored { OK } else { ABSENT };
    cache.get(index, page).map_or_else(status, found)
}

/// Writes a part of a page.
///
/// # Safety
///
/// `bytes` is null or `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_write(
    index: u64,
    offset: usize,
    bytes: *const u8,
    len: usize,
) -> i32 {
    let Some(cache) = CACHE.get().filter(|_| !bytes.is_null()) else {
        return INVALID;
    };
    // SAFETY: not null, and the caller's word.
    let bytes = unsafe { slice::from_raw_parts(bytes, len) };
    cache
        .write(index, offset, bytes)
        .map_or_else(status, |()| OK)
}

/// Forgets a page.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_discard(index: u64) -> i32 {
    let Some(cache) = CACHE.get() else {
        return INVALID;
    };
    let found = |stored| if stored { OK } else { ABSENT };
    cache.discard(index).map_or_else(status, found)
}

/// Packs the stored pages; returns how many pages of memory that gave.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_compact() -> u64 {
    CACHE.get().map_or(0, |cache| cache.compact(u64::MAX).pages)
}

/// Says how much is stored.
///
/// # Safety
///
/// `stats` is null or points to a writable [`Stats`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_stats(stats: *mut Stats) -> i32 {
    // SAFETY: the caller's word.
    let (Some(cache), Some(stats)) = (CACHE.get(), unsafe { stats.as_mut() }) else {
        return INVALID;
    };
    let stat = cache.mm_stat();
    *stats = Stats {
        orig_data_size: stat.orig_data_size,
        compr_data_size: stat.compr_data_size,
        mem_used_total: stat.mem_used_total,
        same_pages: stat.same_pages,
        huge_pages: stat.huge_pages,
    };
    OK
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
