//! Options: from the greeting to the transmission.
//!
//! ```text
//!   server  NBDMAGIC IHAVEOPT flags:16
//!   client  flags:32
//!   client  IHAVEOPT option:32 len:32 data          any number of times
//!   server  magic:64 option:32 reply:32 len:32 data  until GO or EXPORT_NAME
//! ```

use crate::buffer::Outbox;
use crate::reply::Session;
use crate::request::DATA_MAX;
use crate::wire::{
    INIT_MAGIC, Input, OPTION_MAGIC, OPTION_REPLY_MAGIC, export_flag, handshake_flag, info, option,
    option_reply,
};
use compcache_device::{PAGE_SIZE, SECTOR_SIZE};
use core::fmt;

/// Bytes of a name: what the protocol allows for any string.
pub const NAME_MAX: usize = 4096;
/// Bytes of an option's data; longer ones are read over and refused.
pub(crate) const OPTION_MAX: usize = 16 << 10;
/// Options of one handshake.
const OPTIONS_MAX: u32 = 256;
/// Bytes of one handshake, those that are read over included.
const HANDSHAKE_MAX: u64 = 1 << 20;
/// Bytes of all replies to one option: two names, and what is around them.
pub(crate) const REPLY_MAX: usize = 2 * NAME_MAX + 512;

pub(crate) const OPTION_HEADER: usize = 16;
const CLIENT_FLAGS: usize = 4;

const CONTEXT: &[u8] = b"base:allocation";
const CONTEXT_ID: u32 = 1;
const DESCRIPTION: &[u8] = b"compcache: pages kept compressed in memory";

/// What clients see of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    name: String,
    read_only: bool,
}

/// A name that the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportError {
    /// Bytes of the name.
    pub len: usize,
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "export name of {} bytes; expected at most {NAME_MAX}",
            self.len
        )
    }
}

impl core::error::Error for ExportError {}

impl Export {
    /// An export under a name; the empty name, which clients use when they are given none,
    /// leads to it as well.
    ///
    /// # Errors
    /// A name longer than [`NAME_MAX`].
    pub fn new(name: impl Into<String>, read_only: bool) -> Result<Self, ExportError> {
        let name = name.into();
        match name.len() {
            0..=NAME_MAX => Ok(Self { name, read_only }),
            len => Err(ExportError { len }),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether writes are refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn answers_to(&self, name: &[u8]) -> bool {
        name.is_empty() || name == self.name.as_bytes()
    }

    fn flags(&self, structured: bool) -> u16 {
        use export_flag::{
            CAN_MULTI_CONN, HAS_FLAGS, READ_ONLY, SEND_CACHE, SEND_DF, SEND_FAST_ZERO, SEND_FLUSH,
            SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES,
        };
        let always = HAS_FLAGS | SEND_FLUSH | SEND_FUA | CAN_MULTI_CONN | SEND_CACHE;
        let access = match self.read_only {
            true => READ_ONLY,
            false => SEND_TRIM | SEND_WRITE_ZEROES | SEND_FAST_ZERO,
        };
        always | access | if structured { SEND_DF } else { 0 }
    }
}

/// What to do after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes from here are needed before anything can be said.
    Need(usize),
    /// So many were used; this many more are of no interest.
    Used { count: usize, skip: u64 },
    /// So many were used, and requests begin.
    Transmit { count: usize, session: Session },
    /// Nothing more is read; what was written is still sent.
    Close,
}

/// The server's side of a handshake.
pub(crate) struct Handshake {
    /// Flags of the client, once it has sent them.
    client: Option<u16>,
    session: Session,
    options: u32,
    bytes: u64,
}

impl Handshake {
    /// Begins by greeting.
    pub(crate) fn new(out: &mut Outbox) -> Self {
        out.u64(INIT_MAGIC);
        out.u64(OPTION_MAGIC);
        out.u16(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES);
        Self {
            client: None,
            session: Session::default(),
            options: 0,
            bytes: 0,
        }
    }

