//! What a thread needs while it compresses or decompresses, and who lends it.

use compress::Codec;
use core::ops::Deref;
use crossbeam_utils::{Backoff, CachePadded};
use spin::mutex::{SpinMutex, SpinMutexGuard};

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
///
/// Nobody waits for one of them, so the lock is the simplest there is, whatever the pools have. Letting
/// go of it is a plain store: an atomic exchange would wait until the page that was just stored
/// has reached its memory.
pub struct Shared<C: Codec, const PAGE: usize>(CachePadded<SpinMutex<Workspace<C, PAGE>>>);

impl<C: Codec, const PAGE: usize> Shared<C, PAGE> {
    /// A workspace around a codec's own, to be lent.
    pub const fn new(codec: C::Workspace) -> Self {
        Self(CachePadded::new(SpinMutex::new(Workspace::new(codec))))
    }
}

/// Borrows a workspace that nobody uses, beginning with that of this thread's number; waits
/// while all are in use. There is at least one.
///
/// Lock order: a workspace is borrowed before a slot is held, never after it. Who has a workspace
/// may wait for a slot; if who has the slot waited for a workspace, neither would go on.
pub(crate) fn borrow<C, W, const PAGE: usize>(bank: &W) -> SpinMutexGuard<'_, Workspace<C, PAGE>>
where
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
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
