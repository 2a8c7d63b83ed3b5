//! The kernel's spin lock as a lock of `lock_api`.

use crate::shim;
use core::cell::UnsafeCell;
use lock_api::{GuardNoSend, RawMutex};

/// A `spinlock_t`, which is four bytes, zero when free; in a kernel that checks locks the lock inside
/// one. The shim does not compile where it is anything else.
///
/// Who waits spins with preemption off, and so does who holds it: arenas are held for a fraction
/// of a microsecond, or for the move of eight objects by compaction.
pub struct KernelLock(UnsafeCell<u32>);

// SAFETY: only the kernel's functions touch the word, and these are made for that.
unsafe impl Send for KernelLock {}
// SAFETY: as above.
unsafe impl Sync for KernelLock {}

// SAFETY: a spin lock of the kernel excludes all other CPUs, and preemption on its own.
unsafe impl RawMutex for KernelLock {
    const INIT: Self = Self(UnsafeCell::new(0));
    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock(&self) {
        // SAFETY: in place while it is locked, as everything borrowed is.
        unsafe { shim::lock(self.0.get()) }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // SAFETY: as in `lock`.
        unsafe { shim::trylock(self.0.get()) }
    }

    #[inline]
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds it.
        unsafe { shim::unlock(self.0.get()) }
    }
}
