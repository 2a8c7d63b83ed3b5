//! Compaction by a thread of its own, where there are threads.
//!
//! A pool that falls below its target fill wakes the thread. The thread waits until the burst of
//! frees is over (or has lasted a while), so that objects which are about to be freed are not
//! moved first, and then packs the arenas that need it, some microseconds' worth under each hold of a lock.

use crate::pool::Pool;
use crate::slots::Slots;
use crate::source::PageSource;
use lock_api::RawMutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// How long the thread looks whether a burst of frees is going on, each time ...
const LOOK: Duration = Duration::from_micros(250);
/// ... and how often at most before it starts in any case.
const LOOKS_MAX: u32 = 800;
/// A burst is going on while objects go away by more than this share of them between two looks.
const BURST_SHARE: u64 = 1024;

/// The thread to wake when compaction is wanted.
pub(crate) struct Waker {
    thread: Mutex<Option<Thread>>,
}

impl Waker {
    pub(crate) const fn new() -> Self {
        Self {
            thread: Mutex::new(None),
        }
    }

    /// Wakes the thread if there is one. Called once for each time the pool falls below its
    /// target, not for each free.
    #[cold]
    pub(crate) fn wake(&self) {
        if let Some(thread) = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            thread.unpark();
        }
    }

    fn set(&self, thread: Option<Thread>) {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = thread;
    }
}

/// A pool, or what contains one, that a [`Compactor`] can work for.
pub trait Compact: Send + Sync {
    /// The pool wakes this thread from now on instead of moving objects beside its frees, and moves
    /// some beside allocations when the thread is late; with `None` it is as before.
    fn attach(&self, thread: Option<Thread>);
    /// Whether compaction was asked for since the last call.
    fn take_wanted(&self) -> bool;
    /// Live objects.
    fn objects(&self) -> u64;
    /// Packs the arenas that are below their target fill until they are above it.
    fn compact_to_target(&self);
}

macro_rules! compact_by_core {
    ($name:ident) => {
        impl<S: PageSource, L: RawMutex + Send + Sync, const ARENAS: usize> Compact
            for $name<S, L, ARENAS>
        {
            fn attach(&self, thread: Option<Thread>) {
                self.core().set_assistance(thread.is_some());
                let moves = u32::from(thread.is_none());
                // Before anybody asks for the thread, who would find none.
                self.core().waker.set(thread);
                self.set_inline_moves(moves);
            }

            fn take_wanted(&self) -> bool {
                self.core().take_wanted()
            }

            fn objects(&self) -> u64 {
                self.core().objects()
            }

            fn compact_to_target(&self) {
                self.core().compact_to_target();
            }
        }
    };
}

compact_by_core!(Slots);
compact_by_core!(Pool);

/// A thread that keeps a pool above its target fill; it ends when this is dropped.
///
/// # Examples
///
/// ```
/// use alloc_xv::{Compactor, MmapSource, Slots};
/// use std::sync::Arc;
///
/// let slots: Arc<Slots<MmapSource>> = Arc::new(Slots::new(MmapSource::new(1 << 30)?));
/// let compactor = Compactor::spawn(&slots)?;
/// slots.store(1, 0, &[b"page"])?;
/// drop(compactor);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Compactor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Compactor {
    /// Starts the thread. It keeps the pool alive only while it works on it.
    pub fn spawn<P: Compact + 'static>(pool: &Arc<P>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (weak, flag) = (Arc::downgrade(pool), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("compcache-pack".into())
            .spawn(move || {
                while !flag.load(Ordering::Acquire) {
                    let Some(pool) = weak.upgrade() else { return };
                    if pool.take_wanted() {
                        wait_for_burst(&*pool, &flag);
                        pool.compact_to_target();
                    }
                    drop(pool);
                    std::thread::park();
                }
                if let Some(pool) = weak.upgrade() {
                    pool.attach(None);
                }
            })?;
        pool.attach(Some(thread.thread().clone()));
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

/// Waits while objects are being freed in masses: what is about to go need not be moved.
fn wait_for_burst(pool: &dyn Compact, stop: &AtomicBool) {
    let mut before = pool.objects();
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(LOOK);
        let now = pool.objects();
        if stop.load(Ordering::Acquire) || now + before / BURST_SHARE >= before {
            return;
        }
        before = now;
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread does not panic; if it did there is nothing left to stop.
            let _ = thread.join();
        }
    }
}
