//! A codec chosen at run time, by name.

use core::fmt;
use core::str::FromStr;

use crate::codec::{Codec, CodecId};
use crate::error::{CompressError, DecompressError, ParseCodecError, WorkspaceError};
#[cfg(all(feature = "lz4", feature = "alloc"))]
use crate::lz4::{BoxedHc, Lz4Hc, Lz4HcBox};
#[cfg(feature = "lz4")]
use crate::lz4::{Lz4, Lz4Workspace};
use crate::raw::Raw;
#[cfg(feature = "zstd")]
use crate::zstd::{Zstd, ZstdWorkspace};

#[cfg(test)]
mod tests;

/// One of the codecs of this build.
///
/// Its text is what a user writes: `raw`, `lz4`, `lz4hc`, `zstd`, `zstd:LEVEL`. It prints as it parses,
/// always with the level. `zstd` alone is level 3: the library's own default, and what zram uses.
///
/// ```
/// use compress::{AnyCodec, Codec};
///
/// let codec: AnyCodec = "raw".parse()?;
/// assert_eq!(codec.name(), "raw");
///
/// let error = "gzip".parse::<AnyCodec>().unwrap_err();
/// assert!(error.to_string().contains("expected one of raw"));
/// # Ok::<(), compress::ParseCodecError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnyCodec {
    /// The page itself.
    Raw(Raw),
    /// LZ4 blocks.
    #[cfg(feature = "lz4")]
    Lz4(Lz4),
    /// LZ4 blocks, denser.
    #[cfg(all(feature = "lz4", feature = "alloc"))]
    Lz4Hc(Lz4Hc),
    /// zstd frames.
    #[cfg(feature = "zstd")]
    Zstd(Zstd),
}

/// The workspace of an [`AnyCodec`]: as large as the largest of this build, 16 KiB with LZ4.
///
/// A variant can be built directly from a workspace with a `const` constructor, to put it into a
/// `static`.
#[derive(Debug)]
#[non_exhaustive]
#[cfg_attr(
    feature = "lz4",
    expect(
        clippy::large_enum_variant,
        reason = "there is no allocator to box the LZ4 table with"
    )
)]
pub enum AnyWorkspace {
    /// Nothing.
    Raw,
    /// The LZ4 compressor's table.
    #[cfg(feature = "lz4")]
    Lz4(Lz4Workspace),
    /// The tables of the dense LZ4 compressor.
    #[cfg(all(feature = "lz4", feature = "alloc"))]
    Lz4Hc(Lz4HcBox),
    /// zstd's contexts.
    #[cfg(feature = "zstd")]
    Zstd(ZstdWorkspace),
}

impl AnyWorkspace {
    /// The codec this workspace belongs to.
    #[must_use]
    pub const fn id(&self) -> CodecId {
        match self {
            Self::Raw => CodecId::Raw,
            #[cfg(feature = "lz4")]
            Self::Lz4(_) => CodecId::Lz4,
            #[cfg(all(feature = "lz4", feature = "alloc"))]
            Self::Lz4Hc(_) => CodecId::Lz4,
            #[cfg(feature = "zstd")]
            Self::Zstd(_) => CodecId::Zstd,
        }
    }
}

/// Calls a method of the codec with its own workspace; the error when they do not belong together.
macro_rules! dispatch {
    ($self:ident, $workspace:ident, $method:ident($($argument:expr),*), $error:ident) => {
        match ($self, $workspace) {
            (Self::Raw(codec), AnyWorkspace::Raw) => codec.$method(&mut (), $($argument),*),
            #[cfg(feature = "lz4")]
            (Self::Lz4(codec), AnyWorkspace::Lz4(workspace)) => {
                codec.$method(workspace, $($argument),*)
            }
            #[cfg(all(feature = "lz4", feature = "alloc"))]
            (Self::Lz4Hc(_), AnyWorkspace::Lz4Hc(workspace)) => {
                BoxedHc.$method(workspace, $($argument),*)
            }
            #[cfg(feature = "zstd")]
            (Self::Zstd(codec), AnyWorkspace::Zstd(workspace)) => {
                codec.$method(workspace, $($argument),*)
            }
            #[allow(unreachable_patterns, reason = "with one codec in the build")]
            (codec, workspace) => Err($error::WrongWorkspace {
                expected: codec.id(),
                got: workspace.id(),
            }),
        }
    };
}

impl Codec for AnyCodec {
    type Workspace = AnyWorkspace;

    fn id(&self) -> CodecId {
        match self {
            Self::Raw(codec) => codec.id(),
            #[cfg(feature = "lz4")]
            Self::Lz4(codec) => codec.id(),
            #[cfg(all(feature = "lz4", feature = "alloc"))]
            Self::Lz4Hc(codec) => codec.id(),
            #[cfg(feature = "zstd")]
            Self::Zstd(codec) => codec.id(),
        }
    }

