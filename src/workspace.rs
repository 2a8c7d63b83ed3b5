//! What a thread needs while it compresses or decompresses, and who lends it.

use compress::Codec;
use core::ops::Deref;
use crossbeam_utils::{Backoff, CachePadded};
use lock_api::{Mutex, MutexGuard, RawMutex};

/// Buffers and codec tables of one thread at work: the codec's own, and three pages.
///
/// `new` is `const`, so that a workspace can lie in a `static` and need no stack.
pub struct Workspace<C: Codec, const PAGE: usize> {
    pub(crate) codec: C::Workspace,
    /// Compressed bytes: what a codec writes, or the pieces of an object put together. Codecs
    /// want more room than a page.
    pub(crate) stream: [[u8; PAGE]; 2],
    /// A page, for reads and writes of parts of it.
    pub(crate) page: [u8; PAGE],
}

impl<C: Codec, const PAGE: usize> Workspace<C, PAGE> {
    /// A workspace around a codec's own.
    pub const fn new(codec: C::Workspace) -> Self {
        Self {
            codec,
            stream: [[0; PAGE]; 2],
            page: [0; PAGE],
        }
    }
}

/// A workspace that any thread may borrow.
pub struct Shared<C: Codec, L, const PAGE: usize>(CachePadded<Mutex<L, Workspace<C, PAGE>>>);

impl<C: Codec, L: RawMutex, const PAGE: usize> Shared<C, L, PAGE> {
    /// A workspace around a codec's own, to be lent.
    pub const fn new(codec: C::Workspace) -> Self {
        Self(CachePadded::new(Mutex::new(Workspace::new(codec))))
    }
}

/// Borrows a workspace that nobody uses, beginning with that of this thread's number; waits
/// while all are in use. There is at least one.
///
/// Lock order: a workspace is borrowed before a slot is held, never after it. Who has a workspace
/// may wait for a slot; if who has the slot waited for a workspace, neither would go on.
pub(crate) fn borrow<C, L, W, const PAGE: usize>(bank: &W) -> MutexGuard<'_, L, Workspace<C, PAGE>>
where
    C: Codec,
    L: RawMutex,
    W: Deref<Target = [Shared<C, L, PAGE>]>,
{
    let first = alloc_xv::thread_hint();
    let backoff = Backoff::new();
    loop {
        for turn in 0..bank.len() {
            if let Some(guard) = bank[(first.wrapping_add(turn)) % bank.len()].0.try_lock() {
                return guard;
            }
        }
        backoff.snooze();
    }
}
