//! What can go wrong: one small enum for each family of operations.

use core::error::Error;
use core::fmt;

use crate::codec::CodecId;

#[cfg(test)]
mod tests;

/// Why [`Codec::workspace`](crate::Codec::workspace) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkspaceError {
    /// Pages this long are not supported. Lengths in bytes.
    PageTooLong {
        /// The longest supported page.
        max: usize,
        /// The page length asked for.
        got: usize,
    },
    /// A codec in C got no memory for its contexts.
    OutOfMemory,
    /// A codec in C refused its parameters.
    Failed {
        /// The codec.
        codec: CodecId,
        /// What the codec's library says about it.
        reason: &'static str,
    },
}

impl fmt::Display for WorkspaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageTooLong { max, got } => page_too_long(f, *max, *got),
            Self::OutOfMemory => f.write_str("no memory for the codec's contexts"),
            Self::Failed { codec, reason } => write!(f, "{codec} workspace: {reason}"),
        }
    }
}

impl Error for WorkspaceError {}

/// Why [`Codec::compress`](crate::Codec::compress) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompressError {
    /// The output buffer is too short. Lengths in bytes.
    OutputTooSmall {
        /// A length that is always enough for such a page.
        needed: usize,
        /// The length of the buffer.
        got: usize,
    },
    /// The workspace was made for shorter pages. Lengths in bytes.
    PageTooLong {
        /// The longest page this workspace takes.
        max: usize,
        /// The length of the page.
        got: usize,
    },
    /// The workspace was made by another codec.
    WrongWorkspace {
        /// The codec that was asked to work.
        expected: CodecId,
        /// The codec that made the workspace.
        got: CodecId,
    },
    /// There is no denser codec of this number.
    NoSuchRung {
        /// The highest rung there is.
        max: usize,
        /// The rung asked for.
        got: usize,
    },
    /// The workspace was made for reading: it has no memory for this rung's compressor.
    ReadersWorkspace {
        /// The rung asked for.
        rung: usize,
    },
    /// This codec makes no patches.
    NoPatches,
    /// The reference is longer than reference and page together. Lengths in bytes.
    PrefixTooLong {
        /// The length of both.
        max: usize,
        /// The length of the reference.
        got: usize,
    },
    /// A codec in C got no memory.
    OutOfMemory,
    /// A codec in C failed for a reason of its own.
    Failed {
        /// The codec.
        codec: CodecId,
        /// What the codec's library says about it.
        reason: &'static str,
    },
}

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutputTooSmall { needed, got } => write!(
                f,
                "output buffer too small: {needed} bytes are always enough, got {got}"
            ),
            Self::PageTooLong { max, got } => page_too_long(f, *max, *got),
            Self::WrongWorkspace { expected, got } => wrong_workspace(f, *expected, *got),
            Self::NoSuchRung { max, got } => {
                write!(f, "no such denser codec: expected at most {max}, got {got}")
            }
            Self::ReadersWorkspace { rung } => write!(
                f,
                "workspace without a compressor for denser codec {rung}: expected a worker's, got a reader's"
            ),
            Self::NoPatches => f.write_str("this codec makes no patches: only lz4 does"),
            Self::PrefixTooLong { max, got } => write!(
                f,
                "reference too long: both are {max} bytes, the reference alone {got}"
            ),
            Self::OutOfMemory => f.write_str("no memory for the codec's tables"),
            Self::Failed { codec, reason } => write!(f, "{codec} failed: {reason}"),
        }
    }
}

impl Error for CompressError {}

