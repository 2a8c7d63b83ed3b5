//! An adapter in the shape of Linux cleancache: clean pages of file systems, which may vanish.
//!
//! | cleancache | here |
//! |---|---|
//! | `init_fs`, `init_shared_fs` | [`init_fs`](Cleancache::init_fs), [`init_shared_fs`](Cleancache::init_shared_fs) |
//! | `put_page` | [`put_page`](Cleancache::put_page) |
//! | `get_page` | [`get_page`](Cleancache::get_page) |
//! | `invalidate_page`, `invalidate_inode`, `invalidate_fs` | the same |
//!
//! A file system puts a clean page when it leaves the page cache, asks for it before it reads from the
//! disk, and **must** invalidate pages that change. What fails is no error to a file system: it
//! reads from the disk.

use crate::error::Error;
use crate::key::{ObjectId, PoolId, PoolOptions};
use crate::tmem::Tmem;
use alloc_xv::PageSource;
use compcache::{Codec, Shared};
use core::ops::Deref;
use lock_api::RawMutex;

/// Cleancache's operations on a [`Tmem`].
pub struct Cleancache<'t, S, C, W, L, const PAGE: usize, const ARENAS: usize>
where
    S: PageSource,
    C: Codec,
    L: RawMutex,
{
    tmem: &'t Tmem<S, C, W, L, PAGE, ARENAS>,
    limit_pages: u32,
}

impl<'t, S, C, W, L, const PAGE: usize, const ARENAS: usize>
    Cleancache<'t, S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// The adapter of one tenant; each of its file systems may have up to `limit_pages` pages (0 for
    /// no limit).
    pub const fn new(tmem: &'t Tmem<S, C, W, L, PAGE, ARENAS>, limit_pages: u32) -> Self {
        Self { tmem, limit_pages }
    }

    /// A file system is mounted.
    pub fn init_fs(&self) -> Result<PoolId, Error> {
        let options = PoolOptions::EPHEMERAL.with_limit(self.limit_pages);
        self.tmem.new_pool(options)
    }

    /// A file system that several clients mount (a cluster file system), under an id that they
    /// share.
    pub fn init_shared_fs(&self, id: u128) -> Result<PoolId, Error> {
        let options = PoolOptions::EPHEMERAL.with_limit(self.limit_pages);
        self.tmem.new_pool(options.shared_as(id))
    }

    /// Keeps a clean page, or not: true if it is kept. Pages from index 2^32 on are not.
    pub fn put_page(&self, fs: PoolId, inode: ObjectId, index: u64, page: &[u8; PAGE]) -> bool {
        match u32::try_from(index) {
            Ok(index) => self.tmem.put(fs, inode, index, page).is_ok(),
            Err(_) => false,
        }
    }

    /// Reads a page; false if it is not here, and `page` is then undefined.
    pub fn get_page(&self, fs: PoolId, inode: ObjectId, index: u64, page: &mut [u8; PAGE]) -> bool {
        match u32::try_from(index) {
            Ok(index) => self.tmem.get(fs, inode, index, page) == Ok(true),
            Err(_) => false,
        }
    }

    /// A page changed on the disk.
    pub fn invalidate_page(&self, fs: PoolId, inode: ObjectId, index: u64) {
        if let Ok(index) = u32::try_from(index) {
            // A pool that is gone has no page.
            let _ = self.tmem.flush_page(fs, inode, index);
        }
    }

    /// A file was truncated or removed.
    pub fn invalidate_inode(&self, fs: PoolId, inode: ObjectId) {
        let _ = self.tmem.flush_object(fs, inode);
    }

    /// A file system is unmounted.
    pub fn invalidate_fs(&self, fs: PoolId) {
        let _ = self.tmem.destroy_pool(fs);
    }
}
