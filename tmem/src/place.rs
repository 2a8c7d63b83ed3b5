//! A tmem built at the place where it will stay.
#![allow(unsafe_code)]

use crate::error::BuildError;
use crate::index::Heads;
use crate::tables::{Inner, Tables};
use crate::tmem::{Config, Tmem, cache_config};
use alloc_xv::{PageSource, Slots};
use compcache::{Cache, Codec, Shared};
use core::mem::MaybeUninit;
use core::ops::Deref;
use lock_api::{Mutex, RawMutex};

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Tmem<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// [`new`](Self::new) at the place where the tmem will stay. It is about 19 KiB with four
    /// arenas; built there it takes no stack, of which kernels have little.
    pub fn new_at(
        place: &mut MaybeUninit<Self>,
        sources: [S; 2],
        codec: C,
        bank: W,
        config: Config,
    ) -> Result<&mut Self, BuildError> {
        let pages = Self::check_config(config)?;
        let [source, index_source] = sources;
        let tmem = place.as_mut_ptr();
        // SAFETY: 1. every pointer is to a field of `place`; 2. all fields are written before the
        // value is used: those are the fields of `new`, and where the cache is refused none is used.
        let tmem = unsafe {
            let cache = &mut *(&raw mut (*tmem).cache).cast();
            Cache::<S, C, W, L, PAGE, ARENAS>::new_at(
                cache,
                source,
                codec,
                bank,
                cache_config(config),
            )?;
            let tables: *mut Tables<S> = &raw mut (*tmem).tables;
            Slots::<S, Inner, 1>::new_at(&mut *(&raw mut (*tables).slots).cast(), index_source);
            (&raw mut (*tmem).heads).write(Mutex::new(Heads::new(pages)));
            (&raw mut (*tmem).hash_key).write(config.hash_key);
            place.assume_init_mut()
        };
        tmem.set_mem_limit(config.mem_limit);
        Ok(tmem)
    }
}
