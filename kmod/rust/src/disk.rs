//! The page cache of one block device, as the shim calls it.

use crate::bank::Bank;
use crate::errno::{self, EINVAL, status};
use crate::lock::KernelLock;
use crate::pages::{KernelPages, PAGE};
use compcache::{Cache, Config, Lz4};
use core::mem::MaybeUninit;
use core::slice;

/// Independent pools of a device. Each holds up to 16 GiB of compressed pages and 2^24 of the
/// device's.
const ARENAS: usize = 4;

/// What C knows by its address only.
pub type Disk = Cache<KernelPages, Lz4, Bank, KernelLock, PAGE, ARENAS>;

/// `struct compcache_stats` of `compcache.h`. Sizes in bytes.
#[repr(C)]
pub struct Stats {
    orig_data_size: u64,
    compr_data_size: u64,
    mem_used_total: u64,
    mem_limit: u64,
    mem_used_max: u64,
    same_pages: u64,
    pages_compacted: u64,
    huge_pages: u64,
    huge_pages_since: u64,
    failed_reads: u64,
    failed_writes: u64,
    invalid_io: u64,
    notify_free: u64,
    reads: u64,
    writes: u64,
    blocks: u64,
    metadata: u64,
}

/// Bytes of a [`Disk`], to be aligned to 128.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_disk_bytes() -> usize {
    size_of::<Disk>()
}

/// Makes an empty device of `pages` pages in `room`. May sleep.
///
/// # Safety
///
/// `room` is `compcache_disk_bytes()` writable bytes, aligned to 128, that nobody else uses until
/// `compcache_disk_drop`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_disk_init(room: *mut Disk, pages: u64, mem_limit: u64) -> i32 {
    if room.is_null() || !room.is_aligned() {
        return EINVAL;
    }
    // SAFETY: aligned, and the caller's word; nothing is read from it before it is written.
    let place = unsafe { &mut *room.cast::<MaybeUninit<Disk>>() };
    let config = Config {
        mem_limit,
        ..Config::new(pages)
    };
    match Disk::new_at(place, KernelPages::new(), Lz4, Bank, config) {
        Ok(disk) => {
            // The shim has a worker that packs.
            disk.set_inline_moves(0);
            0
        }
        Err(error) => errno::of_build(error),
    }
}

/// Gives everything back that a device has taken. May sleep.
///
/// # Safety
///
/// `disk` was made by [`compcache_disk_init`] and is not used by anybody, now or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_disk_drop(disk: *mut Disk) {
    // SAFETY: the caller's word.
    unsafe { disk.drop_in_place() }
}

/// Stores a page.
///
/// # Safety
///
/// `page` points to 4096 bytes that nobody changes meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_disk_put(disk: &Disk, index: u64, page: &[u8; PAGE]) -> i32 {
    status(disk.put(index, page), |()| 0, errno::of_page)
}

/// Reads a page: 1 if one was stored, 0 (and zeroes) if none was.
///
/// # Safety
///
/// `page` points to 4096 writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_disk_get(disk: &Disk, index: u64, page: &mut [u8; PAGE]) -> i32 {
    status(disk.get(index, page), i32::from, errno::of_page)
}

/// Writes whole sectors of a page.
///
/// # Safety
///
/// `bytes` points to `len` bytes that nobody changes meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_disk_write(
    disk: &Disk,
    index: u64,
    offset: usize,
    bytes: *const u8,
    len: usize,
) -> i32 {
    // SAFETY: the caller's word.
    let bytes = unsafe { slice::from_raw_parts(bytes, len) };
    status(disk.write(index, offset, bytes), |()| 0, errno::of_page)
}

/// Reads whole sectors of a page.
///
/// # Safety
///
/// `out` points to `len` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_disk_read(
    disk: &Disk,
    index: u64,
    offset: usize,
    out: *mut u8,
    len: usize,
) -> i32 {
    // SAFETY: the caller's word.
    let out = unsafe { slice::from_raw_parts_mut(out, len) };
    status(disk.read(index, offset, out), |()| 0, errno::of_page)
}

/// Forgets a page: 1 if one was stored.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_disk_discard(disk: &Disk, index: u64) -> i32 {
    status(disk.discard(index), i32::from, errno::of_page)
}

/// Packs everything; returns how many pages that gave. May sleep.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_disk_compact(disk: &Disk) -> u64 {
    disk.compact(u64::MAX).pages
}

/// Packs what is below its target fill. May sleep.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_disk_compact_to_target(disk: &Disk) {
    disk.compact_to_target();
}

/// Marks all pages as idle, until they are used. May sleep.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_disk_mark_idle(disk: &Disk) -> u64 {
    // Every index is the device's.
    u64::from(disk.mark_idle(None).is_ok())
}

/// Pages that are still marked. May sleep.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_disk_idle_pages(disk: &Disk) -> u64 {
    disk.idle_pages()
}

/// Limits the memory taken; 0 for no limit.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_disk_set_mem_limit(disk: &Disk, bytes: u64) {
    disk.set_mem_limit(bytes);
}

/// `mem_used_max` starts again.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_disk_reset_mem_used_max(disk: &Disk) {
    disk.reset_mem_used_max();
}

/// Says what is stored and was done.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_disk_stats(disk: &Disk, stats: &mut Stats) {
    let (mm, io, memory) = (disk.mm_stat(), disk.io_stat(), disk.memory());
    *stats = Stats {
        orig_data_size: mm.orig_data_size,
        compr_data_size: mm.compr_data_size,
        mem_used_total: mm.mem_used_total,
        mem_limit: mm.mem_limit,
        mem_used_max: mm.mem_used_max,
        same_pages: mm.same_pages,
        pages_compacted: mm.pages_compacted,
        huge_pages: mm.huge_pages,
        huge_pages_since: mm.huge_pages_since,
        failed_reads: io.failed_reads,
        failed_writes: io.failed_writes,
        invalid_io: io.invalid_io,
        notify_free: io.notify_free,
        reads: io.reads,
        writes: io.writes,
        blocks: memory.blocks,
        metadata: memory.metadata,
    };
}
