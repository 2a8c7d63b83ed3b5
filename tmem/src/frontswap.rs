//! An adapter in the shape of Linux frontswap: pages that are swapped out, which must not vanish.
//!
//! | frontswap | here |
//! |---|---|
//! | `init(type)` | nothing to do |
//! | `store(type, offset, page)` | [`store`](Frontswap::store): an error sends the page to the swap device |
//! | `load(type, offset, page)` | [`load`](Frontswap::load) |
//! | `invalidate_page`, `invalidate_area` | the same |
//!
//! A tenant has one persistent pool; each of its swap areas is an object of it. A store that fails
//! removes what was stored there before: the page on the swap device is the newer one then.

use crate::error::Error;
use crate::key::{ObjectId, PoolId, PoolOptions};
use crate::tmem::Tmem;
use alloc_xv::PageSource;
use compcache::{Codec, Shared};
use core::ops::Deref;
use lock_api::RawMutex;

/// Frontswap's operations on a pool of a [`Tmem`]. Dropping it leaves the pool as it is; see
/// [`close`](Self::close).
pub struct Frontswap<'t, S, C, W, L, const PAGE: usize, const ARENAS: usize>
where
    S: PageSource,
    C: Codec,
    L: RawMutex,
{
    tmem: &'t Tmem<S, C, W, L, PAGE, ARENAS>,
    pool: PoolId,
}

impl<'t, S, C, W, L, const PAGE: usize, const ARENAS: usize> Frontswap<'t, S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// The adapter of one tenant, with a pool of up to `limit_pages` pages (0 for no limit).
    pub fn new(tmem: &'t Tmem<S, C, W, L, PAGE, ARENAS>, limit_pages: u32) -> Result<Self, Error> {
        let pool = tmem.new_pool(PoolOptions::PERSISTENT.with_limit(limit_pages))?;
        Ok(Self { tmem, pool })
    }

    /// Its pool, for statistics.
    pub const fn pool(&self) -> PoolId {
        self.pool
    }

    fn area(area: u32) -> ObjectId {
        ObjectId::from(u64::from(area))
    }

    /// Keeps a page that is swapped out. On failure it has to go to the swap device.
    pub fn store(&self, area: u32, offset: u32, page: &[u8; PAGE]) -> Result<(), Error> {
        self.tmem.put(self.pool, Self::area(area), offset, page)
    }

    /// Reads a page back; it stays. False if it is not here, but on the swap device.
    /// [`Error::Damaged`] if it was here: what the swap device has is older.
    pub fn load(&self, area: u32, offset: u32, page: &mut [u8; PAGE]) -> Result<bool, Error> {
        self.tmem.get(self.pool, Self::area(area), offset, page)
    }

    /// A page of a swap area is free.
    pub fn invalidate_page(&self, area: u32, offset: u32) {
        // Fails only if the pool is gone, and the page with it.
        let _ = self.tmem.flush_page(self.pool, Self::area(area), offset);
    }

    /// A swap area is taken off.
    pub fn invalidate_area(&self, area: u32) {
        let _ = self.tmem.flush_object(self.pool, Self::area(area));
    }

    /// The tenant is gone, and its pages.
    pub fn close(self) {
        let _ = self.tmem.destroy_pool(self.pool);
    }
}
