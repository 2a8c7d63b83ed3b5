//! The [`Codec`] trait, the numbers codecs are stored under, and the gathering of fragments.

use core::fmt;
use core::ops::Range;

use crate::error::{CompressError, DecompressError, ParseCodecError, WorkspaceError};
use crate::raw::Raw;

#[cfg(test)]
mod tests;

/// The longest page any codec takes, in bytes: 1 MiB, sixteen pages of 64 KiB.
///
/// The limit keeps every sum of lengths far from overflow, on 32-bit targets too: the longest
/// length an LZ4 stream can spell is 255 times its own length, and a stream of at most
/// `1.1 * PAGE_LEN_MAX + 20` bytes therefore stays under `2^29`.
pub const PAGE_LEN_MAX: usize = 1 << 20;

/// The most codecs that may stand beside the first one: with it four, as many as zram has.
pub const RUNGS_MAX: usize = 3;

/// Which codec made a stream: one byte, to be stored next to it.
///
/// The numbers are part of stored data and never change their meaning.
///
/// ```
/// use compress::CodecId;
///
/// assert_eq!(CodecId::try_from(1), Ok(CodecId::Lz4));
/// assert_eq!(CodecId::Zstd.as_u8(), 2);
/// assert!(CodecId::try_from(9).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum CodecId {
    /// The page itself, not compressed.
    Raw = 0,
    /// One LZ4 block.
    Lz4 = 1,
    /// One zstd frame without its magic number.
    Zstd = 2,
    /// The same, made with the dictionary of a `Ladder`.
    ZstdDict = 3,
    /// One zstd frame as above, of a page or unit whose words of eight bytes were taken apart: the first bytes of
    /// all words, then the second ones, and so on.
    ZstdPlanes = 4,
}

impl CodecId {
    /// The byte this codec is stored under.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The codec's name: `raw`, `lz4`, `zstd`, `zstd-dict` or `zstd-planes`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::ZstdDict => "zstd-dict",
            Self::ZstdPlanes => "zstd-planes",
        }
    }
}

impl TryFrom<u8> for CodecId {
    type Error = ParseCodecError;

    /// # Errors
    /// [`ParseCodecError::UnknownId`] for a byte no codec is stored under.
    fn try_from(byte: u8) -> Result<Self, ParseCodecError> {
        match byte {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Lz4),
            2 => Ok(Self::Zstd),
            3 => Ok(Self::ZstdDict),
            4 => Ok(Self::ZstdPlanes),
            got => Err(ParseCodecError::UnknownId { got }),
        }
    }
}

impl From<CodecId> for u8 {
    fn from(id: CodecId) -> Self {
        id.as_u8()
    }
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A way to make a page smaller, and to get it back.
///
/// Codecs are small values without state, shared freely; what changes while they work is in the
/// [`Workspace`](Codec::Workspace), one for each thread or CPU. No method allocates, except that
/// [`workspace`](Codec::workspace) may.
///
/// ```
/// use compress::{Codec, CompressError};
///
/// /// Works with every codec.
/// fn stored_len<C: Codec>(codec: &C, page: &[u8], out: &mut [u8]) -> Result<usize, CompressError> {
///     let mut workspace = codec.workspace(page.len()).expect("a page of sensible length");
///     codec.compress(&mut workspace, page, out)
/// }
///
/// assert_eq!(stored_len(&compress::Raw, &[1; 4096], &mut [0; 4096]), Ok(4096));
/// ```
pub trait Codec: Send + Sync {
    /// The memory this codec needs while it works, used again for every page.
    type Workspace: Send;

    /// The byte streams of this codec are stored under.
    fn id(&self) -> CodecId;

    /// The name of this codec, without its level: `raw`, `lz4`, `lz4hc`, `zstd`.
    fn name(&self) -> &'static str {
        self.id().name()
    }

    /// Makes a workspace for pages of up to `page_len` bytes.
    ///
    /// It is returned by value. Where the stack is small, as in a kernel, put it into a `static`
    /// instead, with the codec's own `const` constructors.
    ///
    /// # Errors
    /// [`WorkspaceError::PageTooLong`] when `page_len` is over [`PAGE_LEN_MAX`];
    /// [`WorkspaceError::OutOfMemory`] and [`WorkspaceError::Failed`] from a codec in C.
    fn workspace(&self, page_len: usize) -> Result<Self::Workspace, WorkspaceError>;

    /// The output room, in bytes, with which [`compress`](Codec::compress) never fails for lack
    /// of it, for a page of `page_len` bytes. Saturates at `usize::MAX`.
    fn max_compressed_len(&self, page_len: usize) -> usize;

