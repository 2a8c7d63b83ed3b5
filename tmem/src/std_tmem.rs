//! [`StdTmem`]: a tmem with an operating system under it.

use crate::error::BuildError;
use crate::tmem::{Config, Tmem};
use alloc_xv::{Compact, MmapSource, PageSource};
use compcache::{Codec, PatientMutex, Shared};
use core::ops::Deref;
use std::hash::{BuildHasher, RandomState};
use std::thread::Thread;
use std::vec::Vec;

/// A tmem over anonymous memory of the system, with a workspace for each CPU and locks that
/// sleep at last.
pub type StdTmem<C, const PAGE: usize = 4096> =
    Tmem<MmapSource<PAGE>, C, Vec<Shared<C, PAGE>>, PatientMutex, PAGE, 4>;

/// Bytes of the index for a page, at most: a page of its own object, a bucket for each, and some
/// room.
const INDEX_BYTES_MAX: usize = 128;

impl Config {
    /// [`new`](Self::new) with a random hash key.
    pub fn random(pages: u64) -> Self {
        Self::new(
            pages,
            [0; 2].map(|word: u64| RandomState::new().hash_one(word)),
        )
    }
}

impl<C: Codec, const PAGE: usize> StdTmem<C, PAGE> {
    /// A tmem as it is told.
    pub fn build(codec: C, config: Config) -> Result<Self, BuildError> {
        Self::check_config(config)?;
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
        let bank = (0..cpus + 1)
            .map(|_| codec.workspace(PAGE).map(Shared::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(compcache::BuildError::Workspace)?;
        let room = |page_bytes: usize| {
            let bytes = (config.pages as usize).saturating_mul(page_bytes);
            // Every page stored raw, with its tables, and gaps before they are packed.
            let bytes = bytes.saturating_add(bytes / 4);
            MmapSource::new(bytes.saturating_add(64 * PAGE * 4))
                .map_err(compcache::BuildError::Source)
        };
        Self::new([room(PAGE)?, room(INDEX_BYTES_MAX)?], codec, bank, config)
    }

    /// A tmem of up to `pages` pages, with the codec's defaults and a random hash key.
    pub fn with_pages(pages: u64) -> Result<Self, BuildError>
    where
        C: Default,
    {
        Self::build(C::default(), Config::random(pages))
    }
}

/// So that a [`Compactor`](alloc_xv::Compactor) can pack the stored pages.
impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Compact for Tmem<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]> + Send + Sync,
    L: lock_api::RawMutex + Send + Sync,
{
    fn attach(&self, thread: Option<Thread>) {
        self.cache.attach(thread);
    }

    fn take_wanted(&self) -> bool {
        self.cache.take_wanted()
    }

    fn objects(&self) -> u64 {
        self.cache.objects()
    }

    fn compact_to_target(&self) {
        self.cache.compact_to_target();
    }
}
