//! A client for tests: sends what it is told, right or wrong, and takes replies apart.
//!
//! It knows the protocol from its other side, and shares no code with the server but numbers.

use crate::connection::{Connection, Next};
use crate::wire::{
    OPTION_MAGIC, OPTION_REPLY_MAGIC, REQUEST_MAGIC, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC,
};
use std::collections::VecDeque;
use std::io::{self, Read, Write};

pub use crate::wire::{chunk, command, command_flag, option, option_reply};

/// Bytes of data that a reply may have: more is the server's fault.
const SANE_MAX: u32 = 64 << 20;

/// A request to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// `NBD_CMD_*`
    pub command: u16,
    /// `NBD_CMD_FLAG_*`
    pub flags: u16,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
}

/// The whole answer to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The request's.
    pub cookie: u64,
    /// 0 if all went well.
    pub error: u32,
    /// What was read.
    pub data: Vec<u8>,
    /// Lengths and flags of extents.
    pub extents: Vec<(u32, u32)>,
}

/// A reply to an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionReply {
    /// The option.
    pub option: u32,
    /// `NBD_REP_*`
    pub kind: u32,
    /// What came with it.
    pub data: Vec<u8>,
}

/// A client over anything that takes and gives bytes.
pub struct Client<S> {
    /// The other side.
    pub stream: S,
    structured: bool,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// An option as it is sent.
#[must_use]
pub fn option_bytes(number: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// The data of INFO and GO.
#[must_use]
pub fn info_data(name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut bytes = (name.len() as u32).to_be_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.extend((wanted.len() as u16).to_be_bytes());
    bytes.extend(wanted.iter().flat_map(|number| number.to_be_bytes()));
    bytes
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
#[must_use]
pub fn context_data(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut bytes = (name.len() as u32).to_be_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.extend((queries.len() as u32).to_be_bytes());
    for query in queries {
        bytes.extend((query.len() as u32).to_be_bytes());
        bytes.extend(query.as_bytes());
    }
    bytes
}

/// A request's header as it is sent.
#[must_use]
pub fn request_bytes(ask: Ask, cookie: u64) -> Vec<u8> {
    let mut bytes = REQUEST_MAGIC.to_be_bytes().to_vec();
    bytes.extend(ask.flags.to_be_bytes());
    bytes.extend(ask.command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(ask.offset.to_be_bytes());
    bytes.extend(ask.len.to_be_bytes());
    bytes
}

impl<S: Read + Write> Client<S> {
    /// Reads the greeting and answers it.
    ///
    /// # Errors
    /// The stream's, and a greeting that is none.
    pub fn greet(mut stream: S) -> io::Result<Self> {
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting)?;
        if !greeting.starts_with(b"NBDMAGICIHAVEOPT") {
            return Err(broken("no greeting"));
        }
        stream.write_all(&3u32.to_be_bytes())?;
        Ok(Self {
            stream,
            structured: false,
        })
    }

    /// Greets, agrees on structured replies and `base:allocation` if they are wanted, and goes.
    ///
    /// # Errors
    /// The stream's, and refusals.
    pub fn connect(stream: S, name: &str, structured: bool) -> io::Result<Self> {
        let mut client = Self::greet(stream)?;
        if structured {
            client.agree(option::STRUCTURED_REPLY, &[])?;
            let data = context_data(name, &["base:allocation"]);
            client.agree(option::SET_META_CONTEXT, &data)?;
        }
        client.agree(option::GO, &info_data(name, &[3]))?;
        Ok(client)
    }

    /// Sends an option that must be agreed to, and returns what came before the agreement.
    ///
    /// # Errors
    /// The stream's, and a refusal.
    pub fn agree(&mut self, number: u32, data: &[u8]) -> io::Result<Vec<OptionReply>> {
        let mut replies = self.option(number, data)?;
        match replies.pop() {
            Some(last) if last.kind == option_reply::ACK => Ok(replies),
            last => Err(broken(&format!("option {number} refused: {last:?}"))),
        }
    }

    /// Sends an option and reads all replies to it.
    ///
    /// # Errors
    /// The stream's, and replies that are none.
    pub fn option(&mut self, number: u32, data: &[u8]) -> io::Result<Vec<OptionReply>> {
        self.stream.write_all(&option_bytes(number, data))?;
        let mut replies = Vec::new();
        loop {
            let reply = self.option_reply()?;
            if reply.option != number {
                return Err(broken("a reply to another option"));
            }
            let is_last = reply.kind == option_reply::ACK || reply.kind >> 31 == 1;
            replies.push(reply);
            if is_last {
                let is_agreed = replies
                    .last()
                    .is_some_and(|last| last.kind == option_reply::ACK);
                self.structured |= is_agreed && number == option::STRUCTURED_REPLY;
                return Ok(replies);
            }
        }
    }

    /// Reads one reply to an option.
    ///
    /// # Errors
    /// The stream's, and a reply that is none.
    pub fn option_reply(&mut self) -> io::Result<OptionReply> {
        if self.u64()? != OPTION_REPLY_MAGIC {
            return Err(broken("no option reply"));
        }
        let (option, kind, len) = (self.u32()?, self.u32()?, self.u32()?);
        let data = self.bytes(len)?;
        Ok(OptionReply { option, kind, data })
    }

    /// Sends a request with its data.
    ///
    /// # Errors
    /// The stream's.
    pub fn send(&mut self, ask: Ask, cookie: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = request_bytes(ask, cookie);
        bytes.extend(data);
        self.stream.write_all(&bytes)
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// The stream's, and replies that are none.
    pub fn call(&mut self, ask: Ask, data: &[u8]) -> io::Result<Answer> {
        self.send(ask, 7, data)?;
        let answer = self.answer(ask)?;
        match answer.cookie {
            7 => Ok(answer),
            _ => Err(broken("the answer to another request")),
        }
    }

    /// Reads the answer to a request.
    ///
    /// # Errors
    /// The stream's, and replies that are none.
    pub fn answer(&mut self, ask: Ask) -> io::Result<Answer> {
        let is_read = ask.command == command::READ;
        let mut answer = Answer::default();
        loop {
            match self.u32()? {
                SIMPLE_REPLY_MAGIC => {
                    let must_structure = is_read || ask.command == command::BLOCK_STATUS;
                    if self.structured && must_structure {
                        return Err(broken("a simple reply where a structured one is due"));
                    }
                    (answer.error, answer.cookie) = (self.u32()?, self.u64()?);
                    if is_read && answer.error == 0 {
                        answer.data = self.bytes(ask.len)?;
                    }
                    return Ok(answer);
                }
                STRUCTURED_REPLY_MAGIC if self.structured => {
                    if self.chunk(ask, &mut answer)? {
                        let is_whole = answer.data.len() == ask.len as usize;
                        return match !is_read || answer.error != 0 || is_whole {
                            true => Ok(answer),
                            false => Err(broken("not all of the data")),
                        };
                    }
                }
                _ => return Err(broken("no reply")),
            }
        }
    }

    /// Reads a chunk; true for the last.
    fn chunk(&mut self, ask: Ask, answer: &mut Answer) -> io::Result<bool> {
        let (flags, kind) = (self.u16()?, self.u16()?);
        answer.cookie = self.u64()?;
        let len = self.u32()?;
        match kind {
            chunk::NONE if len == 0 => {}
            chunk::OFFSET_DATA if len > 8 => {
                let at = self.u64()?;
                // Ours come in order.
                if at != ask.offset + answer.data.len() as u64 {
                    return Err(broken("data from somewhere else"));
                }
                let data = self.bytes(len - 8)?;
                answer.data.extend(data);
            }
            chunk::BLOCK_STATUS if len > 4 && len % 8 == 4 => {
                self.u32()?;
                for _ in 0..len / 8 {
                    let extent = (self.u32()?, self.u32()?);
                    answer.extents.push(extent);
                }
            }
            chunk::ERROR if len >= 6 => {
                answer.error = self.u32()?;
                let text_len = self.u16()?;
                if answer.error == 0 || u32::from(text_len) != len - 6 {
                    return Err(broken("an error that is none"));
                }
                self.bytes(len - 6)?;
            }
            _ => return Err(broken("a chunk of no known kind")),
        }
        Ok(flags & chunk::DONE != 0)
    }

    fn bytes(&mut self, len: u32) -> io::Result<Vec<u8>> {
        if len > SANE_MAX {
            return Err(broken("a length out of reason"));
        }
        let mut bytes = vec![0; len as usize];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u16(&mut self) -> io::Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

/// A connection as a stream, without a socket: what is written is done at once.
pub struct Loopback {
    connection: Connection,
    sent: VecDeque<u8>,
    /// Bytes that arrive at once, at most.
    pub chunk: usize,
    buffer_bytes: usize,
    is_closed: bool,
}

impl Loopback {
    /// A connection whose buffers have `buffer_bytes` at most.
    #[must_use]
    pub fn new(connection: Connection, buffer_bytes: usize) -> Self {
        let mut loopback = Self {
            connection,
            sent: VecDeque::new(),
            chunk: usize::MAX,
            buffer_bytes,
            is_closed: false,
        };
        loopback.run();
        loopback
    }

    /// Whether the connection wants to be closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn run(&mut self) {
        loop {
            let next = self.connection.run();
            let pending = self.connection.pending();
            let len = pending.len();
            assert!(len <= self.buffer_bytes, "more than its buffer");
            assert!(next != Next::Send || len > 0, "waits for nothing");
            self.sent.extend(pending);
            self.connection.sent(len);
            self.is_closed = next == Next::Close;
            if next != Next::Send {
                return;
            }
        }
    }
}

impl Write for Loopback {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let chunk = self.chunk.max(1);
        let room = self.connection.room();
        assert!(
            !room.is_empty() && room.len() <= self.buffer_bytes,
            "no room"
        );
        let count = bytes.len().min(room.len()).min(chunk);
        room[..count].copy_from_slice(&bytes[..count]);
        self.connection.received(count);
        self.run();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Loopback {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.sent.read(bytes)
    }
}
