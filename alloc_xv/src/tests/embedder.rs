//! What kernels and other embedders need: locks that are set up where they lie, and readings whose
//! end knows nothing but the handle.

use super::{pattern, region};
use crate::{AccessError, Pool, RegionSource, Slots};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use lock_api::RawMutex;
use std::boxed::Box;
use std::time::Duration;
use std::vec;

/// A lock that has to be told its number before it is used, and counts how often it was taken.
struct Numbered {
    number: AtomicUsize,
    taken: AtomicUsize,
    locked: AtomicBool,
}

// SAFETY: exclusive by compare-and-exchange on `locked`.
unsafe impl RawMutex for Numbered {
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = Self {
        number: AtomicUsize::new(0),
        taken: AtomicUsize::new(0),
        locked: AtomicBool::new(false),
    };
    type GuardMarker = lock_api::GuardSend;

    fn lock(&self) {
        assert_ne!(self.number.load(Relaxed), 0, "used before it was set up");
        while !self.try_lock() {
            std::thread::yield_now();
        }
        self.taken.fetch_add(1, Relaxed);
    }

    fn try_lock(&self) -> bool {
        self.locked
            .compare_exchange(false, true, SeqCst, SeqCst)
            .is_ok()
    }

    unsafe fn unlock(&self) {
        self.locked.store(false, SeqCst);
    }
}

#[test]
fn locks_are_set_up_once_for_each_arena_and_then_used() {
    let mut slots: Slots<_, Numbered, 4> = Slots::new(region::<4096>(64));
    assert_eq!(slots.raw_locks().len(), 4);
    for (number, lock) in slots.raw_locks().enumerate() {
        lock.number.store(number + 1, Relaxed);
    }
    for key in (0..slots_in_all_arenas()).step_by(8192) {
        slots.store(key, 0, &[b"page"]).unwrap();
    }
    slots.check().unwrap();
    for (number, lock) in slots.raw_locks().enumerate() {
        assert_eq!(lock.number.load(Relaxed), number + 1);
        assert!(lock.taken.load(Relaxed) > 0, "arena {number}");
    }
}

fn slots_in_all_arenas() -> u64 {
    4 * 8192
}

#[test]
fn a_reading_that_was_forgotten_holds_its_object_until_it_is_taken_up() {
    let pool: Pool<_> = Pool::new(region::<4096>(64));
    let bytes = pattern(1, 6000);
    let handle = pool.alloc_from(&bytes).unwrap();
    let other = pool.alloc(100).unwrap();
    core::mem::forget(pool.read(handle).unwrap());

    std::thread::scope(|scope| {
        let writer = scope.spawn(|| pool.write(handle, 0, b"changed"));
        std::thread::sleep(Duration::from_millis(30));
        assert!(!writer.is_finished(), "the object is held");
        // SAFETY: forgotten above, once.
        let reading = unsafe { pool.resume_reading(handle) }.unwrap();
        let mut found = vec![0; 6000];
        assert_eq!(reading.fragments().copy_to(0, &mut found), 6000);
        assert_eq!(found, bytes);
        drop(reading);
        writer.join().unwrap().unwrap();
    });

    // SAFETY: nothing is let go of: nobody holds these.
    unsafe {
        assert_eq!(
            pool.resume_reading(handle).err(),
            Some(AccessError::BadHandle)
        );
        pool.free(other).unwrap();
        assert_eq!(
            pool.resume_reading(other).err(),
            Some(AccessError::BadHandle)
        );
    }
    pool.free(handle).unwrap();
    pool.check().unwrap();
}

#[test]
fn pools_built_in_dirty_memory_are_like_new_ones() {
    type Objects = Pool<RegionSource<4096>, spin::Mutex<()>, 2>;
    type Keys = Slots<RegionSource<4096>, spin::Mutex<()>, 2>;
    let mut place = Box::<Objects>::new_uninit();
    // SAFETY: bytes of a place that holds nothing.
    unsafe { place.as_mut_ptr().cast::<u8>().write_bytes(0xa5, 1) };
    let pool = Objects::new_at(&mut place, region(64));
    let new = Objects::new(region(64));
    assert_eq!(pool.stats(), new.stats());
    let handle = pool.alloc_from(b"page").unwrap();
    assert_eq!(new.free(handle), Err(AccessError::BadHandle));
    pool.free(handle).unwrap();
    pool.check().unwrap();
    // SAFETY: built above, and dropped once.
    unsafe { core::ptr::from_mut(pool).drop_in_place() };

    let mut place = Box::<Keys>::new_uninit();
    // SAFETY: as above.
    unsafe { place.as_mut_ptr().cast::<u8>().write_bytes(0xa5, 1) };
    let slots = Keys::new_at(&mut place, region(64));
    assert_eq!(slots.limit_pages(), usize::MAX);
    slots.store(8192, 1, &[b"page"]).unwrap();
    slots.store(0, 1, &[b"page"]).unwrap();
    slots.check().unwrap();
    assert_eq!(slots.stats().objects, 2);
    // SAFETY: as above.
    unsafe { core::ptr::from_mut(slots).drop_in_place() };
}
