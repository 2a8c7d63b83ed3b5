//! Pools: which there are, and how one goes.

use super::{Index, Removed};
use crate::error::Error;
use crate::key::{GENERATION_MAX, POOLS_MAX, PoolId, PoolOptions};
use crate::record::{Ends, NONE, POOL_LEN, Pool};
use crate::tables::POOLS;
use alloc_xv::PageSource;

impl<S: PageSource> Index<'_, S> {
    pub(super) fn pool_at(&self, place: u32) -> Pool {
        Pool::from_bytes(&self.tables.read::<POOL_LEN>(POOLS.key(place), 0))
    }

    pub(super) fn set_pool_at(&self, place: u32, pool: &Pool) {
        self.tables.write(POOLS.key(place), 0, &pool.to_bytes());
    }

    pub(crate) fn change_pool(&self, place: u32, change: impl FnOnce(&mut Pool)) {
        let mut pool = self.pool_at(place);
        change(&mut pool);
        self.set_pool_at(place, &pool);
    }

    /// A pool that is there.
    pub(crate) fn pool(&self, id: PoolId) -> Result<Pool, Error> {
        let bad = Error::BadPool { pool: id };
        if id.slot() >= self.heads.places || self.tables.value(POOLS.key(id.slot())).is_some() {
            return Err(bad);
        }
        let pool = self.pool_at(id.slot());
        if pool.dying || pool.generation != id.generation() {
            return Err(bad);
        }
        Ok(pool)
    }

    pub(crate) fn new_pool(&mut self, options: PoolOptions) -> Result<PoolId, Error> {
        if let Some(shared) = options.shared
            && let Some((place, mut pool)) = self.shared_pool(shared)
        {
            if pool.lifetime != options.lifetime {
                return Err(Error::LifetimeMismatch);
            }
            pool.clients = pool.clients.saturating_add(1);
            self.set_pool_at(place, &pool);
            return Ok(PoolId::new(place, pool.generation));
        }
        let free = (0..self.heads.places).find_map(|place| {
            let generation = self.tables.value(POOLS.key(place))?;
            let generation = u32::try_from(generation).ok()?;
            (generation <= GENERATION_MAX).then_some((place, generation))
        });
        let (place, generation) = match free {
            Some(free) => free,
            None if self.heads.places < POOLS_MAX => (self.heads.places, 1),
            None => return Err(Error::TooManyPools { max: POOLS_MAX }),
        };
        let pool = Pool {
            generation,
            lifetime: options.lifetime,
            shared: options.shared,
            dying: false,
            clients: 1,
            limit: options.limit_pages,
            pages: 0,
            pages_max: 0,
            objects: 0,
            ends: Ends::EMPTY,
            counts: Default::default(),
        };
        self.tables
            .create(POOLS.key(place), POOL_LEN, &pool.to_bytes())
            .map_err(Error::NoSpace)?;
        self.heads.places = self.heads.places.max(place + 1);
        self.heads.pools += 1;
        Ok(PoolId::new(place, generation))
    }

    fn shared_pool(&self, shared: u128) -> Option<(u32, Pool)> {
        (0..self.heads.places).find_map(|place| {
            if self.tables.value(POOLS.key(place)).is_some() {
                return None;
            }
            let pool = self.pool_at(place);
            (pool.shared == Some(shared) && !pool.dying).then_some((place, pool))
        })
    }

    /// A client leaves. True if it was the last: no key leads to the pool's pages any more, and
    /// the caller takes them apart.
    pub(crate) fn leave_pool(&mut self, id: PoolId) -> Result<bool, Error> {
        let mut pool = self.pool(id)?;
        pool.clients = pool.clients.saturating_sub(1);
        pool.dying = pool.clients == 0;
        if pool.dying {
            self.heads.stored -= pool.pages;
        }
        self.set_pool_at(id.slot(), &pool);
        Ok(pool.dying)
    }

    /// Takes some pages of a dying pool out of the index; true if it had no more, and is gone.
    pub(crate) fn take_pool_apart(&mut self, place: u32, removed: &mut Removed) -> bool {
        while removed.has_room() {
            let first = self.pool_at(place).ends.first;
            if first == NONE {
                break;
            }
            self.remove_page(first, removed);
        }
        self.trim();
        let pool = self.pool_at(place);
        // An object that is being flushed has a look at its pool when it is done.
        if pool.ends.first != NONE || pool.objects != 0 {
            return false;
        }
        let next = u64::from(pool.generation) + 1;
        self.tables.replace_by_value(POOLS.key(place), next);
        self.heads.pools -= 1;
        true
    }
}
