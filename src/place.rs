//! A cache built at the place where it will stay.
#![allow(unsafe_code)]

use crate::cache::{COUNTERS, Cache, Config};
use crate::counters::Counters;
use crate::error::BuildError;
use crate::tiers::TierCounters;
use crate::workspace::Shared;
use alloc_xv::{PageSource, Slots};
use compress::Codec;
use core::mem::MaybeUninit;
use core::ops::Deref;
use crossbeam_utils::CachePadded;
use lock_api::RawMutex;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// [`new`](Self::new) at the place where the cache will stay. A cache is about 15 KiB with four
    /// arenas; built there it takes no stack, of which kernels have little.
    pub fn new_at(
        place: &mut MaybeUninit<Self>,
        source: S,
        codec: C,
        bank: W,
        config: Config,
    ) -> Result<&mut Self, BuildError> {
        Self::check_new(&bank, config)?;
        let cache = place.as_mut_ptr();
        // SAFETY: 1. every pointer is to a field of `place`; 2. all fields are written before the
        // value is used: those are the fields of `new`.
        let cache = unsafe {
            Slots::<S, L, ARENAS>::new_at(&mut *(&raw mut (*cache).slots).cast(), source);
            (&raw mut (*cache).put_max).write(Self::put_max(&codec));
            (&raw mut (*cache).codec).write(codec);
            (&raw mut (*cache).bank).write(bank);
            (&raw mut (*cache).config).write(config);
            (&raw mut (*cache).counters)
                .write([const { CachePadded::new(Counters::new()) }; COUNTERS]);
            (&raw mut (*cache).layout).write(Self::layout(config));
            (&raw mut (*cache).tiers).write(CachePadded::new(TierCounters::new()));
            place.assume_init_mut()
        };
        cache.set_mem_limit(config.mem_limit);
        Ok(cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc_xv::RegionSource;
    use compress::{Lz4, Lz4Workspace};
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    type Small = Cache<RegionSource<4096>, Lz4, Vec<Shared<Lz4, 4096>>, spin::Mutex<()>, 4096, 4>;

    fn source() -> RegionSource<4096> {
        RegionSource::new(Vec::leak(vec![0; 64 * 4096])).unwrap()
    }

    fn bank() -> Vec<Shared<Lz4, 4096>> {
        vec![Shared::new(Lz4Workspace::small())]
    }

    #[test]
    fn a_cache_built_in_dirty_memory_is_like_a_new_one() {
        let mut place = Box::<Small>::new_uninit();
        // SAFETY: bytes of a place that holds nothing.
        unsafe {
            place
                .as_mut_ptr()
                .cast::<u8>()
                .write_bytes(0xa5, size_of::<Small>())
        };
        let mut config = Config::new(40);
        config.mem_limit = 60 * 4096;
        let cache = Small::new_at(&mut place, source(), Lz4, bank(), config).unwrap();
        let new = Small::new(source(), Lz4, bank(), config).unwrap();
        assert_eq!(cache.mm_stat(), new.mm_stat());
        assert_eq!(cache.io_stat(), new.io_stat());
        for number in 0..40u64 {
            let mut page = [0; 4096];
            page[..8].copy_from_slice(&(number | 1 << 60).to_le_bytes());
            cache.put(number, &page).unwrap();
            new.put(number, &page).unwrap();
        }
        cache.discard(3).unwrap();
        new.discard(3).unwrap();
        cache.check().unwrap();
        assert_eq!(cache.mm_stat(), new.mm_stat());
        assert_eq!(cache.io_stat(), new.io_stat());
        // SAFETY: built above, and dropped once: every page goes back.
        unsafe { core::ptr::from_mut(cache).drop_in_place() };
    }

    #[test]
    fn what_new_refuses_is_refused_in_place() {
        let mut place = Box::<Small>::new_uninit();
        let none = Small::new_at(&mut place, source(), Lz4, vec![], Config::new(1));
        assert_eq!(none.err(), Some(BuildError::NoWorkspace));
        let empty = Small::new_at(&mut place, source(), Lz4, bank(), Config::new(0));
        assert!(matches!(empty.err(), Some(BuildError::BadSize { .. })));
    }
}
