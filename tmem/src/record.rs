//! What is kept for a page, an object and a pool: byte layouts.
//!
//! ```text
//!   page, 36 bytes             31  29 28                        0
//!     0  object                [state| number of the object      ]    each link has 29 bits; the
//!     4  chain                 [state| next page of the bucket   ]    three above them are a piece
//!     8  pool_prev, pool_next      the pool's pages by use            of the state (24 bits)
//!    16  all_prev, all_next        all ephemeral pages by use
//!    24  object_prev, object_next  the object's pages
//!    32  index                     of the page in its object
//!
//!   object, 40 bytes
//!     0  id (24)   24  pool, and DETACHED in bit 31   28  chain   32  first page   36  pages
//! ```

use crate::key::{GENERATION_MAX, Lifetime, ObjectId};
use crate::state::{BITS, State};

const LINK_BITS: u32 = 29;
const LINK_MASK: u32 = (1 << LINK_BITS) - 1;
const PIECE_BITS: u32 = 32 - LINK_BITS;
/// A link that leads nowhere.
pub(crate) const NONE: u32 = LINK_MASK;
/// Pages and objects have numbers less than this.
pub(crate) const IDS_MAX: u32 = 1 << 28;

/// A place in [`Page::links`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Object = 0,
    Chain = 1,
    PoolPrev = 2,
    PoolNext = 3,
    AllPrev = 4,
    AllNext = 5,
    ObjectPrev = 6,
    ObjectNext = 7,
}

const LINKS: usize = 8;
const _: () = assert!(BITS == PIECE_BITS * LINKS as u32);

/// Bytes of a page's record.
pub(crate) const PAGE_LEN: usize = 36;
/// Records in a chunk: a chunk has 2 KiB.
pub(crate) const PAGES_PER_CHUNK: u32 = 56;
/// Bytes of an object's record.
pub(crate) const OBJECT_LEN: usize = 40;
/// Records in a chunk: as above.
pub(crate) const OBJECTS_PER_CHUNK: u32 = 50;

/// A page's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    links: [u32; LINKS],
    pub(crate) index: u32,
    pub(crate) state: State,
}

impl Page {
    pub(crate) fn new(object: u32, index: u32) -> Self {
        let mut links = [NONE; LINKS];
        links[Link::Object as usize] = object;
        Self {
            links,
            index,
            state: State::default(),
        }
    }

    pub(crate) fn link(&self, link: Link) -> u32 {
        self.links[link as usize]
    }

    pub(crate) fn set_link(&mut self, link: Link, to: u32) {
        debug_assert!(to <= NONE);
        self.links[link as usize] = to & LINK_MASK;
    }

    pub(crate) fn to_bytes(self) -> [u8; PAGE_LEN] {
        let mut bytes = [0; PAGE_LEN];
        let (words, index) = bytes.split_at_mut(LINKS * 4);
        for (number, (bytes, link)) in words.chunks_exact_mut(4).zip(self.links).enumerate() {
            let piece = self.state.bits() >> (number as u32 * PIECE_BITS) & ((1 << PIECE_BITS) - 1);
            bytes.copy_from_slice(&(piece << LINK_BITS | link & LINK_MASK).to_le_bytes());
        }
        index.copy_from_slice(&self.index.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; PAGE_LEN]) -> Self {
        let mut words = [0; LINKS + 1];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = word_of(bytes);
        }
        let [words @ .., index] = words;
        let state = (0..).zip(words).fold(0, |state, (number, word)| {
            state | word >> LINK_BITS << (number * PIECE_BITS)
        });
        Self {
            links: words.map(|word: u32| word & LINK_MASK),
            index,
            state: State::from_bits(state),
        }
    }
}

/// Four bytes as a word.
fn word_of(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u32::from_le_bytes(word)
}

const DETACHED: u32 = 1 << 31;

/// An object's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) id: ObjectId,
    /// Place of its pool.
    pub(crate) pool: u32,
    /// No key leads here any more: somebody takes its pages apart, and removes it then.
    pub(crate) detached: bool,
    pub(crate) chain: u32,
    pub(crate) first: u32,
    pub(crate) pages: u32,
}

impl Object {
    pub(crate) fn to_bytes(self) -> [u8; OBJECT_LEN] {
        let mut bytes = [0; OBJECT_LEN];
        let mut out = Out(&mut bytes, 0);
        for part in self.id.0 {
            out.put(&part.to_le_bytes());
        }
        let detached = if self.detached { DETACHED } else { 0 };
        for word in [self.pool | detached, self.chain, self.first, self.pages] {
            out.put(&word.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; OBJECT_LEN]) -> Self {
        let mut from = In(bytes);
        let id = ObjectId([0; 3].map(|_: u64| from.long()));
        let pool = from.word();
        Self {
            id,
            pool: pool & !DETACHED,
            detached: pool & DETACHED != 0,
            chain: from.word(),
            first: from.word(),
            pages: from.word(),
        }
    }
}

/// The two ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Ends {
    pub(crate) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };
}

/// What a pool counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) puts: u64,
    pub(crate) failed_puts: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) flushes: u64,
    pub(crate) drops: u64,
    pub(crate) damaged: u64,
}

/// Bytes of a pool's record.
pub(crate) const POOL_LEN: usize = 104;