    /// `lz4hc` for the denser of the two whose streams are LZ4's.
    fn name(&self) -> &'static str {
        match self {
            #[cfg(all(feature = "lz4", feature = "alloc"))]
            Self::Lz4Hc(codec) => codec.name(),
            codec => codec.id().name(),
        }
    }

    fn workspace(&self, page_len: usize) -> Result<AnyWorkspace, WorkspaceError> {
        match self {
            Self::Raw(codec) => codec.workspace(page_len).map(|()| AnyWorkspace::Raw),
            #[cfg(feature = "lz4")]
            Self::Lz4(codec) => codec.workspace(page_len).map(AnyWorkspace::Lz4),
            #[cfg(all(feature = "lz4", feature = "alloc"))]
            Self::Lz4Hc(_) => BoxedHc.workspace(page_len).map(AnyWorkspace::Lz4Hc),
            #[cfg(feature = "zstd")]
            Self::Zstd(codec) => codec.workspace(page_len).map(AnyWorkspace::Zstd),
        }
    }

    fn max_compressed_len(&self, page_len: usize) -> usize {
        match self {
            Self::Raw(codec) => codec.max_compressed_len(page_len),
            #[cfg(feature = "lz4")]
            Self::Lz4(codec) => codec.max_compressed_len(page_len),
            #[cfg(all(feature = "lz4", feature = "alloc"))]
            Self::Lz4Hc(codec) => codec.max_compressed_len(page_len),
            #[cfg(feature = "zstd")]
            Self::Zstd(codec) => codec.max_compressed_len(page_len),
        }
    }

    fn compress(
        &self,
        workspace: &mut AnyWorkspace,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        dispatch!(self, workspace, compress(page, out), CompressError)
    }

    fn decompress(
        &self,
        workspace: &mut AnyWorkspace,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        dispatch!(
            self,
            workspace,
            decompress(compressed, page),
            DecompressError
        )
    }

    /// The codec's own, so that raw fragments are copied once here too.
    fn decompress_fragments(
        &self,
        workspace: &mut AnyWorkspace,
        fragments: &[&[u8]],
        scratch: &mut [u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        dispatch!(
            self,
            workspace,
            decompress_fragments(fragments, scratch, page),
            DecompressError
        )
    }

    fn patches(&self) -> bool {
        match self {
            Self::Raw(codec) => codec.patches(),
            #[cfg(feature = "lz4")]
            Self::Lz4(codec) => codec.patches(),
            #[cfg(all(feature = "lz4", feature = "alloc"))]
            Self::Lz4Hc(codec) => codec.patches(),
            #[cfg(feature = "zstd")]
            Self::Zstd(codec) => codec.patches(),
        }
    }

    fn compress_patch(
        &self,
        workspace: &mut AnyWorkspace,
        both: &[u8],
        prefix: usize,
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        dispatch!(
            self,
            workspace,
            compress_patch(both, prefix, out),
            CompressError
        )
    }

    fn decompress_patch(
        &self,
        workspace: &mut AnyWorkspace,
        reference: &[u8],
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        dispatch!(
            self,
            workspace,
            decompress_patch(reference, compressed, page),
            DecompressError
        )
    }
}

impl TryFrom<CodecId> for AnyCodec {
    type Error = ParseCodecError;

    /// The codec that decodes streams stored under `id`; zstd at its default level, which the
    /// decoder does not care about.
    ///
    /// # Errors
    /// [`ParseCodecError::NotInThisBuild`], [`ParseCodecError::NeedsDictionary`] and
    /// [`ParseCodecError::NeedsLadder`].
    fn try_from(id: CodecId) -> Result<Self, ParseCodecError> {
        match id {
            CodecId::Raw => Ok(Self::Raw(Raw)),
            #[cfg(feature = "lz4")]
            CodecId::Lz4 => Ok(Self::Lz4(Lz4)),
            #[cfg(feature = "zstd")]
            CodecId::Zstd => Ok(Self::Zstd(Zstd::default())),
            CodecId::ZstdDict => Err(ParseCodecError::NeedsDictionary),
            CodecId::ZstdPlanes => Err(ParseCodecError::NeedsLadder),
            #[allow(unreachable_patterns, reason = "with all codecs in the build")]
            codec => Err(ParseCodecError::NotInThisBuild { codec }),
        }
    }
}

impl FromStr for AnyCodec {
    type Err = ParseCodecError;

    /// # Errors
    /// Each says what is accepted: [`ParseCodecError::UnknownName`],
    /// [`ParseCodecError::LevelNotANumber`], [`ParseCodecError::LevelOutOfRange`],
    /// [`ParseCodecError::NotInThisBuild`].
    fn from_str(text: &str) -> Result<Self, ParseCodecError> {
        match text.split_once(':') {
            None => match text {
                "raw" => Self::try_from(CodecId::Raw),
                "lz4" => Self::try_from(CodecId::Lz4),
                "lz4hc" => lz4hc(),
                "zstd" => Self::try_from(CodecId::Zstd),
                _ => Err(ParseCodecError::UnknownName),
            },
            Some(("zstd", level)) => zstd_at(level),
            Some(_) => Err(ParseCodecError::UnknownName),
        }
    }
}

#[cfg(all(feature = "lz4", feature = "alloc"))]
fn lz4hc() -> Result<AnyCodec, ParseCodecError> {
    Ok(AnyCodec::Lz4Hc(Lz4Hc))
}

#[cfg(not(all(feature = "lz4", feature = "alloc")))]
fn lz4hc() -> Result<AnyCodec, ParseCodecError> {
    Err(ParseCodecError::NoLz4Hc)
}

#[cfg(feature = "zstd")]
fn zstd_at(level: &str) -> Result<AnyCodec, ParseCodecError> {
    let level = level
        .parse()
        .map_err(|_| ParseCodecError::LevelNotANumber)?;
    Zstd::new(level).map(AnyCodec::Zstd)
}

#[cfg(not(feature = "zstd"))]
fn zstd_at(_level: &str) -> Result<AnyCodec, ParseCodecError> {
    Err(ParseCodecError::NotInThisBuild {
        codec: CodecId::Zstd,
    })
}

impl fmt::Display for AnyCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw(_) => f.write_str("raw"),
            #[cfg(feature = "lz4")]
            Self::Lz4(_) => f.write_str("lz4"),
            #[cfg(all(feature = "lz4", feature = "alloc"))]
            Self::Lz4Hc(_) => f.write_str("lz4hc"),
            #[cfg(feature = "zstd")]
            Self::Zstd(zstd) => write!(f, "zstd:{}", zstd.level()),
        }
    }
}
