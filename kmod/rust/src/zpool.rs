//! A pool of objects behind handles, for zswap.

use crate::errno::{self, EINVAL, status};
use crate::lock::KernelLock;
use crate::pages::KernelPages;
use alloc_xv::{Handle, Pool};
use core::mem::MaybeUninit;
use core::slice;

/// zswap holds a lock of its own around most calls, so one arena is enough: 16 GiB, 2^24 objects.
pub type ZPool = Pool<KernelPages, KernelLock, 1>;

/// Bytes of a [`ZPool`], to be aligned to 128.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_zpool_bytes() -> usize {
    size_of::<ZPool>()
}

/// Makes an empty pool in `room`. May sleep.
///
/// # Safety
///
/// `room` is `compcache_zpool_bytes()` writable bytes, aligned to 128, that nobody else uses until
/// `compcache_zpool_drop`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zpool_init(room: *mut ZPool) -> i32 {
    if room.is_null() || !room.is_aligned() {
        return EINVAL;
    }
    // SAFETY: aligned, and the caller's word; nothing is read from it before it is written.
    let place = unsafe { &mut *room.cast::<MaybeUninit<ZPool>>() };
    Pool::new_at(place, KernelPages::new());
    0
}

/// Gives everything back that a pool has taken. May sleep.
///
/// # Safety
///
/// `pool` was made by [`compcache_zpool_init`] and is not used by anybody, now or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zpool_drop(pool: *mut ZPool) {
    // SAFETY: the caller's word.
    unsafe { pool.drop_in_place() }
}

/// Allocates `size` bytes and says their handle, which is not 0.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_zpool_malloc(pool: &ZPool, size: usize, handle: &mut u64) -> i32 {
    match pool.alloc(size) {
        Ok(new) => {
            *handle = new.to_bits();
            0
        }
        Err(error) => errno::of_alloc(error),
    }
}

/// Frees an object.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_zpool_free(pool: &ZPool, handle: u64) -> i32 {
    match Handle::from_bits(handle) {
        Some(handle) => status(pool.free(handle), |()| 0, errno::of_access),
        None => EINVAL,
    }
}

/// Copies an object into `out` and returns its size; nothing if it has more than `room` bytes.
///
/// # Safety
///
/// `out` points to `room` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zpool_read(
    pool: &ZPool,
    handle: u64,
    out: *mut u8,
    room: usize,
) -> i32 {
    let Some(handle) = Handle::from_bits(handle) else {
        return EINVAL;
    };
    // SAFETY: the caller's word.
    let out = unsafe { slice::from_raw_parts_mut(out, room) };
    let reading = match pool.read(handle) {
        Ok(reading) => reading,
        Err(error) => return errno::of_access(error),
    };
    let size = reading.size();
    match out.get_mut(..size) {
        Some(out) => {
            reading.fragments().copy_to(0, out);
            size as i32
        }
        None => EINVAL,
    }
}

/// Copies `bytes` to the start of an object, as many as it has room for.
///
/// # Safety
///
/// `bytes` points to `len` bytes that nobody changes meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_zpool_write(
    pool: &ZPool,
    handle: u64,
    bytes: *const u8,
    len: usize,
) -> i32 {
    let Some(handle) = Handle::from_bits(handle) else {
        return EINVAL;
    };
    // SAFETY: the caller's word.
    let bytes = unsafe { slice::from_raw_parts(bytes, len) };
    let size = match pool.size(handle) {
        Ok(size) => size.min(len),
        Err(error) => return errno::of_access(error),
    };
    let bytes = bytes.get(..size).unwrap_or(bytes);
    status(pool.write(handle, 0, bytes), |()| 0, errno::of_access)
}

/// Memory taken, in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_zpool_total_size(pool: &ZPool) -> u64 {
    pool.stats().used_bytes()
}
