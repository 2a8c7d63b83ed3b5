//! What names a page: pool, object, index.

use core::fmt;

/// Bits of a pool's place; the rest is its generation.
const SLOT_BITS: u32 = 10;
/// Pools there can be at once.
pub const POOLS_MAX: u32 = 1 << SLOT_BITS;
/// The last generation of a place.
pub(crate) const GENERATION_MAX: u32 = (1 << (32 - SLOT_BITS)) - 1;

/// Names a pool. It names no other one after the pool was destroyed: it has a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(u32);

impl PoolId {
    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self(generation << SLOT_BITS | slot)
    }

    pub(crate) const fn slot(self) -> u32 {
        self.0 & (POOLS_MAX - 1)
    }

    pub(crate) const fn generation(self) -> u32 {
        self.0 >> SLOT_BITS
    }

    /// As a number, for those who have to pass it on (to a guest, say).
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// From such a number. A wrong one names no pool, or somebody's: check whose it is.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

/// Names an object of a pool: 192 bits of its owner's choice, as in tmem. A file's inode number, or
/// a file handle where inode numbers are not enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub [u64; 3]);

impl From<u64> for ObjectId {
    fn from(number: u64) -> Self {
        Self([number, 0, 0])
    }
}

/// Whether pages may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Pages may be dropped at any time, least recently used first. A put hardly ever fails.
    Ephemeral,
    /// Pages stay until they are flushed. A put that finds no room fails.
    Persistent,
}

/// What a pool is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Whether pages may go.
    pub lifetime: Lifetime,
    /// The id of a shared pool: who knows it joins. `None` for a private one.
    ///
    /// Whoever shares a pool sees which pages others put and read there. So nothing is shared
    /// unless it is asked for, and the id should be a random number.
    pub shared: Option<u128>,
    /// The most pages; 0 for no limit. Of a shared pool, the first client's number counts.
    pub limit_pages: u32,
}

impl PoolOptions {
    /// A private ephemeral pool without a limit.
    pub const EPHEMERAL: Self = Self {
        lifetime: Lifetime::Ephemeral,
        shared: None,
        limit_pages: 0,
    };

    /// A private persistent pool without a limit.
    pub const PERSISTENT: Self = Self {
        lifetime: Lifetime::Persistent,
        shared: None,
        limit_pages: 0,
    };

    /// With a limit of its own.
    pub const fn with_limit(self, limit_pages: u32) -> Self {
        Self {
            limit_pages,
            ..self
        }
    }

    /// Shared under an id.
    pub const fn shared_as(self, id: u128) -> Self {
        Self {
            shared: Some(id),
            ..self
        }
    }
}