/// Why [`Codec::decompress`](crate::Codec::decompress) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecompressError {
    /// The stream decodes to fewer bytes than the page has.
    Short {
        /// The length of the page in bytes.
        expected: usize,
        /// The number of bytes decoded.
        got: usize,
    },
    /// The stream decodes to more bytes than the page has.
    Long {
        /// The length of the page in bytes.
        expected: usize,
        /// The decoded length in bytes as far as it is known: the decoder stops at the end of
        /// the page, and the stream may go on.
        got_at_least: usize,
    },
    /// The bytes are not a stream of this codec.
    Malformed {
        /// The codec.
        codec: CodecId,
        /// What the codec's library says about them.
        reason: &'static str,
    },
    /// The stream is longer than the codec makes it for any page of this length. Lengths in
    /// bytes.
    StreamTooLong {
        /// The longest stream for such a page.
        max: usize,
        /// The length of this one.
        got: usize,
    },
    /// Pages this long are not supported. Lengths in bytes.
    PageTooLong {
        /// The longest supported page.
        max: usize,
        /// The length of the page.
        got: usize,
    },
    /// Several fragments do not fit into the scratch buffer together. Lengths in bytes.
    ScratchTooSmall {
        /// The length of all fragments.
        needed: usize,
        /// The length of the buffer.
        got: usize,
    },
    /// The workspace was made by another codec.
    WrongWorkspace {
        /// The codec that was asked to work.
        expected: CodecId,
        /// The codec that made the workspace.
        got: CodecId,
    },
    /// None of the codecs in use stores its streams under this id.
    UnknownCodec {
        /// The id.
        got: CodecId,
    },
    /// This codec makes no patches.
    NoPatches,
    /// Units this long are not supported; 0: none are. Lengths in bytes.
    UnitTooLong {
        /// The longest supported unit.
        max: usize,
        /// The length of the unit.
        got: usize,
    },
    /// The caller's own check says that these are not the bytes that were stored.
    Rejected,
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { expected, got } => write!(
                f,
                "stream decodes to too few bytes: expected {expected}, got {got}"
            ),
            Self::Long {
                expected,
                got_at_least,
            } => write!(
                f,
                "stream decodes to too many bytes: expected {expected}, got at least {got_at_least}"
            ),
            Self::Malformed { codec, reason } => {
                write!(
                    f,
                    "expected a stream of {codec}, got bytes with a fault: {reason}"
                )
            }
            Self::StreamTooLong { max, got } => write!(
                f,
                "stream too long for the page: expected at most {max} bytes, got {got}"
            ),
            Self::PageTooLong { max, got } => page_too_long(f, *max, *got),
            Self::ScratchTooSmall { needed, got } => write!(
                f,
                "scratch buffer too small for the fragments: expected {needed} bytes, got {got}"
            ),
            Self::WrongWorkspace { expected, got } => wrong_workspace(f, *expected, *got),
            Self::UnknownCodec { got } => {
                write!(f, "stream of {got}, which is none of the codecs in use")
            }
            Self::NoPatches => f.write_str("this codec makes no patches: only lz4 does"),
            Self::UnitTooLong { max, got } => {
                write!(f, "unit too long: expected at most {max} bytes, got {got}")
            }
            Self::Rejected => f.write_str("the stored bytes do not pass their check"),
        }
    }
}

impl Error for DecompressError {}

/// Why a name, a level or a stored byte does not stand for a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseCodecError {
    /// No codec has this name.
    UnknownName,
    /// No codec is stored under this byte.
    UnknownId {
        /// The byte.
        got: u8,
    },
    /// Streams with a dictionary are read by the ladder that has it.
    NeedsDictionary,
    /// Streams of words taken apart are read by a ladder.
    NeedsLadder,
    /// `lz4hc` needs LZ4 and the global allocator, and this build was made without one of their features.
    NoLz4Hc,
    /// What follows `zstd:` is not a number.
    LevelNotANumber,
    /// zstd has no such level here.
    LevelOutOfRange {
        /// The lowest (fastest) level.
        min: i32,
        /// The highest (densest) level.
        max: i32,
        /// The level asked for.
        got: i32,
    },
    /// The codec exists, but this build was made without its feature.
    NotInThisBuild {
        /// The codec.
        codec: CodecId,
    },
}

/// What this build accepts as the name of a codec.
pub(crate) const ACCEPTED: &str = match (
    cfg!(feature = "lz4"),
    cfg!(feature = "alloc"),
    cfg!(feature = "zstd"),
) {
    (false, _, false) => "raw",
    (true, false, _) => "raw, lz4",
    (true, true, false) => "raw, lz4, lz4hc",
    (false, _, true) => "raw, zstd, zstd:LEVEL (LEVEL from -5 to 19)",
    (true, true, true) => "raw, lz4, lz4hc, zstd, zstd:LEVEL (LEVEL from -5 to 19)",
};

