//! How pages and objects are found by their keys: their hashes, and their records as a hash table sees them.

use super::{Objects, Pages};
use crate::hash::Chained;
use crate::key::ObjectId;
use crate::record::{Link, Object, Page};
use crate::tables::Tables;
use alloc_xv::PageSource;
use core::hash::Hasher;
use siphasher::sip::SipHasher13;

/// The records of pages as the hash table sees them.
pub(super) struct PageRecords<'r, S: PageSource>(
    pub(super) &'r Tables<S>,
    pub(super) &'r Pages,
    pub(super) [u64; 2],
);
/// Those of objects.
pub(super) struct ObjectRecords<'r, S: PageSource>(
    pub(super) &'r Tables<S>,
    pub(super) &'r Objects,
    pub(super) [u64; 2],
);

fn hash_words<const N: usize>(key: [u64; 2], words: [u64; N]) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
    for word in words {
        hasher.write_u64(word);
    }
    hasher.finish() as u32
}

pub(super) fn page_hash(key: [u64; 2], object: u32, index: u32) -> u32 {
    hash_words(key, [u64::from(object) << 32 | u64::from(index)])
}

pub(super) fn object_hash(key: [u64; 2], pool: u32, id: &ObjectId) -> u32 {
    let [a, b, c] = id.0;
    hash_words(key, [u64::from(pool), a, b, c])
}

impl<S: PageSource> Chained for PageRecords<'_, S> {
    fn hash(&self, id: u32) -> u32 {
        let page = Page::from_bytes(&self.1.read(self.0, id));
        page_hash(self.2, page.link(Link::Object), page.index)
    }

    fn next(&self, id: u32) -> u32 {
        Page::from_bytes(&self.1.read(self.0, id)).link(Link::Chain)
    }

    fn set_next(&self, id: u32, next: u32) {
        let mut page = Page::from_bytes(&self.1.read(self.0, id));
        page.set_link(Link::Chain, next);
        self.1.write(self.0, id, &page.to_bytes());
    }
}

impl<S: PageSource> Chained for ObjectRecords<'_, S> {
    fn hash(&self, id: u32) -> u32 {
        let object = Object::from_bytes(&self.1.read(self.0, id));
        object_hash(self.2, object.pool, &object.id)
    }

    fn next(&self, id: u32) -> u32 {
        Object::from_bytes(&self.1.read(self.0, id)).chain
    }

    fn set_next(&self, id: u32, next: u32) {
        let mut object = Object::from_bytes(&self.1.read(self.0, id));
        object.chain = next;
        self.1.write(self.0, id, &object.to_bytes());
    }
}
