//! The thread that does what the policy wants.

use crate::tiered::Inner;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pages' worth of work between two looks at whether to stop.
const BUDGET: u64 = 64;
/// Time between two looks at memory, if it is limited or there is a store.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn spawn(inner: &Arc<Inner>, first: Option<fn()>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (weak, flag) = (Arc::downgrade(inner), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("compcache-tiers".into())
            .spawn(move || {
                if let Some(first) = first {
                    first();
                }
                run(&weak, &flag);
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Has it look again, before its time.
    pub(crate) fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

fn run(weak: &Weak<Inner>, stop: &AtomicBool) {
    loop {
        let Some(inner) = weak.upgrade() else { return };
        while !stop.load(Ordering::Acquire) {
            // What one tick could not do, the next one will.
            let more = inner.tick_now(BUDGET).is_ok_and(|tick| tick.more);
            let more = more | inner.keep_room();
            if !more {
                break;
            }
            std::thread::yield_now();
        }
        if stop.load(Ordering::Acquire) {
            return;
        }
        let pause = inner.pause(LOOK);
        drop(inner);
        std::thread::park_timeout(pause);
        if stop.load(Ordering::Acquire) {
            return;
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread does not panic; if it did there is nothing left to stop.
            let _ = thread.join();
        }
    }
}
