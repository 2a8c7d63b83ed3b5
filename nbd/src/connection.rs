//! [`Connection`]: one client, without its socket.

use crate::buffer::{Inbox, Outbox};
use crate::handshake::{Export, Handshake, OPTION_HEADER, OPTION_MAX, REPLY_MAX, Step};
use crate::parallel::Helpers;
use crate::reply::{self, DATA_HEADER, EXTENT, PLAIN_MAX, Session};
use crate::request::{REQUEST_HEADER, Request, errno};
use crate::wire::{Errno, command, command_flag};
use compcache_device::{BlockDevice, Error, Extent, ExtentKind, PAGE_SIZE};
use large::{Framing, Transfer};
use std::sync::Arc;

mod large;
#[cfg(test)]
mod tests;

/// Bytes of each of the two buffers: requests up to this are done in one piece.
const BUFFER: usize = 512 << 10;
const HEADERS: usize = 64;
/// The least a buffer can have: the longest option, all replies to it.
const BUFFER_MIN: usize = OPTION_HEADER + OPTION_MAX;
const _: () = assert!(BUFFER_MIN >= REPLY_MAX, "replies to an option fit");
const _: () = assert!(
    BUFFER_MIN >= 2 * PAGE_SIZE as usize + HEADERS,
    "a large request moves on by a page at least"
);

/// Extents of one reply.
const EXTENTS_MAX: usize = 128;
const _: () = assert!(
    PLAIN_MAX + EXTENTS_MAX * EXTENT <= BUFFER_MIN,
    "extents fit"
);
/// Bytes that one BLOCK_STATUS looks at; the answer is about less than was asked for then.
const STATUS_MAX: u64 = 1 << 30;

/// Zeroes to write where a client wants no hole.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// What a connection wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes: put some into [`Connection::room`]. What is [pending](Connection::pending)
    /// has to be sent before waiting for them.
    Receive,
    /// To have its pending bytes sent before it goes on.
    Send,
    /// To be closed once its pending bytes are sent.
    Close,
}

/// One client of an export: bytes in, bytes out, no socket.
///
/// Buffers are of fixed size, whatever the client sends; nothing is allocated after `new`.
///
/// # Examples
///
/// ```
/// use compcache_device::{Config, Device};
/// use compcache_nbd::{Connection, Export, Next};
/// use std::sync::Arc;
///
/// let device = Arc::new(Device::new(Config::new(1 << 20))?);
/// let export = Arc::new(Export::new("swap", false)?);
/// let mut connection = Connection::new(device, export);
/// assert_eq!(connection.run(), Next::Receive);
/// assert!(connection.pending().starts_with(b"NBDMAGICIHAVEOPT"));
///
/// let garbage = [0xff; 4];
/// connection.room()[..4].copy_from_slice(&garbage);
/// connection.received(4);
/// assert_eq!(connection.run(), Next::Close);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    device: Arc<dyn BlockDevice>,
    export: Arc<Export>,
    helpers: Arc<Helpers>,
    size: u64,
    session: Session,
    phase: Phase,
    inbox: Inbox,
    outbox: Outbox,
    /// Bytes that the next step needs from the start of what arrived.
    need: usize,
}

enum Phase {
    Handshake(Handshake),
    /// Reading over the data of an option that was too long.
    SkipOption(Handshake, u64),
    /// A request comes next.
    Ready,
    /// A read that does not fit into the outbox.
    Reading(Transfer, Framing),
    /// A write that does not fit into the inbox.
    Writing(Transfer),
    /// Reading over the data of a write that fails.
    Failing(u64, u64, Errno),
    Closed,
}

impl Connection {
    /// A client that has just connected.
    #[must_use]
    pub fn new(device: Arc<dyn BlockDevice>, export: Arc<Export>) -> Self {
        Self::with_helpers(device, export, Arc::new(Helpers::NONE), BUFFER + HEADERS)
    }

    /// As [`new`](Self::new) with buffers of another size, for tests; it is raised to what the
    /// handshake needs.
    #[must_use]
    pub fn with_buffers(
        device: Arc<dyn BlockDevice>,
        export: Arc<Export>,
        buffer_bytes: usize,
    ) -> Self {
        Self::with_helpers(device, export, Arc::new(Helpers::NONE), buffer_bytes)
    }

    pub(crate) fn served(
        device: Arc<dyn BlockDevice>,
        export: Arc<Export>,
        helpers: Arc<Helpers>,
    ) -> Self {
        Self::with_helpers(device, export, helpers, BUFFER + HEADERS)
    }