/// A pool's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) generation: u32,
    pub(crate) lifetime: Lifetime,
    pub(crate) shared: Option<u128>,
    /// Nobody has it any more; somebody takes its pages apart.
    pub(crate) dying: bool,
    /// Those who joined and did not leave.
    pub(crate) clients: u32,
    pub(crate) limit: u32,
    pub(crate) pages: u32,
    pub(crate) pages_max: u32,
    pub(crate) objects: u32,
    /// Pages by use, the one to drop first at the front.
    pub(crate) ends: Ends,
    pub(crate) counts: Counts,
}

const PERSISTENT: u32 = 1;
const SHARED: u32 = 1 << 1;
const DYING: u32 = 1 << 2;
const FLAG_BITS: u32 = 3;
const _: () = assert!(GENERATION_MAX < 1 << (32 - FLAG_BITS));

impl Pool {
    pub(crate) fn is_ephemeral(&self) -> bool {
        self.lifetime == Lifetime::Ephemeral
    }

    /// A page that is read is removed.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.is_ephemeral() && self.shared.is_none()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.limit != 0 && self.pages >= self.limit
    }

    pub(crate) fn to_bytes(self) -> [u8; POOL_LEN] {
        let mut bytes = [0; POOL_LEN];
        let mut out = Out(&mut bytes, 0);
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let flags = flag(!self.is_ephemeral(), PERSISTENT)
            | flag(self.shared.is_some(), SHARED)
            | flag(self.dying, DYING);
        for word in [
            self.generation << FLAG_BITS | flags,
            self.clients,
            self.limit,
            self.pages,
            self.pages_max,
            self.objects,
            self.ends.first,
            self.ends.last,
        ] {
            out.put(&word.to_le_bytes());
        }
        out.put(&self.shared.unwrap_or(0).to_le_bytes());
        let counts = self.counts;
        for count in [
            counts.puts,
            counts.failed_puts,
            counts.hits,
            counts.misses,
            counts.flushes,
            counts.drops,
            counts.damaged,
        ] {
            out.put(&count.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; POOL_LEN]) -> Self {
        let mut from = In(bytes);
        let flags = from.word();
        let [clients, limit, pages, pages_max, objects, first, last] =
            [0; 7].map(|_: u32| from.word());
        let shared = u128::from(from.long()) | u128::from(from.long()) << 64;
        let [puts, failed_puts, hits, misses, flushes, drops, damaged] =
            [0; 7].map(|_: u64| from.long());
        Self {
            generation: flags >> FLAG_BITS,
            lifetime: if flags & PERSISTENT != 0 {
                Lifetime::Persistent
            } else {
                Lifetime::Ephemeral
            },
            shared: (flags & SHARED != 0).then_some(shared),
            dying: flags & DYING != 0,
            clients,
            limit,
            pages,
            pages_max,
            objects,
            ends: Ends { first, last },
            counts: Counts {
                puts,
                failed_puts,
                hits,
                misses,
                flushes,
                drops,
                damaged,
            },
        }
    }
}

/// Bytes that are written one after the other.
struct Out<'b>(&'b mut [u8], usize);

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(self.1).zip(bytes) {
            *to = *from;
        }
        self.1 += bytes.len();
    }
}

/// Bytes that are read one after the other.
struct In<'b>(&'b [u8]);

impl In<'_> {
    fn take(&mut self, len: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn word(&mut self) -> u32 {
        word_of(self.take(4))
    }

    fn long(&mut self) -> u64 {
        u64::from(self.word()) | u64::from(self.word()) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_parts() {
        for state in [0, 1, 0x55_5555, 0xff_ffff] {
            let mut page = Page::new(7, u32::MAX - 1);
            page.state = State::from_bits(state);
            page.set_link(Link::Chain, 0);
            page.set_link(Link::ObjectNext, IDS_MAX - 1);
            assert_eq!(Page::from_bytes(&page.to_bytes()), page);
            assert_eq!(page.link(Link::PoolPrev), NONE);
            assert_eq!(page.link(Link::Object), 7);
        }
    }

    #[test]
    fn an_object_keeps_its_parts() {
        let object = Object {
            id: ObjectId([1, u64::MAX, 3]),
            pool: 1023,
            detached: true,
            chain: NONE,
            first: 5,
            pages: 6,
        };
        assert_eq!(Object::from_bytes(&object.to_bytes()), object);
        let attached = Object {
            detached: false,
            ..object
        };
        assert_eq!(Object::from_bytes(&attached.to_bytes()), attached);
    }

    #[test]
    fn a_pool_keeps_its_parts() {
        let pool = Pool {
            generation: GENERATION_MAX,
            lifetime: Lifetime::Persistent,
            shared: Some(u128::MAX - 3),
            dying: true,
            clients: 1,
            limit: 2,
            pages: 3,
            pages_max: 4,
            objects: 5,
            ends: Ends { first: 6, last: 7 },
            counts: Counts {
                puts: 8,
                failed_puts: 9,
                hits: 10,
                misses: 11,
                flushes: 12,
                drops: 13,
                damaged: u64::MAX,
            },
        };
        assert_eq!(Pool::from_bytes(&pool.to_bytes()), pool);
        let other = Pool {
            lifetime: Lifetime::Ephemeral,
            shared: None,
            dying: false,
            ..pool
        };
        assert_eq!(Pool::from_bytes(&other.to_bytes()), other);
    }
}
