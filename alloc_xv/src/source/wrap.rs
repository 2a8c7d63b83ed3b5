//! Sources around a source: count what passes, limit it, or fail on demand.

use super::{FrameId, OutOfPages, PageSource};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Implements [`PageSource`] for a wrapper with fields `inner` and functions `admit`/`returned`.
macro_rules! pass_on {
    ($name:ident) => {
        // SAFETY: frames and addresses are those of `inner`, which keeps the contract.
        unsafe impl<S: PageSource> PageSource for $name<S> {
            const PAGE_SIZE: usize = S::PAGE_SIZE;
            const WINDOWS: bool = S::WINDOWS;

            fn open_window(&self, frames: u32) -> Result<FrameId, OutOfPages> {
                self.inner.open_window(frames)
            }

            fn close_window(&self, first: FrameId) {
                self.inner.close_window(first);
            }

            fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
                self.admit()?;
                self.inner.take(wanted).inspect_err(|_| self.returned())
            }

            unsafe fn give_back(&self, frame: FrameId) {
                // SAFETY: the caller keeps the contract of the same function.
                unsafe { self.inner.give_back(frame) };
                self.returned();
            }

            fn tidy(&self) {
                self.inner.tidy();
            }

            fn address(&self, frame: FrameId) -> *mut u8 {
                self.inner.address(frame)
            }
        }
    };
}

/// Counts the frames that are taken, and the most there ever were.
#[derive(Debug, Default)]
pub struct Counting<S> {
    inner: S,
    taken: AtomicUsize,
    taken_max: AtomicUsize,
}

impl<S> Counting<S> {
    /// Counts what is taken from `inner`.
    pub const fn new(inner: S) -> Self {
        Self {
            inner,
            taken: AtomicUsize::new(0),
            taken_max: AtomicUsize::new(0),
        }
    }

    /// Frames taken and not given back.
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// The most frames ever taken at once.
    pub fn taken_max(&self) -> usize {
        self.taken_max.load(Relaxed)
    }

    fn admit(&self) -> Result<(), OutOfPages> {
        let now = self.taken.fetch_add(1, Relaxed) + 1;
        self.taken_max.fetch_max(now, Relaxed);
        Ok(())
    }

    fn returned(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }
}

pass_on!(Counting);

/// Never lets more than a number of frames be taken at once.
#[derive(Debug)]
pub struct Limited<S> {
    inner: S,
    left: AtomicUsize,
}

impl<S> Limited<S> {
    /// At most `frames` of `inner` at once.
    pub const fn new(inner: S, frames: usize) -> Self {
        Self {
            inner,
            left: AtomicUsize::new(frames),
        }
    }

    fn admit(&self) -> Result<(), OutOfPages> {
        self.left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .map_or(Err(OutOfPages), |_| Ok(()))
    }

    fn returned(&self) {
        self.left.fetch_add(1, Relaxed);
    }
}

pass_on!(Limited);

/// Fails every `take` once a countdown has run out, until it is set again. For tests: setting
/// it to 0, 1, 2, ... in turn makes every single step of an operation fail once.
#[derive(Debug)]
pub struct Failing<S> {
    inner: S,
    /// Takes that still succeed; `usize::MAX` for no end.
    countdown: AtomicUsize,
    failures: AtomicUsize,
}

impl<S> Failing<S> {
    /// Passes everything on until [`fail_after`](Self::fail_after) is called.
    pub const fn new(inner: S) -> Self {
        Self {
            inner,
            countdown: AtomicUsize::new(usize::MAX),
            failures: AtomicUsize::new(0),
        }
    }

    /// The next `takes` takes succeed, all after them fail.
    pub fn fail_after(&self, takes: usize) {
        self.countdown.store(takes, Relaxed);
    }

    /// No take fails any more.
    pub fn never_fail(&self) {
        self.countdown.store(usize::MAX, Relaxed);
    }

    /// How many takes were made to fail.
    pub fn failures(&self) -> usize {
        self.failures.load(Relaxed)
    }

    fn admit(&self) -> Result<(), OutOfPages> {
        let step = |left: usize| match left {
            usize::MAX => Some(usize::MAX),
            _ => left.checked_sub(1),
        };
        self.countdown
            .fetch_update(Relaxed, Relaxed, step)
            .map_or_else(
                |_| {
                    self.failures.fetch_add(1, Relaxed);
                    Err(OutOfPages)
                },
                |_| Ok(()),
            )
    }

    fn returned(&self) {}
}

pass_on!(Failing);
