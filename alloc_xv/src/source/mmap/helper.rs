//! The thread that backs frames ahead of a growing source.
#![deny(unsafe_code)]

use super::Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// While a source grows the thread looks at it this often, so that nobody has to wake it: a wake
/// costs the waker more than all else that growing costs it. 2 MiB in that time would be more than
/// a codec yields.
const WATCH: Duration = Duration::from_millis(1);
/// It goes to sleep when there was nothing to do this many times.
const IDLE_ROUNDS: u32 = 30;
/// Nothing is going on when no frames were given back for so long.
const QUIET: Duration = Duration::from_millis(50);

/// The thread; it ends when this is dropped.
pub(super) struct Helper {
    signs: Arc<Signs>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Signs {
    stop: AtomicBool,
    /// The thread will look without being woken.
    watches: AtomicBool,
}

impl Helper {
    pub(super) fn spawn<const PAGE: usize>(shared: &Arc<Shared<PAGE>>) -> std::io::Result<Self> {
        let signs = Arc::new(Signs::default());
        signs.watches.store(true, Ordering::Relaxed);
        let (theirs, shared) = (Arc::clone(&signs), Arc::clone(shared));
        let thread = thread::Builder::new()
            .name("compcache-pages".into())
            .spawn(move || theirs.watch(&shared))?;
        Ok(Self {
            signs,
            thread: Some(thread),
        })
    }

    /// Called after a range was marked, under its lock, as wanting memory.
    pub(super) fn wake(&self) {
        // If the thread looked at the range before it was marked, it had said before that it
        // watches no more: the range's lock orders the two, and the fences where the range itself is new.
        fence(Ordering::SeqCst);
        if !self.signs.watches.load(Ordering::SeqCst) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Signs {
    fn watch<const PAGE: usize>(&self, shared: &Shared<PAGE>) {
        super::mapping::let_others_go_first();
        let mut idle = 0;
        while !self.stop.load(Ordering::Acquire) {
            if shared.back_ahead() {
                idle = 0;
                self.watches.store(true, Ordering::SeqCst);
                continue;
            }
            idle += 1;
            match idle.cmp(&IDLE_ROUNDS) {
                std::cmp::Ordering::Less => thread::park_timeout(WATCH),
                // Once more, for who has not seen it yet.
                std::cmp::Ordering::Equal => {
                    self.watches.store(false, Ordering::SeqCst);
                    fence(Ordering::SeqCst);
                }
                std::cmp::Ordering::Greater if shared.rest() => thread::park(),
                std::cmp::Ordering::Greater => thread::park_timeout(QUIET),
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.signs.stop.store(true, Ordering::Release);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did there is nothing left to stop.
            let _ = thread.join();
        }
    }
}