    /// Compresses `page` into the start of `out`; returns the length of the stream in bytes.
    ///
    /// The stream may be longer than the page: whether it is worth keeping is the caller's
    /// decision.
    ///
    /// # Errors
    /// - [`CompressError::OutputTooSmall`] when `out` is shorter than
    ///   [`max_compressed_len`](Codec::max_compressed_len) and that is too short for this codec
    ///   and page.
    /// - [`CompressError::PageTooLong`] when the workspace was made for shorter pages.
    /// - [`CompressError::WrongWorkspace`] when it was made by another codec.
    /// - [`CompressError::OutOfMemory`] and [`CompressError::Failed`] from a codec in C.
    ///
    /// # Time complexity
    /// Linear in the length of the page.
    fn compress(
        &self,
        workspace: &mut Self::Workspace,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CompressError>;

    /// Decompresses the stream `compressed` into `page`, filling it exactly.
    ///
    /// `compressed` may be any bytes at all. `Ok` means that it decoded to `page.len()` bytes, all
    /// of them written; not that they are the bytes somebody once compressed.
    ///
    /// # Errors
    /// - [`DecompressError::Short`] and [`DecompressError::Long`] when the stream decodes to
    ///   another length than that of `page`.
    /// - [`DecompressError::Malformed`] when it is not a stream of this codec.
    /// - [`DecompressError::StreamTooLong`] when it is longer than this codec ever makes it for
    ///   such a page.
    /// - [`DecompressError::PageTooLong`] when `page` is over [`PAGE_LEN_MAX`].
    /// - [`DecompressError::WrongWorkspace`] when the workspace was made by another codec.
    ///
    /// After an error the contents of `page` are unspecified.
    ///
    /// # Time complexity
    /// Linear in the lengths of stream and page.
    fn decompress(
        &self,
        workspace: &mut Self::Workspace,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError>;

    /// Decompresses a stream that lies in several fragments, in order; see the function
    /// [`decompress_fragments`].
    ///
    /// # Errors
    /// Those of [`decompress`](Codec::decompress), and [`DecompressError::ScratchTooSmall`].
    fn decompress_fragments(
        &self,
        workspace: &mut Self::Workspace,
        fragments: &[&[u8]],
        scratch: &mut [u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        match fragments {
            [] => self.decompress(workspace, &[], page),
            [whole] => self.decompress(workspace, whole, page),
            parts => self.decompress(workspace, gather(parts, scratch)?, page),
        }
    }

    /// How many denser codecs stand beside this one: 0 to [`RUNGS_MAX`]. Rung 0 is the codec itself.
    fn rungs(&self) -> usize {
        0
    }

    /// [`compress`](Codec::compress) by a denser codec. With a rung over 0, `page` may be a *unit*:
    /// several pages one after the other, up to [`unit_len_max`](Codec::unit_len_max) bytes.
    ///
    /// Returns the id that the stream is to be stored under, as a rung may have several ways, and its length.
    ///
    /// # Errors
    /// Those of [`compress`](Codec::compress), [`CompressError::NoSuchRung`], and
    /// [`CompressError::ReadersWorkspace`] when the workspace was made for reading only.
    fn compress_rung(
        &self,
        rung: usize,
        workspace: &mut Self::Workspace,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<(CodecId, usize), CompressError> {
        match rung {
            0 => Ok((self.id(), self.compress(workspace, page, out)?)),
            got => Err(CompressError::NoSuchRung {
                max: self.rungs(),
                got,
            }),
        }
    }

    /// Decompresses a stream that was stored under `id`, whichever rung made it.
    ///
    /// # Errors
    /// Those of [`decompress`](Codec::decompress), and [`DecompressError::UnknownCodec`] when no rung's
    /// streams are stored under `id`. Raw pages are always understood.
    fn decompress_id(
        &self,
        id: CodecId,
        workspace: &mut Self::Workspace,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        if id == self.id() {
            self.decompress(workspace, compressed, page)
        } else if id == CodecId::Raw {
            Raw.decompress(&mut (), compressed, page)
        } else {
            Err(DecompressError::UnknownCodec { got: id })
        }
    }

    /// Whether this codec makes patches: pages as a difference against another one.
    fn patches(&self) -> bool {
        false
    }

    /// Compresses the page `both[prefix..]` as a difference against the reference `both[..prefix]`.
    ///
    /// [`max_compressed_len`](Codec::max_compressed_len) of the page's length is room enough.
    ///
    /// # Errors
    /// Those of [`compress`](Codec::compress) (with the length of both for that of the page),
    /// [`CompressError::NoPatches`], and [`CompressError::PrefixTooLong`] when the reference would be
    /// longer than `both`.
    ///
    /// # Time complexity
    /// Linear in the length of both.
    fn compress_patch(
        &self,
        workspace: &mut Self::Workspace,
        both: &[u8],
        prefix: usize,
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        let _ = (workspace, both, prefix, out);
        Err(CompressError::NoPatches)
    }

    /// Decompresses what [`compress_patch`](Codec::compress_patch) made into `page`, filling it exactly,
    /// with the reference that it was made against.
    ///
    /// Any bytes may be given. With another reference the result is an error or another page.
    ///
    /// # Errors
    /// Those of [`decompress`](Codec::decompress), and [`DecompressError::NoPatches`].
    fn decompress_patch(
        &self,
        workspace: &mut Self::Workspace,
        reference: &[u8],
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        let _ = (workspace, reference, compressed, page);
        Err(DecompressError::NoPatches)
    }

    /// The length in bytes of the longest unit that [`compress_rung`](Codec::compress_rung) and
    /// [`decompress_unit`](Codec::decompress_unit) take: 0 where there are no units.
    fn unit_len_max(&self) -> usize {
        0
    }

    /// Decompresses a whole unit of `unit_len` bytes into a buffer that goes with the workspace, and gives it
    /// to `done`, once.
    ///
    /// One fragment is read where it lies; several are first copied together, into another such
    /// buffer. `verify` is then given all bytes; it returns where in them the stream lies (behind a
    /// header, before a checksum), or `None` if they are not what was stored. Others may wait for the buffers
    /// meanwhile: `verify` and `done` must not wait for them.
    ///
    /// # Errors
    /// Those of [`decompress_id`](Codec::decompress_id);
    /// [`DecompressError::UnitTooLong`] when `unit_len` is over [`unit_len_max`](Codec::unit_len_max);
    /// [`DecompressError::ScratchTooSmall`] when several fragments are together longer than the longest
    /// stored unit; [`DecompressError::Rejected`] when `verify` returns `None` or a range that is not
    /// inside the bytes.
    fn decompress_unit(
        &self,
        id: CodecId,
        workspace: &mut Self::Workspace,
        fragments: &[&[u8]],
        unit_len: usize,
        verify: &mut dyn FnMut(&[u8]) -> Option<Range<usize>>,
        done: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DecompressError> {
        let _ = (id, workspace, fragments, verify, done);
        Err(DecompressError::UnitTooLong {
            max: self.unit_len_max(),
            got: unit_len,
        })
    }
}

/// Decompresses a stream that lies in several fragments, in order, into `page`.
///
/// One fragment is decoded where it lies and `scratch` may be empty. Several are first copied
/// together into `scratch`; [`Codec::max_compressed_len`] bytes of it are enough for every stream
/// the codec made. [`Raw`](crate::Raw) copies the fragments straight to the page and never looks
/// at `scratch`.
///
/// # Errors
/// Those of [`Codec::decompress`], and [`DecompressError::ScratchTooSmall`] when several
/// fragments are together longer than `scratch`.
///
/// # Time complexity
/// As [`Codec::decompress`], plus one copy of the stream.
///
/// ```
/// use compress::{Raw, decompress_fragments};
///
/// let mut page = [0; 6];
/// decompress_fragments(&Raw, &mut (), &[b"abcd", b"ef"], &mut [], &mut page)?;
/// assert_eq!(&page, b"abcdef");
/// # Ok::<(), compress::DecompressError>(())
/// ```
pub fn decompress_fragments<C: Codec>(
    codec: &C,
    workspace: &mut C::Workspace,
    fragments: &[&[u8]],
    scratch: &mut [u8],
    page: &mut [u8],
) -> Result<(), DecompressError> {
    codec.decompress_fragments(workspace, fragments, scratch, page)
}

/// The length of all fragments together. Saturates: the same bytes may be listed many times.
pub(crate) fn total_len(fragments: &[&[u8]]) -> usize {
    fragments
        .iter()
        .fold(0_usize, |sum, fragment| sum.saturating_add(fragment.len()))
}

/// Copies `fragments` one after the other into `target`, as far as both reach.
pub(crate) fn concatenate(fragments: &[&[u8]], target: &mut [u8]) {
    let mut rest = target;
    for fragment in fragments {
        let Some((part, after)) = rest.split_at_mut_checked(fragment.len()) else {
            return;
        };
        part.copy_from_slice(fragment);
        rest = after;
    }
}

pub(crate) fn gather<'a>(
    fragments: &[&[u8]],
    scratch: &'a mut [u8],
) -> Result<&'a [u8], DecompressError> {
    let needed = total_len(fragments);
    let got = scratch.len();
    let Some(stream) = scratch.get_mut(..needed) else {
        return Err(DecompressError::ScratchTooSmall { needed, got });
    };
    concatenate(fragments, stream);
    Ok(stream)
}

/// Refuses what the decoders of compressed streams need not look at: pages over the limit, and
/// streams longer than the codec's longest, which bounds the work a hostile stream can cause.
#[cfg(any(feature = "lz4", feature = "zstd"))]
pub(crate) fn check_lengths(
    page_len: usize,
    stream_len: usize,
    stream_len_max: usize,
) -> Result<(), DecompressError> {
    if page_len > PAGE_LEN_MAX {
        return Err(DecompressError::PageTooLong {
            max: PAGE_LEN_MAX,
            got: page_len,
        });
    }
    if stream_len > stream_len_max {
        return Err(DecompressError::StreamTooLong {
            max: stream_len_max,
            got: stream_len,
        });
    }
    Ok(())
}

/// The limit every codec's `workspace` checks first.
pub(crate) fn check_page_len(page_len: usize) -> Result<(), WorkspaceError> {
    if page_len > PAGE_LEN_MAX {
        return Err(WorkspaceError::PageTooLong {
            max: PAGE_LEN_MAX,
            got: page_len,
        });
    }
    Ok(())
}
