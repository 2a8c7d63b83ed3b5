//! The device's backing store, and the budget for writing back: what zram sets by `backing_dev`,
//! `writeback_limit` and `writeback_limit_enable`.

use crate::block::BlockDevice;
use crate::device::Device;
use crate::error::BackingError;
use compcache_tiers::backing::{FileStore, Store};
use compcache_tiers::{Policy, StoreError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What the device remembers of its store.
#[derive(Debug, Default)]
pub(crate) struct Backed {
    /// Where it is.
    path: OnceLock<PathBuf>,
    /// Pages that may be written back, while that is not limited: what will count when it is.
    waiting_limit: Mutex<u64>,
}

impl Device {
    /// Gives it a backing store: at most `bytes` of a file, a block device, or a file without a name in a
    /// directory; see [`FileStore::open`]. What lies there is given up. It stays as long as the device.
    ///
    /// # Errors
    /// [`BackingError`]; the device goes on without it then.
    pub fn set_backing(&self, path: &Path, bytes: u64) -> Result<(), BackingError> {
        if self.backed.path.get().is_some() {
            return Err(BackingError::HasStore);
        }
        let store = FileStore::open(path, bytes).map_err(BackingError::Open)?;
        self.set_store(Box::new(store))?;
        let _ = self.backed.path.set(path.to_owned());
        Ok(())
    }

    /// The same with any store.
    ///
    /// # Errors
    /// [`BackingError`].
    pub fn set_store(&self, store: Box<dyn Store>) -> Result<(), BackingError> {
        self.tiered.start_thread().map_err(BackingError::Thread)?;
        self.tiered.set_store(store).map_err(|error| match error {
            StoreError::Open(error) => BackingError::Open(error),
            StoreError::Memory(error) => BackingError::Memory(error),
            _ => BackingError::HasStore,
        })?;
        // The thread looks more often from now on.
        self.tiered.set_policy(self.tiered.policy());
        Ok(())
    }

    /// Where the backing store is; `None` without one that has a place.
    #[must_use]
    pub fn backing_path(&self) -> Option<&Path> {
        self.backed.path.get().map(PathBuf::as_path)
    }

    /// Bytes of a store that can hold the whole device, whatever is on it.
    #[must_use]
    pub fn backing_size_max(&self) -> u64 {
        // Records of pages that do not shrink take a little more than they.
        let size = self.size();
        (size + size / 16).max(STORE_MIN)
    }

    /// Changes what the device does by itself.
    ///
    /// # Errors
    /// Where the system has no thread for it; the policy is as it was then.
    pub fn set_policy(&self, policy: Policy) -> std::io::Result<()> {
        if Self::acts(&policy) {
            self.tiered.start_thread()?;
        }
        self.tiered.set_policy(policy);
        Ok(())
    }

    /// Limits what may still be written back, in pages of 4096 bytes, or lifts the limit. The number is
    /// kept while there is no limit.
    pub fn set_writeback_limit(&self, pages: Option<u64>, is_limited: bool) {
        let mut waiting = self.lock_limit();
        let left = self.tiered.stat().backing.limit;
        let pages = pages.or(left).unwrap_or(*waiting);
        *waiting = pages;
        self.tiered.set_writeback_limit(is_limited.then_some(pages));
    }

    /// Pages that may still be written back, or could if it were limited; and whether it is.
    #[must_use]
    pub fn writeback_limit(&self) -> (u64, bool) {
        let waiting = self.lock_limit();
        match self.tiered.stat().backing.limit {
            Some(left) => (left, true),
            None => (*waiting, false),
        }
    }

    fn lock_limit(&self) -> std::sync::MutexGuard<'_, u64> {
        self.backed
            .waiting_limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the smallest store there is.
const STORE_MIN: u64 = 2 << 20;
