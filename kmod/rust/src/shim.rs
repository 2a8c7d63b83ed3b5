//! What the C shim offers, behind safe functions.

use core::ffi::c_char;

mod c {
    use core::ffi::c_char;

    unsafe extern "C" {
        pub(super) fn compcache_shim_page_take() -> u64;
        pub(super) fn compcache_shim_page_give(pfn: u64);
        pub(super) fn compcache_shim_lock(lock: *mut u32);
        pub(super) fn compcache_shim_trylock(lock: *mut u32) -> bool;
        pub(super) fn compcache_shim_unlock(lock: *mut u32);
        pub(super) fn compcache_shim_bug(file: *const c_char, len: u32, line: u32);
    }
}

/// A page's frame number, without sleeping; 0 for none.
#[inline]
pub(crate) fn page_take() -> u64 {
    // SAFETY: no preconditions.
    unsafe { c::compcache_shim_page_take() }
}

/// Gives a page back to the kernel.
///
/// # Safety
///
/// It was taken by [`page_take`], was not given back since, and nobody refers to it.
#[inline]
pub(crate) unsafe fn page_give(pfn: u64) {
    // SAFETY: the caller's word.
    unsafe { c::compcache_shim_page_give(pfn) }
}

/// Locks a `spinlock_t`.
///
/// # Safety
///
/// `lock` points to a lock that stays where it is, unlocked or held by somebody who will let go.
#[inline]
pub(crate) unsafe fn lock(lock: *mut u32) {
    // SAFETY: the caller's word.
    unsafe { c::compcache_shim_lock(lock) }
}

/// Locks a `spinlock_t` if nobody has it.
///
/// # Safety
///
/// That of [`lock`].
#[inline]
pub(crate) unsafe fn trylock(lock: *mut u32) -> bool {
    // SAFETY: the caller's word.
    unsafe { c::compcache_shim_trylock(lock) }
}

/// Unlocks a `spinlock_t`.
///
/// # Safety
///
/// This thread holds it.
#[inline]
pub(crate) unsafe fn unlock(lock: *mut u32) {
    // SAFETY: the caller's word.
    unsafe { c::compcache_shim_unlock(lock) }
}

/// Says where, and ends in `BUG()`.
#[cold]
pub(crate) fn bug(file: &str, line: u32) -> ! {
    let start = file.as_ptr().cast::<c_char>();
    // SAFETY: `file` is as many readable bytes.
    unsafe { c::compcache_shim_bug(start, file.len() as u32, line) };
    // It does not come back; objtool wants to see code behind the call.
    loop {
        core::hint::spin_loop();
    }
}
