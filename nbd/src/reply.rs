//! Replies of the transmission.
//!
//! ```text
//!   simple      magic:32 error:32 cookie:64                          then the data of a read
//!   structured  magic:32 flags:16 type:16 cookie:64 len:32 payload   one or more, the last is DONE
//! ```

use crate::buffer::Outbox;
use crate::handshake::context_id;
use crate::wire::{Errno, SIMPLE_REPLY_MAGIC, STATE_HOLE_ZERO, STRUCTURED_REPLY_MAGIC, chunk};
use compcache_device::{Extent, ExtentKind};

/// What was agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) structured: bool,
    /// The client asked for `base:allocation`.
    pub(crate) allocation: bool,
}

/// Bytes before the data of a read: a chunk header and an offset.
pub(crate) const DATA_HEADER: usize = 20 + 8;
/// Bytes of any reply without data, error texts included.
pub(crate) const PLAIN_MAX: usize = 128;
/// Bytes of an extent in a reply.
pub(crate) const EXTENT: usize = 8;

/// An answer without data; `error` if it failed.
///
/// `must_structure` is for READ and BLOCK_STATUS, whose failures a client that agreed on structured
/// replies expects as such; for others a simple reply is right and shorter.
pub(crate) fn plain(out: &mut Outbox, cookie: u64, error: Option<Errno>, must_structure: bool) {
    match (must_structure, error) {
        (false, error) => simple(out, cookie, error),
        (true, None) => chunk_head(out, cookie, (chunk::DONE, chunk::NONE), 0),
        (true, Some(errno)) => {
            let text = errno.text().as_bytes();
            chunk_head(out, cookie, (chunk::DONE, chunk::ERROR), 6 + text.len());
            out.u32(errno as u32);
            out.u16(text.len() as u16);
            out.put(text);
        }
    }
}

/// The header of a simple reply; the data of a read follows.
pub(crate) fn simple(out: &mut Outbox, cookie: u64, error: Option<Errno>) {
    out.u32(SIMPLE_REPLY_MAGIC);
    out.u32(error.map_or(0, |errno| errno as u32));
    out.u64(cookie);
}

/// The header of data from `offset` on; the data follows.
pub(crate) fn data_head(out: &mut Outbox, cookie: u64, offset: u64, len: usize, is_last: bool) {
    let flags = if is_last { chunk::DONE } else { 0 };
    chunk_head(out, cookie, (flags, chunk::OFFSET_DATA), 8 + len);
    out.u64(offset);
}

/// Extents, one after the other.
pub(crate) fn extents(out: &mut Outbox, cookie: u64, extents: &[Extent]) {
    let len = 4 + extents.len() * EXTENT;
    chunk_head(out, cookie, (chunk::DONE, chunk::BLOCK_STATUS), len);
    out.u32(context_id());
    for extent in extents {
        // A request has at most 4 GiB, and so has each extent in it.
        out.u32(u32::try_from(extent.len).unwrap_or(u32::MAX));
        out.u32(match extent.kind {
            ExtentKind::Data => 0,
            ExtentKind::Hole => STATE_HOLE_ZERO,
        });
    }
}

fn chunk_head(out: &mut Outbox, cookie: u64, (flags, kind): (u16, u16), len: usize) {
    out.u32(STRUCTURED_REPLY_MAGIC);
    out.u16(flags);
    out.u16(kind);
    out.u64(cookie);
    out.u32(len as u32);
}
