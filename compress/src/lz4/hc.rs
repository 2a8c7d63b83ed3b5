//! [`Lz4Hc`]: LZ4 blocks that took longer to make, and are shorter.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use core::fmt;

use super::{Lz4, SMALL_PAGE_LEN_MAX, VECTORS, decode_by, decode_patch_by, dense, page_len_behind};
use crate::codec::{Codec, CodecId, check_page_len};
use crate::error::{CompressError, DecompressError, WorkspaceError};
#[cfg(feature = "alloc")]
use crate::memory::zeroed;

/// LZ4 as dense as the format allows, for pages that nobody waits for: about ten times [`Lz4`]'s time to
/// compress, and the same to decompress.
///
/// Its streams are LZ4's: stored under [`CodecId::Lz4`], decoded by [`Lz4`] too. Pages have up to 65536
/// bytes.
///
/// ```
/// use std::sync::Mutex;
/// use compress::{Codec, Lz4, Lz4Hc, Lz4HcWorkspace, Lz4Workspace};
///
/// // Half a MiB: not for a stack.
/// static WORKSPACE: Mutex<Lz4HcWorkspace> = Mutex::new(Lz4HcWorkspace::new());
///
/// let page: [u8; 4096] = core::array::from_fn(|at| (at / 7 * at / 9) as u8);
/// let mut out = [0; 4525];
/// let len = Lz4Hc.compress(&mut WORKSPACE.lock().unwrap(), &page, &mut out)?;
///
/// let mut back = [0; 4096];
/// Lz4.decompress(&mut Lz4Workspace::small(), &out[..len], &mut back)?;
/// assert_eq!(back, page);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lz4Hc;

impl Lz4Hc {
    /// The longest page, or unit, in bytes.
    pub const PAGE_LEN_MAX: usize = dense::LEN_MAX;

    fn compress_with(
        self,
        words: &mut [u16; dense::WORDS],
        both: &[u8],
        prefix: usize,
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        let page_len = page_len_behind(both, prefix, Self::PAGE_LEN_MAX)?;
        let (needed, got) = (self.max_compressed_len(page_len), out.len());
        dense::encode(both, prefix, out, words).ok_or(CompressError::OutputTooSmall { needed, got })
    }
}

/// The tables of [`Lz4Hc`]: 544 KiB, no pointers.
///
/// The constructor is `const`, so that a workspace can live in a `static` and never pass through a stack.
pub struct Lz4HcWorkspace {
    words: [u16; dense::WORDS],
}

impl Lz4HcWorkspace {
    /// Empty tables.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            words: [0; dense::WORDS],
        }
    }
}

impl Default for Lz4HcWorkspace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lz4HcWorkspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lz4HcWorkspace").finish_non_exhaustive()
    }
}

/// Makes the codec of one kind of workspace: they differ in where the tables are.
macro_rules! codec {
    ($codec:ty, $workspace:ty, $make:expr) => {
        impl Codec for $codec {
            type Workspace = $workspace;

            fn id(&self) -> CodecId {
                CodecId::Lz4
            }

            fn name(&self) -> &'static str {
                "lz4hc"
            }

            fn workspace(&self, page_len: usize) -> Result<$workspace, WorkspaceError> {
                check_page_len(page_len)?;
                let (max, got) = (Lz4Hc::PAGE_LEN_MAX, page_len);
                if got > max {
                    return Err(WorkspaceError::PageTooLong { max, got });
                }
                $make
            }

            fn max_compressed_len(&self, page_len: usize) -> usize {
                Lz4.max_compressed_len(page_len)
            }

            fn compress(
                &self,
                workspace: &mut $workspace,
                page: &[u8],
                out: &mut [u8],
            ) -> Result<usize, CompressError> {
                Lz4Hc.compress_with(&mut workspace.words, page, 0, out)
            }

            fn decompress(
                &self,
                _workspace: &mut $workspace,
                compressed: &[u8],
                page: &mut [u8],
            ) -> Result<(), DecompressError> {
                decode_by(VECTORS, compressed, page)
            }

            fn patches(&self) -> bool {
                true
            }

            /// Reference and page have up to 65534 bytes together, as those of [`Lz4`].
            fn compress_patch(
                &self,
                workspace: &mut $workspace,
                both: &[u8],
                prefix: usize,
                out: &mut [u8],
            ) -> Result<usize, CompressError> {
                let (max, got) = (SMALL_PAGE_LEN_MAX, both.len());
                if got > max {
                    return Err(CompressError::PageTooLong { max, got });
                }
                Lz4Hc.compress_with(&mut workspace.words, both, prefix, out)
            }

            fn decompress_patch(
                &self,
                _workspace: &mut $workspace,
                reference: &[u8],
                compressed: &[u8],
                page: &mut [u8],
            ) -> Result<(), DecompressError> {
                decode_patch_by(VECTORS, reference, compressed, page)
            }
        }
    };
}

codec!(Lz4Hc, Lz4HcWorkspace, Ok(Lz4HcWorkspace::new()));

/// [`Lz4Hc`] with its tables on the heap.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoxedHc;

/// The tables of [`Lz4Hc`] on the heap.
#[cfg(feature = "alloc")]
pub struct Lz4HcBox {
    words: Box<[u16; dense::WORDS]>,
}

#[cfg(feature = "alloc")]
impl Lz4HcBox {
    /// Empty tables, which do not pass through the stack.
    fn new() -> Result<Self, WorkspaceError> {
        let words = zeroed(dense::WORDS)?;
        let words = words.try_into().map_err(|_| WorkspaceError::OutOfMemory)?;
        Ok(Self { words })
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

#[cfg(feature = "alloc")]
impl fmt::Debug for Lz4HcBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lz4HcBox").finish_non_exhaustive()
    }
}

#[cfg(feature = "alloc")]
codec!(BoxedHc, Lz4HcBox, Lz4HcBox::new());
