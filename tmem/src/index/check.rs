//! Whether lists, tables and counts agree.

use super::hashed::{ObjectRecords, PageRecords};
use super::{BY_POOL, BY_USE, Index, List};
use crate::key::Lifetime;
use crate::record::{Ends, Link, NONE, Page};
use crate::tables::POOLS;
use alloc_xv::PageSource;

impl<S: PageSource> Index<'_, S> {
    /// Checks every list and table: for tests.
    pub(crate) fn check(&self, stored: &impl Fn(u32) -> bool) -> Result<(), &'static str> {
        self.tables.slots.check()?;
        let heads = &*self.heads;
        let pages = PageRecords(self.tables, &heads.pages, self.hash_key);
        heads.page_hash.check(self.tables, &pages)?;
        let objects = ObjectRecords(self.tables, &heads.objects, self.hash_key);
        heads.object_hash.check(self.tables, &objects)?;
        let (mut listed, mut ephemeral, mut objects, mut pools) = (0, 0, 0, 0);
        for place in 0..heads.places {
            if self.tables.value(POOLS.key(place)).is_some() {
                continue;
            }
            let pool = self.pool_at(place);
            pools += 1;
            objects += pool.objects;
            let count = self.check_list(pool.ends, BY_POOL, pool.pages, |id, page| {
                let object = self.object(page.link(Link::Object));
                let found = self.find(place, &object.id, page.index);
                object.pool == place && found == Some(id) && stored(id)
            })?;
            if count != pool.pages {
                return Err("a pool's list and its count differ");
            }
            listed += count;
            if pool.lifetime == Lifetime::Ephemeral {
                ephemeral += count;
            }
        }
        let all = self.check_list(heads.all, BY_USE, heads.ephemeral, |_, _| true)?;
        if all != ephemeral || all != heads.ephemeral {
            return Err("the list of all ephemeral pages is not that of the pools");
        }
        if listed != heads.stored || listed != heads.page_hash.entries {
            return Err("pools have more or less pages than there are keys");
        }
        if listed != heads.pages.live {
            return Err("a page id belongs to nobody");
        }
        if objects != heads.objects.live || objects != heads.object_hash.entries {
            return Err("an object belongs to nobody");
        }
        if pools != heads.pools {
            return Err("the count of pools is wrong");
        }
        Ok(())
    }

    fn check_list(
        &self,
        ends: Ends,
        list: List,
        most: u32,
        is_good: impl Fn(u32, &Page) -> bool,
    ) -> Result<u32, &'static str> {
        let (mut count, mut before, mut id) = (0, NONE, ends.first);
        while id != NONE {
            let page = self.page(id);
            if page.link(list.prev) != before {
                return Err("a list's links do not match");
            }
            if page.state.is_retired() || page.state.is_pinned() || !is_good(id, &page) {
                return Err("a listed page is not what its key leads to");
            }
            count += 1;
            if count > most {
                return Err("a list is longer than its count");
            }
            (before, id) = (id, page.link(list.next));
        }
        if ends.last != before {
            return Err("a list ends elsewhere");
        }
        Ok(count)
    }
}