    /// Looks at what arrived. Replies take up to [`REPLY_MAX`] bytes of `out`.
    pub(crate) fn step(
        &mut self,
        export: &Export,
        size: u64,
        arrived: &[u8],
        out: &mut Outbox,
    ) -> Step {
        let Some(client) = self.client else {
            return self.client_flags(arrived);
        };
        let mut input = Input(arrived);
        let (Some(magic), Some(number), Some(len)) = (input.u64(), input.u32(), input.u32()) else {
            return Step::Need(OPTION_HEADER);
        };
        if magic != OPTION_MAGIC {
            return Step::Close;
        }
        let count = OPTION_HEADER.saturating_add(len as usize);
        let fits = len as usize <= OPTION_MAX;
        if fits && arrived.len() < count {
            return Step::Need(count);
        }
        self.options += 1;
        self.bytes = self.bytes.saturating_add(count as u64);
        let is_old = client & handshake_flag::FIXED_NEWSTYLE == 0;
        let is_over = self.options > OPTIONS_MAX || self.bytes > HANDSHAKE_MAX;
        // A client that is not fixed newstyle understands no reply.
        if is_over || is_old && number != option::EXPORT_NAME {
            return Step::Close;
        }
        if !fits {
            if number == option::EXPORT_NAME {
                return Step::Close;
            }
            reply(out, number, option_reply::ERR_TOO_BIG, b"option too long");
            return Step::Used {
                count: OPTION_HEADER,
                skip: u64::from(len),
            };
        }
        let data = input.bytes(len as usize).unwrap_or_default();
        let mut about = About {
            export,
            size,
            number,
            out,
        };
        match number {
            option::EXPORT_NAME => return self.export_name(&mut about, client, data, count),
            option::GO | option::INFO => {
                if about.info(self.session.structured, data) && number == option::GO {
                    return Step::Transmit {
                        count,
                        session: self.session,
                    };
                }
            }
            option::ABORT => {
                about.reply(option_reply::ACK, b"");
                return Step::Close;
            }
            option::LIST => about.list(data),
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.session.structured = true;
                about.reply(option_reply::ACK, b"");
            }
            option::STRUCTURED_REPLY => about.invalid(),
            option::LIST_META_CONTEXT => {
                about.contexts(self.session.structured, data);
            }
            option::SET_META_CONTEXT => {
                self.session.allocation = about.contexts(self.session.structured, data);
            }
            _ => about.reply(option_reply::ERR_UNSUP, b"option not supported"),
        }
        Step::Used { count, skip: 0 }
    }

    fn client_flags(&mut self, arrived: &[u8]) -> Step {
        let Some(flags) = Input(arrived).u32() else {
            return Step::Need(CLIENT_FLAGS);
        };
        let known = handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES;
        match u16::try_from(flags) {
            Ok(flags) if flags & !known == 0 => {
                self.client = Some(flags);
                Step::Used {
                    count: CLIENT_FLAGS,
                    skip: 0,
                }
            }
            _ => Step::Close,
        }
    }

    /// The one option that has no error reply: a name that is not known ends the connection.
    fn export_name(&self, about: &mut About<'_>, client: u16, name: &[u8], count: usize) -> Step {
        if !about.export.answers_to(name) {
            return Step::Close;
        }
        about.out.u64(about.size);
        about.out.u16(about.export.flags(self.session.structured));
        if client & handshake_flag::NO_ZEROES == 0 {
            about.out.put(&[0; 124]);
        }
        Step::Transmit {
            count,
            session: self.session,
        }
    }
}

/// One option, and what is needed to answer it.
struct About<'a> {
    export: &'a Export,
    size: u64,
    number: u32,
    out: &'a mut Outbox,
}

