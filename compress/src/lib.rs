//! Page codecs of compcache: how the bytes of a page shrink.
//!
//! A **page** is a buffer of a fixed, known length (4096, 16384 or 65536 bytes as a rule, never
//! more than [`PAGE_LEN_MAX`]). A **codec** turns a page into a *stream* of bytes and back. A
//! **workspace** is the memory a codec needs while it works: made once for each CPU or thread,
//! used again for every page. A **fragment** is a contiguous part of a stored stream; an allocator
//! whose objects cross page boundaries hands a stream out as one or two of them.
//!
//! | codec | feature | workspace | stream |
//! |---|---|---|---|
//! | [`Raw`] | always | none | the page itself |
//! | `Lz4` | `lz4` (default) | 16 KiB, inline, fits a `static` | one LZ4 block, no frame |
//! | `Lz4Hc` | `lz4` | 544 KiB, inline, for a `static` | the same, shorter, made in ten times the time |
//! | `Zstd` | `zstd` | contexts on the C heap, 180 KiB and up | one zstd frame without magic, size and checksum |
//!
//! [`AnyCodec`] chooses one of them at run time, from a name such as `lz4` or `zstd:3` (and `lz4hc`, with the
//! feature `alloc`, as its tables are too large to be moved).
//!
//! What lies for a while is worth more work. `Ladder` (feature `alloc`) is a codec with up to three denser ones
//! beside it, its **rungs**: each stream is stored under the [`CodecId`] of the rung that made it, and every
//! workspace reads them all. Rungs also compress **units**: up to 64 KiB of neighbouring pages in one stream. With
//! zstd among the rungs, pages alone can share a **dictionary**, which `train_dictionary` makes from samples.
//!
//! A **patch** is a page as its difference against a *reference*, a page that is at hand when the patch is
//! read. `Lz4` makes them: LZ4 blocks whose matches may begin in the reference.
//!
//! Before any codec runs, [`same_filled()`] recognises the page that is one 8-byte word repeated:
//! such a page needs no stored bytes at all.
//!
//! The length of a page is never part of a stream: the caller knows it, and a stream that decodes
//! to any other length is an error. Neither is a checksum: a damaged stream may decode to a whole
//! but wrong page, which only the caller's own checksum can tell.
//!
//! # Example
//! ```
//! # #[cfg(feature = "lz4")] {
//! use compress::{Codec, Lz4, Lz4Workspace};
//!
//! let mut workspace = Lz4Workspace::small();
//! let page = [7_u8; 4096];
//! let mut out = [0; 4525]; // Lz4.max_compressed_len(4096)
//! let len = Lz4.compress(&mut workspace, &page, &mut out)?;
//! assert!(len < 64);
//!
//! let mut back = [0; 4096];
//! Lz4.decompress(&mut workspace, &out[..len], &mut back)?;
//! assert_eq!(back, page);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//! - No unsafe code in this crate, no floating point, no recursion. `no_std` and no allocator without the
//!   features `alloc` (workspaces come from the global allocator, when they are made) and `zstd` (contexts on the C
//!   heap; needs std, too).
//! - No bytes given to a decoder make it panic, read or write outside its buffers, or report a
//!   page that it did not fill completely.
//! - Work is linear in the lengths of input and page.
//!
//! # Limits
//! - After an error, the contents of the output buffer are unspecified: they may be a part of a
//!   page, and they may be bytes the buffer held before. Nothing is written outside the buffer.
//! - `Lz4::compress` wants room for the worst case (4525 bytes for 4096) however well the
//!   page shrinks, and cannot be told to give up early on a page that does not.
//! - `Lz4Workspace::small` needs half of its 16 KiB for pages; the other half is for patches.
//! - Reference and page of a patch have up to 65534 bytes together: there are none for pages of 64 KiB.
//! - `lz4_flex` must be built without its `alloc` feature, by every crate of the same build: with it
//!   the library's tables are boxes, its constructors are not `const`, and this crate does not
//!   compile.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(test, feature = "zstd"))]
extern crate std;

mod any;
mod codec;
mod error;
#[cfg(all(feature = "alloc", any(feature = "lz4", feature = "zstd")))]
mod ladder;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(all(feature = "alloc", any(feature = "lz4", feature = "zstd")))]
mod memory;
#[cfg(feature = "zstd")]
mod planes;
mod raw;
mod same_filled;
#[cfg(test)]
mod testing;
#[cfg(feature = "zstd")]
mod zstd;

pub use any::{AnyCodec, AnyWorkspace};
pub use codec::{Codec, CodecId, PAGE_LEN_MAX, RUNGS_MAX, decompress_fragments};
pub use error::{
    CompressError, DecompressError, DictionaryError, LadderError, ParseCodecError, WorkspaceError,
};
#[cfg(all(feature = "alloc", any(feature = "lz4", feature = "zstd")))]
pub use ladder::{Ladder, LadderWorkspace, READERS_MAX};
#[cfg(all(feature = "lz4", feature = "alloc"))]
pub use lz4::Lz4HcBox;
#[cfg(all(feature = "lz4", any(test, fuzzing)))]
#[doc(hidden)]
pub use lz4::OtherDecoder;
#[cfg(feature = "lz4")]
pub use lz4::{Lz4, Lz4Hc, Lz4HcWorkspace, Lz4Workspace};
pub use raw::Raw;
pub use same_filled::{fill, same_filled};
#[cfg(feature = "zstd")]
pub use zstd::{Zstd, ZstdWorkspace, train_dictionary};
