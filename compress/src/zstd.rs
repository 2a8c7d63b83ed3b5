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

use core::fmt;

use zstd_safe::zstd_sys::{ZSTD_EndDirective, ZSTD_ErrorCode};
use zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, ErrorCode, FrameFormat, InBuffer, OutBuffer, ResetDirective,
};

use crate::codec::{Codec, CodecId, check_lengths, check_page_len};
use crate::error::{CompressError, DecompressError, ParseCodecError, WorkspaceError};

#[cfg(test)]
mod tests;

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
pub struct ZstdWorkspace {
    compressor: CCtx<'static>,
    decompressor: DCtx<'static>,
    /// The level `compressor` is set to.
    level: i32,
    /// The longest page, in bytes, `compressor` has tables for.
    page_len_max: usize,
}

impl ZstdWorkspace {
    /// The longest page this workspace compresses, in bytes.
    #[must_use]
    pub const fn page_len_max(&self) -> usize {
        self.page_len_max
    }

    /// The memory both contexts hold on the C heap, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.compressor
            .sizeof()
            .saturating_add(self.decompressor.sizeof())
    }

    fn set_level(&mut self, level: i32) -> Result<(), ErrorCode> {
        if self.level != level {
            self.compressor
                .set_parameter(CParameter::CompressionLevel(level))?;
            self.level = level;
        }
        Ok(())
    }
}

impl fmt::Debug for ZstdWorkspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZstdWorkspace")
            .field("level", &self.level)
            .field("page_len_max", &self.page_len_max)
            .finish_non_exhaustive()
    }
}

impl Codec for Zstd {
    type Workspace = ZstdWorkspace;

    fn id(&self) -> CodecId {
        CodecId::Zstd
    }

    fn workspace(&self, page_len: usize) -> Result<ZstdWorkspace, WorkspaceError> {
        check_page_len(page_len)?;
        let mut compressor = CCtx::try_create().ok_or(WorkspaceError::OutOfMemory)?;
        let mut decompressor = DCtx::try_create().ok_or(WorkspaceError::OutOfMemory)?;
        configure(&mut compressor, &mut decompressor, self.level)
            .and_then(|()| allocate_tables(&mut compressor, page_len))
            .map_err(|code| match is_out_of_memory(code) {
                true => WorkspaceError::OutOfMemory,
                false => WorkspaceError::Failed {
                    codec: CodecId::Zstd,
                    reason: zstd_safe::get_error_name(code),
                },
            })?;
        Ok(ZstdWorkspace {
            compressor,
            decompressor,
            level: self.level,
            page_len_max: page_len,
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
        if page.len() > workspace.page_len_max {
            return Err(CompressError::PageTooLong {
                max: workspace.page_len_max,
                got: page.len(),
            });
        }
        let result = workspace
            .set_level(self.level)
            .and_then(|()| workspace.compressor.compress2(out, page));
        result.map_err(|code| {
            // A failed call leaves its frame open, and the level cannot be changed inside one.
            // Ending a session cannot fail.
            let _ = workspace.compressor.reset(ResetDirective::SessionOnly);
            if is(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) {
                CompressError::OutputTooSmall {
                    needed: self.max_compressed_len(page.len()),
                    got: out.len(),
                }
            } else if is_out_of_memory(code) {
                CompressError::OutOfMemory
            } else {
                CompressError::Failed {
                    codec: CodecId::Zstd,
                    reason: zstd_safe::get_error_name(code),
                }
            }
        })
    }

    /// The decoder writes into `page` itself and refuses to pass its end; the window a frame
    /// asks for is never allocated.
    fn decompress(
        &self,
        workspace: &mut ZstdWorkspace,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        let expected = page.len();
        check_lengths(
            expected,
            compressed.len(),
            self.max_compressed_len(expected),
        )?;
        match workspace.decompressor.decompress(page, compressed) {
            Ok(got) if got == expected => Ok(()),
            Ok(got) => Err(DecompressError::Short { expected, got }),
            Err(code) if is(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) => {
                Err(DecompressError::Long {
                    expected,
                    got_at_least: expected.saturating_add(1),
                })
            }
            Err(code) => Err(DecompressError::Malformed {
                codec: CodecId::Zstd,
                reason: zstd_safe::get_error_name(code),
            }),
        }
    }
}

fn configure(
    compressor: &mut CCtx<'_>,
    decompressor: &mut DCtx<'_>,
    level: i32,
) -> Result<(), ErrorCode> {
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::Format(FrameFormat::Magicless),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        compressor.set_parameter(parameter)?;
    }
    decompressor.set_parameter(DParameter::Format(FrameFormat::Magicless))?;
    Ok(())
}

/// Makes zstd allocate what a page of `page_len` bytes needs: it does so when a frame starts, so
/// one is started and dropped. The streaming call takes a page more for its buffers than the
/// one-shot call will need, which is the price of knowing now that the memory is there.
fn allocate_tables(compressor: &mut CCtx<'_>, page_len: usize) -> Result<(), ErrorCode> {
    let mut header = [0; 32];
    compressor.set_pledged_src_size(Some(page_len as u64))?;
    compressor.compress_stream2(
        &mut OutBuffer::around(header.as_mut_slice()),
        &mut InBuffer::around(&[]),
        ZSTD_EndDirective::ZSTD_e_flush,
    )?;
    compressor.reset(ResetDirective::SessionOnly)?;
    Ok(())
}

/// zstd returns an error as its negated number in a `size_t`.
fn is(code: ErrorCode, error: ZSTD_ErrorCode) -> bool {
    code.wrapping_neg() == error as usize
}

fn is_out_of_memory(code: ErrorCode) -> bool {
    is(code, ZSTD_ErrorCode::ZSTD_error_memory_allocation)
}
