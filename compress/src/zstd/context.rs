//! zstd's contexts: one for each direction, on the C heap.

use core::fmt;

use zstd_safe::zstd_sys::{ZSTD_EndDirective, ZSTD_ErrorCode};
use zstd_safe::{
    CCtx, CDict, CParameter, DCtx, DParameter, ErrorCode, FrameFormat, InBuffer, OutBuffer,
    ParamSwitch, ResetDirective,
};

use super::Zstd;
use crate::codec::{Codec, CodecId, check_lengths};
use crate::error::{CompressError, DecompressError, WorkspaceError};

/// Compresses, at one level or at several.
pub(crate) struct Compressor {
    context: CCtx<'static>,
    /// The level `context` is set to.
    level: i32,
    /// The longest page, in bytes, `context` has tables for.
    pub(super) page_len_max: usize,
}

impl Compressor {
    /// A context with tables for pages of `page_len` bytes.
    pub(crate) fn new(zstd: Zstd, page_len: usize) -> Result<Self, WorkspaceError> {
        let mut new = Self::empty(zstd.level, page_len)?;
        new.allocate_tables().map_err(failed)?;
        Ok(new)
    }

    /// A context with tables for units of up to `unit_len` bytes at all of `levels`.
    ///
    /// Once it has made 128 frames, zstd gives back tables three times as large as a frame needs (counted
    /// since it took them), and takes larger ones again for a frame that needs them. So a frame may run out
    /// of memory; which costs nothing but that frame.
    pub(crate) fn shared(levels: &[Zstd], unit_len: usize) -> Result<Self, WorkspaceError> {
        let level = levels.first().copied().unwrap_or_default().level;
        let mut new = Self::empty(level, unit_len)?;
        // Pages of a unit differ in what they hold. zstd looks by itself whether its parts are better coded each
        // in its own way, but only in longer frames.
        new.context
            .set_parameter(CParameter::UseBlockSplitter(ParamSwitch::Enable))
            .map_err(failed)?;
        for zstd in levels {
            new.set_level(zstd.level)
                .and_then(|()| new.allocate_tables())
                .map_err(failed)?;
        }
        Ok(new)
    }

    fn empty(level: i32, page_len: usize) -> Result<Self, WorkspaceError> {
        let context = CCtx::try_create().ok_or(WorkspaceError::OutOfMemory)?;
        let mut new = Self {
            context,
            level,
            page_len_max: page_len,
        };
        new.configure(level).map_err(failed)?;
        Ok(new)
    }

    fn configure(&mut self, level: i32) -> Result<(), ErrorCode> {
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::Format(FrameFormat::Magicless),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ] {
            self.context.set_parameter(parameter)?;
        }
        Ok(())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.context.sizeof()
    }

    fn set_level(&mut self, level: i32) -> Result<(), ErrorCode> {
        if self.level != level {
            self.context
                .set_parameter(CParameter::CompressionLevel(level))?;
            self.level = level;
        }
        Ok(())
    }

    /// Makes zstd allocate what a page of `page_len_max` bytes needs: it does so when a frame starts, so
    /// one is started and dropped. The streaming call takes a page more for its buffers than the
    /// one-shot call will need, which is the price of knowing now that the memory is there.
    fn allocate_tables(&mut self) -> Result<(), ErrorCode> {
        let mut header = [0; 32];
        self.context
            .set_pledged_src_size(Some(self.page_len_max as u64))?;
        self.context.compress_stream2(
            &mut OutBuffer::around(header.as_mut_slice()),
            &mut InBuffer::around(&[]),
            ZSTD_EndDirective::ZSTD_e_flush,
        )?;
        self.context.reset(ResetDirective::SessionOnly)?;
        Ok(())
    }

    fn compress_plain(
        &mut self,
        zstd: Zstd,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, ErrorCode> {
        self.set_level(zstd.level)?;
        let result = self.context.compress2(out, page);
        if result.is_err() {
            self.end_frame();
        }
        result
    }

    /// The context knows the dictionary as long as this call takes: it does not keep it alive. The level is
    /// the dictionary's.
    fn compress_with(
        &mut self,
        dictionary: &CDict<'static>,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, ErrorCode> {
        self.context.ref_cdict(dictionary)?;
        let result = self.context.compress2(out, page);
        if result.is_err() {
            self.end_frame();
        }
        // Between frames it cannot fail.
        self.context.disable_dictionary()?;
        result
    }

    /// A failed call leaves its frame open, and neither level nor dictionary can be changed inside one.
    /// Ending a session cannot fail.
    fn end_frame(&mut self) {
        let _ = self.context.reset(ResetDirective::SessionOnly);
    }

    pub(crate) fn compress(
        &mut self,
        zstd: Zstd,
        dictionary: Option<&CDict<'static>>,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        if page.len() > self.page_len_max {
            return Err(CompressError::PageTooLong {
                max: self.page_len_max,
                got: page.len(),
            });
        }
        let result = match dictionary {
            None => self.compress_plain(zstd, page, out),
            Some(dictionary) => self.compress_with(dictionary, page, out),
        };
        result.map_err(|code| {
            if is(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) {
                CompressError::OutputTooSmall {
                    needed: zstd.max_compressed_len(page.len()),
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
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("level", &self.level)
            .field("page_len_max", &self.page_len_max)
            .finish_non_exhaustive()
    }
}

/// Decompresses what any level made.
pub(crate) struct Decompressor {
    context: DCtx<'static>,
}

impl Decompressor {
    pub(crate) fn new() -> Result<Self, WorkspaceError> {
        let mut context = DCtx::try_create().ok_or(WorkspaceError::OutOfMemory)?;
        context
            .set_parameter(DParameter::Format(FrameFormat::Magicless))
            .map_err(failed)?;
        Ok(Self { context })
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.context.sizeof()
    }

    pub(crate) fn decompress(
        &mut self,
        dictionary: Option<&[u8]>,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        let expected = page.len();
        let longest = Zstd::default().max_compressed_len(expected);
        check_lengths(expected, compressed.len(), longest)?;
        let id = match dictionary {
            None => CodecId::Zstd,
            Some(_) => CodecId::ZstdDict,
        };
        let result = match dictionary {
            None => self.context.decompress(page, compressed),
            Some(dictionary) => {
                let context = &mut self.context;
                context.decompress_using_dict(page, compressed, dictionary)
            }
        };
        match result {
            Ok(got) if got == expected => Ok(()),
            Ok(got) => Err(DecompressError::Short { expected, got }),
            Err(code) if is(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) => {
                Err(DecompressError::Long {
                    expected,
                    got_at_least: expected.saturating_add(1),
                })
            }
            Err(code) => Err(DecompressError::Malformed {
                codec: id,
                reason: zstd_safe::get_error_name(code),
            }),
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

fn failed(code: ErrorCode) -> WorkspaceError {
    match is_out_of_memory(code) {
        true => WorkspaceError::OutOfMemory,
        false => WorkspaceError::Failed {
            codec: CodecId::Zstd,
            reason: zstd_safe::get_error_name(code),
        },
    }
}

/// zstd returns an error as its negated number in a `size_t`.
fn is(code: ErrorCode, error: ZSTD_ErrorCode) -> bool {
    code.wrapping_neg() == error as usize
}

fn is_out_of_memory(code: ErrorCode) -> bool {
    is(code, ZSTD_ErrorCode::ZSTD_error_memory_allocation)
}