impl About<'_> {
    fn reply(&mut self, kind: u32, data: &[u8]) {
        reply(self.out, self.number, kind, data);
    }

    fn head(&mut self, kind: u32, len: usize) {
        head(self.out, self.number, kind, len);
    }

    fn invalid(&mut self) {
        self.reply(option_reply::ERR_INVALID, b"option not as expected");
    }

    fn unknown(&mut self) {
        self.reply(option_reply::ERR_UNKNOWN, b"no export of this name");
    }

    fn list(&mut self, data: &[u8]) {
        if !data.is_empty() {
            return self.invalid();
        }
        let name = self.export.name.as_bytes();
        self.head(option_reply::SERVER, 4 + name.len());
        self.out.u32(name.len() as u32);
        self.out.put(name);
        self.reply(option_reply::ACK, b"");
    }

    /// INFO and GO; true if the export is the client's from now on.
    fn info(&mut self, structured: bool, data: &[u8]) -> bool {
        let mut input = Input(data);
        let (Some(name), Some(count)) = (input.string(), input.u16()) else {
            self.invalid();
            return false;
        };
        if input.0.len() != usize::from(count) * 2 {
            self.invalid();
            return false;
        }
        if !self.export.answers_to(name) {
            self.unknown();
            return false;
        }
        self.head(option_reply::INFO, 12);
        self.out.u16(info::EXPORT);
        self.out.u64(self.size);
        self.out.u16(self.export.flags(structured));
        // Without being asked too: a client that does not align its requests has them refused.
        self.head(option_reply::INFO, 14);
        self.out.u16(info::BLOCK_SIZE);
        self.out.u32(SECTOR_SIZE as u32);
        self.out.u32(PAGE_SIZE as u32);
        self.out.u32(DATA_MAX);
        let (mut wants_name, mut wants_description) = (false, false);
        while let Some(wanted) = input.u16() {
            wants_name |= wanted == info::NAME;
            wants_description |= wanted == info::DESCRIPTION;
        }
        if wants_name {
            self.text(info::NAME, self.export.name.as_bytes());
        }
        if wants_description {
            self.text(info::DESCRIPTION, DESCRIPTION);
        }
        self.reply(option_reply::ACK, b"");
        true
    }

    fn text(&mut self, kind: u16, text: &[u8]) {
        self.head(option_reply::INFO, 2 + text.len());
        self.out.u16(kind);
        self.out.put(text);
    }

    /// LIST_META_CONTEXT and SET_META_CONTEXT; true if `base:allocation` is among what is asked for.
    fn contexts(&mut self, structured: bool, data: &[u8]) -> bool {
        let lists = self.number == option::LIST_META_CONTEXT;
        let mut input = Input(data);
        let (Some(name), Some(count)) = (input.string(), input.u32()) else {
            self.invalid();
            return false;
        };
        // To list without any query is to ask for everything, to set to ask for nothing.
        let mut wanted = lists && count == 0;
        for _ in 0..count {
            let Some(query) = input.string() else {
                self.invalid();
                return false;
            };
            wanted |= query == CONTEXT || lists && query == b"base:";
        }
        if !input.0.is_empty() || !structured {
            self.invalid();
            return false;
        }
        if !self.export.answers_to(name) {
            self.unknown();
            return false;
        }
        if wanted {
            self.head(option_reply::META_CONTEXT, 4 + CONTEXT.len());
            self.out.u32(if lists { 0 } else { CONTEXT_ID });
            self.out.put(CONTEXT);
        }
        self.reply(option_reply::ACK, b"");
        wanted
    }
}

fn head(out: &mut Outbox, number: u32, kind: u32, len: usize) {
    out.u64(OPTION_REPLY_MAGIC);
    out.u32(number);
    out.u32(kind);
    out.u32(len as u32);
}

fn reply(out: &mut Outbox, number: u32, kind: u32, data: &[u8]) {
    head(out, number, kind, data.len());
    out.put(data);
}

pub(crate) const fn context_id() -> u32 {
    CONTEXT_ID
}
