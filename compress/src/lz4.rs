//! LZ4 blocks, in safe code: by the safe half of `lz4_flex`, and by encoder and decoder of our own where
//! they are quicker.
//!
//! | | registers of 16 bytes | registers of 8 bytes (a kernel) |
//! |---|---|---|
//! | pages under 64 KiB are encoded by | ours: a tenth less time | ours: a third fewer instructions |
//! | longer pages are encoded by | `lz4_flex` | `lz4_flex` |
//! | pages and patches are decoded by | `lz4_flex`: a fifth less time | ours: half the instructions |
//! | patches, and pages that are to be dense, are encoded by | ours | ours |

use core::fmt;

use lz4_flex::block::{self, CompressTable};

use crate::codec::{Codec, CodecId, PAGE_LEN_MAX, check_lengths, check_page_len};
use crate::error::{CompressError, DecompressError, WorkspaceError};

mod decode;
mod dense;
mod encode;
mod hc;
#[cfg(any(test, fuzzing))]
mod other;
mod patch;
#[cfg(test)]
mod tests;

use decode::Fault;
#[cfg(feature = "alloc")]
pub(crate) use hc::BoxedHc;
#[cfg(feature = "alloc")]
pub use hc::Lz4HcBox;
pub use hc::{Lz4Hc, Lz4HcWorkspace};
#[cfg(any(test, fuzzing))]
pub use other::OtherDecoder;

/// Whether `lz4_flex` decodes: where its copies are of 16 bytes at once.
const VECTORS: bool = cfg!(any(target_feature = "sse2", target_feature = "neon"));

/// The longest page whose positions fit the small table's 16-bit entries, as `lz4_flex` counts.
/// For a longer page it would build the large table itself, 16 KiB of it, on the stack.
const SMALL_PAGE_LEN_MAX: usize = u16::MAX as usize - 1;

/// LZ4 without a frame: one block, its length and that of the page kept by the caller.
///
/// The format is that of the [LZ4 block specification]; the blocks are what the reference
/// implementation reads and writes too.
///
/// [LZ4 block specification]: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
///
/// ```
/// use compress::{Codec, DecompressError, Lz4};
///
/// let mut workspace = Lz4.workspace(4096)?;
/// let mut out = [0; 4525];
/// assert_eq!(out.len(), Lz4.max_compressed_len(4096));
/// let len = Lz4.compress(&mut workspace, &[0; 4096], &mut out)?;
///
/// // Half the stream is not half a page, it is an error.
/// let half = Lz4.decompress(&mut workspace, &out[..len / 2], &mut [0; 4096]);
/// assert!(half.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lz4;

/// The hash table of the LZ4 compressor: 16448 bytes, aligned to 64, no pointers.
///
/// The decompressor does not use it. The constructors are `const`, so that a workspace can live
/// in a `static` and never pass through a stack:
///
/// ```
/// use std::sync::Mutex;
/// use compress::{Codec, Lz4, Lz4Workspace};
///
/// static WORKSPACE: Mutex<Lz4Workspace> = Mutex::new(Lz4Workspace::small());
///
/// let mut out = [0; 4525];
/// let mut workspace = WORKSPACE.lock().unwrap();
/// assert!(Lz4.compress(&mut workspace, &[1; 4096], &mut out).is_ok());
/// ```
pub struct Lz4Workspace {
    table: Table,
}

/// Where five bytes were seen last, by their hash.
#[repr(align(64))]
enum Table {
    /// Of our own encoders: pages take the first half, patches both.
    Small([[u16; encode::ENTRIES]; patch::ENTRIES / encode::ENTRIES]),
    /// Of `lz4_flex`, for longer pages.
    Large(CompressTable),
}

impl Lz4Workspace {
    /// A table of 8192 16-bit entries, for pages of up to 65534 bytes. Half of it is used, and cleared, for
    /// every page, all of it for every patch.
    #[must_use]
    pub const fn small() -> Self {
        Self {
            table: Table::Small([[0; encode::ENTRIES]; patch::ENTRIES / encode::ENTRIES]),
        }
    }

    /// A table of 4096 32-bit entries, for pages of up to [`PAGE_LEN_MAX`]. 16 KiB of it are
    /// cleared for every page.
    #[must_use]
    pub const fn large() -> Self {
        Self {
            table: Table::Large(CompressTable::large()),
        }
    }

    /// The longest page this workspace takes, in bytes.
    #[must_use]
    pub const fn page_len_max(&self) -> usize {
        match self.table {
            Table::Small(_) => SMALL_PAGE_LEN_MAX,
            Table::Large(_) => PAGE_LEN_MAX,
        }
    }
}

impl fmt::Debug for Lz4Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lz4Workspace")
            .field("page_len_max", &self.page_len_max())
            .finish_non_exhaustive()
    }
}

impl Lz4 {
    /// [`decompress`](Codec::decompress), which needs no workspace.
    #[cfg(feature = "alloc")]
    pub(crate) fn decode(compressed: &[u8], page: &mut [u8]) -> Result<(), DecompressError> {
        decode_by(VECTORS, compressed, page)
    }
}

impl Codec for Lz4 {
    type Workspace = Lz4Workspace;

    fn id(&self) -> CodecId {
        CodecId::Lz4
    }

    fn workspace(&self, page_len: usize) -> Result<Lz4Workspace, WorkspaceError> {
        check_page_len(page_len)?;
        if page_len <= SMALL_PAGE_LEN_MAX {
            Ok(Lz4Workspace::small())
        } else {
            Ok(Lz4Workspace::large())
        }
    }

