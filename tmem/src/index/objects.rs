//! Objects: found by their ids, there while they have pages, flushed in one step.

use super::hashed::{ObjectRecords, object_hash};
use super::{Index, Refused, Removed};
use crate::chunks::NoRecord;
use crate::error::Error;
use crate::hash::{CHAIN_MAX, NotInserted};
use crate::key::ObjectId;
use crate::record::{NONE, Object};
use crate::tables::contradiction;
use alloc_xv::PageSource;

impl<S: PageSource> Index<'_, S> {
    pub(super) fn find_object(&self, pool: u32, id: &ObjectId) -> Option<u32> {
        let hash = object_hash(self.hash_key, pool, id);
        self.heads.object_hash.find(self.tables, hash, |number| {
            let object = self.object(number);
            (object.pool == pool && object.id == *id, object.chain)
        })
    }

    pub(super) fn add_object(&mut self, place: u32, id: &ObjectId) -> Result<u32, Refused> {
        let number = self
            .heads
            .objects
            .take(self.tables)
            .map_err(|error| match error {
                NoRecord::Limit => contradiction("more objects than pages"),
                NoRecord::Alloc(error) => Refused::Room(Error::NoSpace(error)),
            })?;
        self.set_object(
            number,
            Object {
                id: *id,
                pool: place,
                detached: false,
                chain: NONE,
                first: NONE,
                pages: 0,
            },
        );
        let records = ObjectRecords(self.tables, &self.heads.objects, self.hash_key);
        if let Err(error) = self.heads.object_hash.insert(self.tables, &records, number) {
            self.heads.objects.free(self.tables, number);
            return Err(match error {
                NotInserted::Crowded => Refused::Other(Error::Crowded { max: CHAIN_MAX }),
                NotInserted::Alloc(error) => Refused::Room(Error::NoSpace(error)),
            });
        }
        self.change_pool(place, |pool| pool.objects += 1);
        Ok(number)
    }

    /// Takes an object away that no list leads to any more but, if it is not detached, its key.
    pub(super) fn remove_object(&mut self, number: u32) {
        let object = self.object(number);
        if !object.detached {
            let records = ObjectRecords(self.tables, &self.heads.objects, self.hash_key);
            self.heads.object_hash.remove(self.tables, &records, number);
        }
        self.heads.objects.free(self.tables, number);
        self.change_pool(object.pool, |pool| pool.objects -= 1);
    }

    /// Makes an object's key lead nowhere, in one step; its pages are then taken apart.
    pub(crate) fn detach_object(&mut self, place: u32, id: &ObjectId) -> Option<(u32, u32)> {
        let number = self.find_object(place, id)?;
        let records = ObjectRecords(self.tables, &self.heads.objects, self.hash_key);
        self.heads.object_hash.remove(self.tables, &records, number);
        let mut object = self.object(number);
        object.detached = true;
        self.set_object(number, object);
        self.heads.stored -= object.pages;
        self.change_pool(place, |pool| {
            pool.pages -= object.pages;
            pool.counts.flushes += u64::from(object.pages);
        });
        Some((number, object.pages))
    }

    /// Takes some pages of a detached object out of the index; true if it had no more, and is gone.
    pub(crate) fn take_object_apart(&mut self, number: u32, removed: &mut Removed) -> bool {
        while removed.has_room() {
            let first = self.object(number).first;
            if first == NONE {
                self.remove_object(number);
                return true;
            }
            self.remove_page(first, removed);
        }
        false
    }
}