    fn with_helpers(
        device: Arc<dyn BlockDevice>,
        export: Arc<Export>,
        helpers: Arc<Helpers>,
        buffer_bytes: usize,
    ) -> Self {
        let buffer_bytes = buffer_bytes.max(BUFFER_MIN);
        let mut outbox = Outbox::new(buffer_bytes);
        Self {
            size: device.size(),
            device,
            export,
            helpers,
            session: Session::default(),
            phase: Phase::Handshake(Handshake::new(&mut outbox)),
            inbox: Inbox::new(buffer_bytes),
            outbox,
            need: 0,
        }
    }

    /// Where to put bytes that arrive.
    pub fn room(&mut self) -> &mut [u8] {
        self.inbox.room(self.need)
    }

    /// Says how many were put there.
    pub fn received(&mut self, count: usize) {
        self.inbox.received(count);
    }

    /// Bytes to send.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.outbox.pending()
    }

    /// Says how many of them were sent.
    pub fn sent(&mut self, count: usize) {
        self.outbox.sent(count);
    }

    /// Whether the handshake is over.
    #[must_use]
    pub fn is_transmitting(&self) -> bool {
        !matches!(self.phase, Phase::Handshake(_) | Phase::SkipOption(..))
    }

    /// Does everything that can be done with what arrived.
    pub fn run(&mut self) -> Next {
        loop {
            let next = match self.phase {
                Phase::Handshake(_) => self.negotiate(),
                Phase::SkipOption(..) | Phase::Failing(..) => self.skip(),
                Phase::Ready => self.request(),
                Phase::Reading(transfer, framing) => self.read_on(transfer, framing),
                Phase::Writing(transfer) => self.write_on(transfer),
                Phase::Closed => Some(Next::Close),
            };
            if let Some(next) = next {
                return next;
            }
        }
    }

    fn receive(&mut self, need: usize) -> Option<Next> {
        self.need = need;
        Some(Next::Receive)
    }

    fn close(&mut self) -> Option<Next> {
        self.phase = Phase::Closed;
        Some(Next::Close)
    }

    fn negotiate(&mut self) -> Option<Next> {
        if self.outbox.room() < REPLY_MAX {
            return Some(Next::Send);
        }
        let Phase::Handshake(handshake) = &mut self.phase else {
            return self.close();
        };
        let arrived = self.inbox.filled();
        match handshake.step(&self.export, self.size, arrived, &mut self.outbox) {
            Step::Need(need) => return self.receive(need),
            Step::Used { count, skip } => {
                self.inbox.consume(count);
                if skip > 0
                    && let Phase::Handshake(handshake) =
                        core::mem::replace(&mut self.phase, Phase::Closed)
                {
                    self.phase = Phase::SkipOption(handshake, skip);
                }
            }
            Step::Transmit { count, session } => {
                self.inbox.consume(count);
                self.session = session;
                self.phase = Phase::Ready;
            }
            Step::Close => return self.close(),
        }
        None
    }

    /// Reads over bytes of no interest.
    fn skip(&mut self) -> Option<Next> {
        let (Phase::SkipOption(_, left) | Phase::Failing(left, ..)) = &mut self.phase else {
            return self.close();
        };
        let arrived = self.inbox.filled().len();
        let count = usize::try_from(*left).map_or(arrived, |left| left.min(arrived));
        *left -= count as u64;
        let is_over = *left == 0;
        self.inbox.consume(count);
        if !is_over {
            return self.receive(1);
        }
        match core::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::SkipOption(handshake, _) => self.phase = Phase::Handshake(handshake),
            Phase::Failing(_, cookie, errno) => {
                if self.outbox.room() < PLAIN_MAX {
                    self.phase = Phase::Failing(0, cookie, errno);
                    return Some(Next::Send);
                }
                reply::plain(&mut self.outbox, cookie, Some(errno), false);
            }
            _ => {}
        }
        None
    }

    fn request(&mut self) -> Option<Next> {
        let arrived = self.inbox.filled();
        let request = match Request::parse(arrived) {
            Ok(Some(request)) => request,
            Ok(None) => return self.receive(REQUEST_HEADER),
            Err(_) => return self.close(),
        };
        if request.command == command::DISC {
            return self.close();
        }
        if self.outbox.room() < PLAIN_MAX {
            return Some(Next::Send);
        }
        if let Err(errno) = request.check(self.size, self.export.is_read_only()) {
            self.inbox.consume(REQUEST_HEADER);
            match request.payload() {
                0 => self.answer(&request, Err(errno)),
                len => self.phase = Phase::Failing(u64::from(len), request.cookie, errno),
            }
            return None;
        }
        match request.command {
            command::READ => self.read(&request),
            command::WRITE => self.write(&request),
            command::BLOCK_STATUS => self.status(&request),
            _ => {
                let result = self.perform(&request).map_err(errno);
                self.inbox.consume(REQUEST_HEADER);
                self.answer(&request, result);
                None
            }
        }
    }

    fn answer(&mut self, request: &Request, result: Result<(), Errno>) {
        let must_structure = self.session.structured
            && matches!(request.command, command::READ | command::BLOCK_STATUS);
        reply::plain(
            &mut self.outbox,
            request.cookie,
            result.err(),
            must_structure,
        );
    }

    /// Requests with no data in either direction.
    fn perform(&self, request: &Request) -> Result<(), Error> {
        let (offset, len) = (request.offset, u64::from(request.len));
        match request.command {
            command::TRIM => self.device.discard(offset, len)?,
            command::WRITE_ZEROES if request.has(command_flag::NO_HOLE) => {
                self.fill(offset, len)?;
            }
            command::WRITE_ZEROES => self.device.write_zeroes(offset, len)?,
            command::FLUSH => return self.device.flush(),
            // CACHE: everything is in memory.
            _ => {}
        }
        match request.has(command_flag::FUA) {
            true => self.device.flush(),
            false => Ok(()),
        }
    }

    /// Stores zeroes: a page of them is a word in its slot, so this is no slower than punching a
    /// hole by much, and fast as FAST_ZERO has it.
    fn fill(&self, offset: u64, len: u64) -> Result<(), Error> {
        let mut done = 0;
        while done < len {
            let piece =
                usize::try_from(len - done).map_or(ZEROES.len(), |left| left.min(ZEROES.len()));
            let zeroes = ZEROES.get(..piece).unwrap_or(&ZEROES);
            self.device.write(offset + done, zeroes)?;
            done += piece as u64;
        }
        Ok(())
    }

    fn read(&mut self, request: &Request) -> Option<Next> {
        let len = request.len as usize;
        if len + DATA_HEADER > self.outbox.capacity() {
            self.inbox.consume(REQUEST_HEADER);
            self.begin_large_read(request);
            return None;
        }
        if self.outbox.room() < (len + DATA_HEADER).max(PLAIN_MAX) {
            return Some(Next::Send);
        }
        self.inbox.consume(REQUEST_HEADER);
        let mark = self.outbox.mark();
        if len > 0 {
            match self.session.structured {
                true => {
                    reply::data_head(&mut self.outbox, request.cookie, request.offset, len, true)
                }
                false => reply::simple(&mut self.outbox, request.cookie, None),
            }
            let room = self.outbox.reserve(len);
            match self.helpers.read(&*self.device, request.offset, room) {
                Ok(()) => return None,
                Err(error) => {
                    self.outbox.truncate(mark);
                    self.answer(request, Err(errno(error)));
                }
            }
        } else {
            self.answer(request, Ok(()));
        }
        None
    }

    fn write(&mut self, request: &Request) -> Option<Next> {
        let len = request.len as usize;
        let whole = REQUEST_HEADER + len;
        let transfer = Transfer {
            cookie: request.cookie,
            offset: request.offset,
            left: len,
            fua: request.has(command_flag::FUA),
        };
        if whole > self.inbox.capacity() {
            self.inbox.consume(REQUEST_HEADER);
            self.phase = Phase::Writing(transfer);
            return None;
        }
        let Some(data) = self.inbox.filled().get(REQUEST_HEADER..whole) else {
            return self.receive(whole);
        };
        let result = self.store(&transfer, data);
        self.inbox.consume(whole);
        self.answer(request, result);
        None
    }

    fn store(&self, transfer: &Transfer, data: &[u8]) -> Result<(), Errno> {
        self.helpers
            .write(&*self.device, transfer.offset, data)
            .and_then(|()| match transfer.fua {
                true => self.device.flush(),
                false => Ok(()),
            })
            .map_err(errno)
    }

    fn status(&mut self, request: &Request) -> Option<Next> {
        if self.outbox.room() < PLAIN_MAX + EXTENTS_MAX * EXTENT {
            return Some(Next::Send);
        }
        self.inbox.consume(REQUEST_HEADER);
        if !self.session.allocation {
            self.answer(request, Err(Errno::Inval));
            return None;
        }
        let most = match request.has(command_flag::REQ_ONE) {
            true => 1,
            false => EXTENTS_MAX,
        };
        let mut found = [Extent {
            len: 0,
            kind: ExtentKind::Hole,
        }; EXTENTS_MAX];
        let end = request.offset + u64::from(request.len).min(STATUS_MAX);
        let (mut offset, mut count) = (request.offset, 0);
        for slot in found.iter_mut().take(most) {
            if offset == end {
                break;
            }
            match self.device.extent(offset, end - offset) {
                Ok(extent) => *slot = extent,
                Err(error) => {
                    self.answer(request, Err(errno(error)));
                    return None;
                }
            }
            offset += slot.len;
            count += 1;
        }
        let found = found.get(..count).unwrap_or_default();
        reply::extents(&mut self.outbox, request.cookie, found);
        None
    }
}
