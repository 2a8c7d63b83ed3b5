//! Requests that are larger than a buffer: done a piece at a time, each of whole pages.
//!
//! ```text
//!   read   structured:      header data header data ...     a failure is a chunk of its own
//!          simple, or DF:   header data      data ...       a failure closes the connection
//!   write                   data, written as it arrives     a failure reads over the rest
//! ```

use super::{Connection, Next, Phase};
use crate::reply::{self, DATA_HEADER, PLAIN_MAX};
use crate::request::{Request, errno};
use crate::wire::command_flag;
use compcache_device::PAGE_SIZE;

/// What is left of a large request.
#[derive(Clone, Copy)]
pub(super) struct Transfer {
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) left: usize,
    pub(super) fua: bool,
}

/// How the data of a large read is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// One header was sent before all of it: a failure can only be told by closing.
    Whole,
    /// Each piece has a header.
    Chunks,
}

impl Connection {
    pub(super) fn begin_large_read(&mut self, request: &Request) {
        let transfer = Transfer {
            cookie: request.cookie,
            offset: request.offset,
            left: request.len as usize,
            fua: false,
        };
        let framing = match (self.session.structured, request.has(command_flag::DF)) {
            (true, false) => Framing::Chunks,
            (true, true) => {
                let len = transfer.left;
                reply::data_head(&mut self.outbox, request.cookie, request.offset, len, true);
                Framing::Whole
            }
            (false, _) => {
                reply::simple(&mut self.outbox, request.cookie, None);
                Framing::Whole
            }
        };
        self.phase = Phase::Reading(transfer, framing);
    }

    pub(super) fn read_on(&mut self, mut transfer: Transfer, framing: Framing) -> Option<Next> {
        if self.outbox.room() < self.outbox.capacity() / 2 {
            return Some(Next::Send);
        }
        let room = self.outbox.room() - DATA_HEADER;
        let len = piece(transfer.offset, transfer.left, room);
        let is_last = len == transfer.left;
        let mark = self.outbox.mark();
        if framing == Framing::Chunks {
            reply::data_head(
                &mut self.outbox,
                transfer.cookie,
                transfer.offset,
                len,
                is_last,
            );
        }
        let room = self.outbox.reserve(len);
        if let Err(error) = self.helpers.read(&*self.device, transfer.offset, room) {
            self.outbox.truncate(mark);
            if framing == Framing::Whole {
                return self.close();
            }
            reply::plain(&mut self.outbox, transfer.cookie, Some(errno(error)), true);
            self.phase = Phase::Ready;
            return None;
        }
        transfer.offset += len as u64;
        transfer.left -= len;
        self.phase = match is_last {
            true => Phase::Ready,
            false => Phase::Reading(transfer, framing),
        };
        None
    }

    pub(super) fn write_on(&mut self, mut transfer: Transfer) -> Option<Next> {
        let capacity = self.inbox.capacity();
        let len = piece(transfer.offset, transfer.left, capacity);
        let Some(data) = self.inbox.filled().get(..len) else {
            return self.receive(len);
        };
        let result = self.store(&transfer, data);
        self.inbox.consume(len);
        transfer.left -= len;
        transfer.offset += len as u64;
        self.phase = match (result, transfer.left) {
            (Err(errno), left) => Phase::Failing(left as u64, transfer.cookie, errno),
            (Ok(()), 0) => {
                if self.outbox.room() < PLAIN_MAX {
                    // Comes back with nothing left, to answer only.
                    self.phase = Phase::Writing(transfer);
                    return Some(Next::Send);
                }
                reply::plain(&mut self.outbox, transfer.cookie, None, false);
                Phase::Ready
            }
            (Ok(()), _) => Phase::Writing(transfer),
        };
        None
    }
}

/// How many bytes of a large request to do at once: all, or up to the last page border in reach.
fn piece(offset: u64, left: usize, room: usize) -> usize {
    if left <= room {
        return left;
    }
    let behind = ((offset + room as u64) % PAGE_SIZE) as usize;
    room - behind.min(room)
}
