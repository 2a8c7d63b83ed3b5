//! zstd frames, by the C library behind `zstd-safe`.
//!
//! ```text
//! byte   0        1        2 .. 4     5 ..
//!      +--------+--------+----------+---------+
//!      | frame  | window | block    | block   |  one block up to 128 KiB of page,
//!      | descr. | descr. | header   |         |  else more of them
//!      +--------+--------+----------+---------+
//! ```
//! A regular frame would also carry 4 bytes of magic number, 2 of content size (less one, for the
//! window descriptor it replaces) and, if asked for, 4 of checksum.

use crate::codec::{Codec, CodecId, check_page_len};
use crate::error::{CompressError, DecompressError, ParseCodecError, WorkspaceError};

mod context;
mod dictionary;
#[cfg(test)]
mod tests;

pub(crate) use context::{Compressor, Decompressor};
pub use dictionary::train_dictionary;
pub(crate) use dictionary::{Dictionary, Encoders};

/// zstd at one level, one magicless frame without content size and checksum.
///
/// Only this codec's own frames are of use to it: a regular zstd file has four bytes of magic
/// number in front, which are read here as the start of a frame.
///
/// ```
/// use compress::{Codec, Zstd};
///
/// let zstd = Zstd::new(1)?;
/// let mut workspace = zstd.workspace(4096)?;
/// let mut out = vec![0; zstd.max_compressed_len(4096)];
/// let len = zstd.compress(&mut workspace, &[9; 4096], &mut out)?;
///
/// let mut page = [0; 4096];
/// zstd.decompress(&mut workspace, &out[..len], &mut page)?;
/// assert_eq!(page, [9; 4096]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zstd {
    level: i32,
}

impl Zstd {
    /// The fastest level taken here. Lower ones exist; they give up density for hardly any time.
    pub const LEVEL_MIN: i32 = -5;

    /// The densest level taken here: the last before those zstd calls `ultra`.
    pub const LEVEL_MAX: i32 = 19;

    /// The level of [`Zstd::default`]: zstd's own default, and what zram uses.
    pub const LEVEL_DEFAULT: i32 = 3;

    /// zstd at `level`. Level 0 is zstd's name for its default level.
    ///
    /// # Errors
    /// [`ParseCodecError::LevelOutOfRange`] outside of [`LEVEL_MIN`](Self::LEVEL_MIN) to
    /// [`LEVEL_MAX`](Self::LEVEL_MAX).
    ///
    /// ```
    /// use compress::{ParseCodecError, Zstd};
    ///
    /// assert_eq!(Zstd::new(19)?.level(), 19);
    /// assert!(Zstd::new(20).is_err());
    /// # Ok::<(), ParseCodecError>(())
    /// ```
    pub const fn new(level: i32) -> Result<Self, ParseCodecError> {
        if level < Self::LEVEL_MIN || level > Self::LEVEL_MAX {
            return Err(ParseCodecError::LevelOutOfRange {
                min: Self::LEVEL_MIN,
                max: Self::LEVEL_MAX,
                got: level,
            });
        }
        Ok(Self { level })
    }

    /// The level, as given to [`Zstd::new`].
    #[must_use]
    pub const fn level(&self) -> i32 {
        self.level
    }
}

impl Default for Zstd {
    fn default() -> Self {
        Self {
            level: Self::LEVEL_DEFAULT,
        }
    }
}

/// A compression and a decompression context of zstd, on the C heap.
///
/// All memory is taken when the workspace is made, so that neither direction can run out of it
/// later. The exception is a workspace used with another level than it was made for: its tables
/// may grow once, and an allocation that fails is then [`CompressError::OutOfMemory`].
#[derive(Debug)]
pub struct ZstdWorkspace {
    compressor: Compressor,
    decompressor: Decompressor,
}

impl ZstdWorkspace {
    /// The longest page this workspace compresses, in bytes.
    #[must_use]
    pub const fn page_len_max(&self) -> usize {
        self.compressor.page_len_max
    }

    /// The memory both contexts hold on the C heap, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.compressor
            .heap_bytes()
            .saturating_add(self.decompressor.heap_bytes())
    }

    pub(crate) fn decompressor(&mut self) -> &mut Decompressor {
        &mut self.decompressor
    }
}

impl Codec for Zstd {
    type Workspace = ZstdWorkspace;

    fn id(&self) -> CodecId {
        CodecId::Zstd
    }

    fn workspace(&self, page_len: usize) -> Result<ZstdWorkspace, WorkspaceError> {
        check_page_len(page_len)?;
        Ok(ZstdWorkspace {
            compressor: Compressor::new(*self, page_len)?,
            decompressor: Decompressor::new()?,
        })
    }

    /// `ZSTD_COMPRESSBOUND` of zstd.h: 1/256 more than the page, and up to 64 bytes more for
    /// pages of less than one block.
    fn max_compressed_len(&self, page_len: usize) -> usize {
        const BLOCK_LEN: usize = 128 << 10;
        let margin = BLOCK_LEN.saturating_sub(page_len) >> 11;
        page_len
            .saturating_add(page_len >> 8)
            .saturating_add(margin)
    }

    fn compress(
        &self,
        workspace: &mut ZstdWorkspace,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        workspace.compressor.compress(*self, None, page, out)
    }

    /// The decoder writes into `page` itself and refuses to pass its end; the window a frame
    /// asks for is never allocated.
    fn decompress(
        &self,
        workspace: &mut ZstdWorkspace,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        workspace.decompressor.decompress(None, compressed, page)
    }
}