impl fmt::Display for ParseCodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName => write!(f, "no codec of this name: expected one of {ACCEPTED}"),
            Self::UnknownId { got } => write!(
                f,
                "no codec under this byte: expected 0 (raw), 1 (lz4), 2 (zstd) or 3 (zstd-dict), got {got}"
            ),
            Self::LevelNotANumber => write!(
                f,
                "the zstd level is not a number: expected one of {ACCEPTED}"
            ),
            Self::LevelOutOfRange { min, max, got } => {
                write!(f, "no such zstd level: expected {min} to {max}, got {got}")
            }
            Self::NeedsDictionary => f.write_str(
                "streams of zstd-dict are read by the list of codecs that has the dictionary, not by one codec",
            ),
            Self::NeedsLadder => f.write_str(
                "streams of zstd-planes are read by a list of codecs with zstd, not by one codec",
            ),
            Self::NoLz4Hc => {
                write!(f, "this build has no lz4hc: expected one of {ACCEPTED}")
            }
            Self::NotInThisBuild { codec } => {
                write!(f, "this build has no {codec}: expected one of {ACCEPTED}")
            }
        }
    }
}

impl Error for ParseCodecError {}

/// Why codecs do not make a `Ladder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LadderError {
    /// More denser codecs than there can be.
    TooManyRungs {
        /// The most.
        max: usize,
        /// The number given.
        got: usize,
    },
    /// `raw` and `lz4` are denser than nothing.
    NotDenser {
        /// Which of the denser codecs, from 1.
        rung: usize,
    },
    /// The same codec, with the same level, stands before it.
    Repeated {
        /// Which of the denser codecs, from 1.
        rung: usize,
    },
    /// One of the names is that of no codec.
    Parse(ParseCodecError),
}

impl fmt::Display for LadderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRungs { max, got } => write!(
                f,
                "too many denser codecs: expected at most {max} behind the first one, got {got}"
            ),
            Self::NotDenser { rung } => write!(
                f,
                "denser codec {rung} is not dense: expected lz4hc or zstd:LEVEL, got raw or lz4"
            ),
            Self::Repeated { rung } => {
                write!(f, "denser codec {rung} stands in the list twice")
            }
            Self::Parse(error) => error.fmt(f),
        }
    }
}

impl Error for LadderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Parse(error) => Some(error),
            _ => None,
        }
    }
}

/// Why there is no dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DictionaryError {
    /// None of the denser codecs is zstd.
    NoZstd,
    /// There is one already; its streams need it.
    Installed,
    /// No dictionary is this long. Lengths in bytes.
    Length {
        /// The shortest.
        min: usize,
        /// The longest.
        max: usize,
        /// The length given.
        got: usize,
    },
    /// The samples are none, too many, or not whole pages. Lengths in bytes.
    Samples {
        /// The length of a page.
        page_len: usize,
        /// The length of all samples.
        got: usize,
    },
    /// zstd makes nothing of these bytes, or has no memory.
    Refused,
}

impl fmt::Display for DictionaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoZstd => f.write_str(
                "a dictionary is for zstd: expected one among the denser codecs, such as `lz4 zstd:6`",
            ),
            Self::Installed => f.write_str("there is a dictionary already, and streams need it"),
            Self::Length { min, max, got } => write!(
                f,
                "dictionary length: expected {min} to {max} bytes, got {got}"
            ),
            Self::Samples { page_len, got } => write!(
                f,
                "samples for a dictionary: expected whole pages of {page_len} bytes, up to 64 MiB, got {got} bytes"
            ),
            Self::Refused => {
                f.write_str("zstd makes no dictionary of these bytes, or has no memory for it")
            }
        }
    }
}

impl Error for DictionaryError {}

fn page_too_long(f: &mut fmt::Formatter<'_>, max: usize, got: usize) -> fmt::Result {
    write!(f, "page too long: expected at most {max} bytes, got {got}")
}

fn wrong_workspace(f: &mut fmt::Formatter<'_>, expected: CodecId, got: CodecId) -> fmt::Result {
    write!(
        f,
        "workspace of another codec: expected one of {expected}, got one of {got}"
    )
}