    /// The 110 % and 20 bytes `lz4_flex` insists on; the format's own worst case is less.
    fn max_compressed_len(&self, page_len: usize) -> usize {
        page_len.saturating_add(page_len / 10).saturating_add(20)
    }

    fn compress(
        &self,
        workspace: &mut Lz4Workspace,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        // Past this check the library would swap a table that is too small for a larger one, made
        // on the stack unless the optimizer is kind.
        let max = workspace.page_len_max();
        if page.len() > max {
            return Err(CompressError::PageTooLong {
                max,
                got: page.len(),
            });
        }
        let got = out.len();
        let needed = self.max_compressed_len(page.len());
        // Either encoder asks for the room of the worst page.
        let too_small = CompressError::OutputTooSmall { needed, got };
        if got < needed {
            return Err(too_small);
        }
        match &mut workspace.table {
            Table::Small([table, _]) => encode::encode(page, out, table).ok_or(too_small),
            Table::Large(table) => {
                block::compress_into_with_table(page, out, table).map_err(|_| too_small)
            }
        }
    }

    fn decompress(
        &self,
        _workspace: &mut Lz4Workspace,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        decode_by(VECTORS, compressed, page)
    }

    fn patches(&self) -> bool {
        true
    }

    /// Reference and page have up to 65534 bytes together: offsets have 16 bits. A workspace for longer
    /// pages takes none at all.
    fn compress_patch(
        &self,
        workspace: &mut Lz4Workspace,
        both: &[u8],
        prefix: usize,
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        let (table, max) = match &mut workspace.table {
            Table::Small(table) => (table.as_flattened_mut(), SMALL_PAGE_LEN_MAX),
            Table::Large(_) => (&mut [][..], 0),
        };
        let page_len = page_len_behind(both, prefix, max)?;
        let (needed, got) = (self.max_compressed_len(page_len), out.len());
        patch::encode(both, prefix, out, table).ok_or(CompressError::OutputTooSmall { needed, got })
    }

    fn decompress_patch(
        &self,
        _workspace: &mut Lz4Workspace,
        reference: &[u8],
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        decode_patch_by(VECTORS, reference, compressed, page)
    }
}

/// How long the page behind the first `prefix` bytes is. Both together have at most `max` bytes.
#[inline]
fn page_len_behind(both: &[u8], prefix: usize, max: usize) -> Result<usize, CompressError> {
    let len = both.len();
    let Some(page_len) = len.checked_sub(prefix) else {
        let (max, got) = (len, prefix);
        return Err(CompressError::PrefixTooLong { max, got });
    };
    if len > max {
        return Err(CompressError::PageTooLong { max, got: len });
    }
    Ok(page_len)
}

/// Decodes one block to a whole page, by `lz4_flex` or by our own decoder.
fn decode_by(library: bool, compressed: &[u8], page: &mut [u8]) -> Result<(), DecompressError> {
    let expected = page.len();
    let longest = Lz4.max_compressed_len(expected);
    check_lengths(expected, compressed.len(), longest)?;
    let got = if library {
        block::decompress_into(compressed, page).map_err(fault)
    } else {
        decode::decode(compressed, page)
    };
    whole(got, expected)
}

/// Decodes one block whose matches may begin in another page, by `lz4_flex` or by our own decoder.
fn decode_patch_by(
    library: bool,
    reference: &[u8],
    compressed: &[u8],
    page: &mut [u8],
) -> Result<(), DecompressError> {
    let expected = page.len();
    let (max, got) = (SMALL_PAGE_LEN_MAX, reference.len().saturating_add(expected));
    if got > max {
        return Err(DecompressError::PageTooLong { max, got });
    }
    let longest = Lz4.max_compressed_len(expected);
    check_lengths(expected, compressed.len(), longest)?;
    let got = if library {
        block::decompress_into_with_dict(compressed, page, reference).map_err(fault)
    } else {
        decode::decode_behind(reference, compressed, page)
    };
    whole(got, expected)
}

/// Whether a whole page came out, and nothing went wrong.
fn whole(got: Result<usize, Fault>, expected: usize) -> Result<(), DecompressError> {
    let got = got.map_err(|fault| classify(fault, expected))?;
    if got != expected {
        return Err(DecompressError::Short { expected, got });
    }
    Ok(())
}

/// What `lz4_flex` found.
fn fault(error: block::DecompressError) -> Fault {
    match error {
        block::DecompressError::OutputTooSmall { expected, .. } => Fault::Long {
            got_at_least: expected,
        },
        block::DecompressError::LiteralOutOfBounds => Fault::Literals,
        block::DecompressError::ExpectedAnotherByte => Fault::Ends,
        block::DecompressError::OffsetZero => Fault::OffsetZero,
        block::DecompressError::OffsetOutOfBounds => Fault::Offset,
        _ => Fault::Other,
    }
}

fn classify(fault: Fault, page_len: usize) -> DecompressError {
    let reason = match fault {
        Fault::Long { got_at_least } => {
            return DecompressError::Long {
                expected: page_len,
                got_at_least,
            };
        }
        Fault::Literals => "literals reach past the end of the stream",
        Fault::Ends => "stream ends inside a sequence",
        Fault::OffsetZero => "match with offset zero",
        Fault::Offset => "match starts before the page",
        Fault::Other => "not an LZ4 block",
    };
    DecompressError::Malformed {
        codec: CodecId::Lz4,
        reason,
    }
}
