//! [`StdCache`]: a cache with an operating system under it.

use crate::cache::{Cache, Config};
use crate::error::BuildError;
use crate::patient::PatientMutex;
use crate::workspace::Shared;
use alloc_xv::{Compact, Growth, MmapSource, PageSource};
use compress::Codec;
use core::ops::Deref;
use std::thread::Thread;
use std::vec::Vec;

/// A cache over anonymous memory of the system, with a workspace for each CPU and locks that
/// sleep.
///
/// An arena holds 16 GiB of compressed pages and 2^24 pages of the device, so four are enough
/// for a device of 256 GiB. Each costs some pages of its own.
pub type StdCache<C, const PAGE: usize = 4096> =
    Cache<MmapSource<PAGE>, C, Vec<Shared<C, PAGE>>, PatientMutex, PAGE, 4>;

impl<C: Codec, const PAGE: usize> StdCache<C, PAGE> {
    /// A cache for a device of `config.pages` pages.
    pub fn build(codec: C, config: Config) -> Result<Self, BuildError> {
        Self::build_with(codec, config, Growth::default())
    }

    /// [`build`](Self::build), whose memory grows as it is told.
    pub fn build_with(codec: C, config: Config, growth: Growth) -> Result<Self, BuildError> {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
        let bank = (0..cpus + 1)
            .map(|_| codec.workspace(PAGE).map(Shared::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(BuildError::Workspace)?;
        // Room for every page stored raw, with its tables, and gaps before they are packed.
        let bytes = (config.pages as usize).saturating_mul(PAGE);
        let room = bytes
            .saturating_add(bytes / 4)
            .saturating_add(64 * PAGE * 4);
        let source = MmapSource::with_growth(room, growth).map_err(BuildError::Source)?;
        Self::new(source, codec, bank, config)
    }

    /// A cache for a device of `bytes` bytes, rounded up to pages, with the codec's defaults.
    pub fn with_capacity(bytes: u64) -> Result<Self, BuildError>
    where
        C: Default,
    {
        Self::build(C::default(), Config::new(bytes.div_ceil(PAGE as u64)))
    }
}

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Compact for Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]> + Send + Sync,
    L: lock_api::RawMutex + Send + Sync,
{
    fn attach(&self, thread: Option<Thread>) {
        self.slots.attach(thread);
    }

    fn take_wanted(&self) -> bool {
        self.slots.take_wanted()
    }

    fn objects(&self) -> u64 {
        Compact::objects(&self.slots)
    }

    fn compact_to_target(&self) {
        self.slots.compact_to_target();
    }
}
