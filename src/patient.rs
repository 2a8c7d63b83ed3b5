//! [`PatientMutex`]: who waits spins for some microseconds before it sleeps.

use core::hint::spin_loop;
use lock_api::RawMutex as _;
use parking_lot::RawMutex;

/// How often a waiter looks: some microseconds. An arena is held for less, also by who packs it, and
/// to sleep and be woken takes 15 to 50 µs.
const LOOKS: u32 = 100;

/// `parking_lot`'s mutex, with more patience: what a [`StdCache`](crate::StdCache) locks its arenas with.
pub struct PatientMutex(RawMutex);

impl PatientMutex {
    #[cold]
    fn wait(&self) {
        for _ in 0..LOOKS {
            spin_loop();
            if !self.0.is_locked() && self.0.try_lock() {
                return;
            }
        }
        self.0.lock();
    }
}

// SAFETY: every lock and unlock is one of the inner mutex, which keeps the contract.
#[expect(unsafe_code, reason = "the trait is unsafe to implement")]
unsafe impl lock_api::RawMutex for PatientMutex {
    const INIT: Self = Self(RawMutex::INIT);

    type GuardMarker = <RawMutex as lock_api::RawMutex>::GuardMarker;

    #[inline]
    fn lock(&self) {
        if !self.0.try_lock() {
            self.wait();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.0.try_lock()
    }

    #[inline]
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds it.
        unsafe { self.0.unlock() };
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.0.is_locked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lock_api::Mutex;

    #[test]
    fn one_at_a_time_whether_it_spins_or_sleeps() {
        let counter: Mutex<PatientMutex, u64> = Mutex::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let counter = &counter;
                scope.spawn(move || {
                    for round in 0..500u64 {
                        let mut held = counter.lock();
                        let before = *held;
                        if round % 50 == thread {
                            // Longer than anybody spins.
                            std::thread::sleep(std::time::Duration::from_micros(200));
                        }
                        *held = before + 1;
                    }
                });
            }
        });
        assert_eq!(*counter.lock(), 2000);
        let held = counter.lock();
        assert!(counter.is_locked() && counter.try_lock().is_none());
        drop(held);
        assert!(counter.try_lock().is_some());
    }
}
