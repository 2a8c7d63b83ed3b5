//! [`Store`]: where bytes lie.

use std::io;
use std::sync::Arc;

mod failing;
mod file;
mod memory;

pub use failing::{Failing, Faults, Injected};
pub use file::FileStore;
pub use memory::MemoryStore;

/// Bytes by offset. Any number of threads use it at once, in parts that do not overlap but where
/// a place is being reused: a reader of it may then get anything.
pub trait Store: Send + Sync {
    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// If not all of them could be read; `out` then holds anything.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// If not all of them could be written; any part of them may have been.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Gives the room of whole blocks back; what lies there is of no interest any more.
    ///
    /// # Errors
    /// If it could not; [`io::ErrorKind::Unsupported`] if it never can.
    fn discard(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Bytes that may be in use at a time.
    fn len(&self) -> u64;

    /// Whether nothing may be stored.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Offsets that may be used: `len`, or more where room given back by
    /// [`discard`](Self::discard) can be had again at another offset.
    fn span(&self) -> u64 {
        self.len()
    }

    /// The least that can be discarded, in bytes: a power of two. Zero: single blocks are of no
    /// use, only whole segments are given back.
    fn block_len(&self) -> u64 {
        0
    }

    /// These bytes will not be written again for long.
    ///
    /// # Errors
    /// If bytes that were written before, these or others, are found to have been lost.
    fn settle(&self, offset: u64, len: u64) -> io::Result<()> {
        let _ = (offset, len);
        Ok(())
    }
}

/// What a pointer points to is the store.
macro_rules! store_by_pointer {
    ($pointer:ident) => {
        impl<S: Store + ?Sized> Store for $pointer<S> {
            fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
                (**self).read_at(offset, out)
            }
            fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
                (**self).write_at(offset, bytes)
            }
            fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
                (**self).discard(offset, len)
            }
            fn len(&self) -> u64 {
                (**self).len()
            }
            fn span(&self) -> u64 {
                (**self).span()
            }
            fn block_len(&self) -> u64 {
                (**self).block_len()
            }
            fn settle(&self, offset: u64, len: u64) -> io::Result<()> {
                (**self).settle(offset, len)
            }
        }
    };
}

store_by_pointer!(Box);
store_by_pointer!(Arc);
