//! The thread that backs frames ahead of a growing source.

use super::Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// The thread; it ends when this is dropped.
pub(super) struct Helper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    pub(super) fn spawn<const PAGE: usize>(shared: &Arc<Shared<PAGE>>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, shared) = (Arc::clone(&stop), Arc::clone(shared));
        let work = move || {
            while !flag.load(Ordering::Acquire) {
                shared.back_ahead();
                thread::park();
            }
        };
        let thread = thread::Builder::new()
            .name("compcache-pages".into())
            .spawn(work)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did there is nothing left to stop.
            let _ = thread.join();
        }
    }
}
