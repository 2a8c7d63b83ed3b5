//! Requests: parsed, and checked against the export.
//!
//! ```text
//!   magic:32 flags:16 command:16 cookie:64 offset:64 len:32   then `len` bytes if it is WRITE
//! ```

use crate::wire::{Errno, Input, REQUEST_MAGIC, command, command_flag};
use compcache_device::{Error, check_range};

/// Bytes of data that a request may carry or ask for.
pub const DATA_MAX: u32 = 32 << 20;

pub(crate) const REQUEST_HEADER: usize = 28;

/// A request as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) flags: u16,
    pub(crate) command: u16,
    pub(crate) cookie: u64,
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

/// The magic number is wrong: where the next request begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadMagic;

impl Request {
    /// `None` while the header is not whole.
    pub(crate) fn parse(arrived: &[u8]) -> Result<Option<Self>, BadMagic> {
        let mut input = Input(arrived);
        let Some(magic) = input.u32() else {
            return Ok(None);
        };
        if magic != REQUEST_MAGIC {
            return Err(BadMagic);
        }
        let mut fields = || {
            Some(Self {
                flags: input.u16()?,
                command: input.u16()?,
                cookie: input.u64()?,
                offset: input.u64()?,
                len: input.u32()?,
            })
        };
        Ok(fields())
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Bytes of data that follow the header.
    pub(crate) fn payload(&self) -> u32 {
        match self.command {
            command::WRITE => self.len,
            _ => 0,
        }
    }

    /// Whether the request may be done at all.
    ///
    /// Past the end is ENOSPC for what writes and EINVAL for everything else.
    pub(crate) fn check(&self, size: u64, read_only: bool) -> Result<(), Errno> {
        use command_flag::{DF, FAST_ZERO, FUA, NO_HOLE, REQ_ONE};
        // FUA is taken from every command: clients are known to set it on others than writes.
        let (flags, writes, limit) = match self.command {
            command::READ => (FUA | DF, false, DATA_MAX),
            command::WRITE => (FUA, true, DATA_MAX),
            command::TRIM => (FUA, true, u32::MAX),
            command::WRITE_ZEROES => (FUA | NO_HOLE | FAST_ZERO, true, u32::MAX),
            command::CACHE => (FUA, false, u32::MAX),
            command::BLOCK_STATUS => (FUA | REQ_ONE, false, u32::MAX),
            command::FLUSH => (FUA, false, 0),
            _ => return Err(Errno::Inval),
        };
        if self.flags & !flags != 0 || self.len > limit {
            return Err(Errno::Inval);
        }
        if self.command == command::FLUSH {
            return match self.offset {
                0 => Ok(()),
                _ => Err(Errno::Inval),
            };
        }
        if writes && read_only {
            return Err(Errno::Perm);
        }
        if self.command == command::BLOCK_STATUS && self.len == 0 {
            return Err(Errno::Inval);
        }
        let is_write = matches!(self.command, command::WRITE | command::WRITE_ZEROES);
        check_range(self.offset, u64::from(self.len), size).map_err(|error| match error {
            Error::OutOfRange { .. } if is_write => Errno::NoSpc,
            _ => Errno::Inval,
        })
    }
}

/// How an error of the device is sent.
pub(crate) fn errno(error: Error) -> Errno {
    match error {
        Error::NoSpace(_) => Errno::NoSpc,
        Error::OutOfRange { .. } | Error::Unaligned { .. } => Errno::Inval,
        Error::ReadOnly => Errno::Perm,
        _ => Errno::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(request: Request) -> Vec<u8> {
        let mut bytes = REQUEST_MAGIC.to_be_bytes().to_vec();
        bytes.extend(request.flags.to_be_bytes());
        bytes.extend(request.command.to_be_bytes());
        bytes.extend(request.cookie.to_be_bytes());
        bytes.extend(request.offset.to_be_bytes());
        bytes.extend(request.len.to_be_bytes());
        bytes
    }

    fn request(command: u16, flags: u16, offset: u64, len: u32) -> Request {
        Request {
            flags,
            command,
            cookie: 0x0123_4567_89ab_cdef,
            offset,
            len,
        }
    }

    #[test]
    fn headers_come_back() {
        let sent = request(command::WRITE, 3, 1 << 40, 0x1234_5678);
        let bytes = bytes(sent);
        assert_eq!(bytes.len(), REQUEST_HEADER);
        assert_eq!(Request::parse(&bytes), Ok(Some(sent)));
        for len in 0..bytes.len() {
            assert_eq!(Request::parse(&bytes[..len]), Ok(None));
        }
        assert_eq!(Request::parse(b"garbage"), Err(BadMagic));
    }

    #[test]
    fn requests_are_checked_as_the_protocol_says() {
        use command::{BLOCK_STATUS, CACHE, DISC, FLUSH, READ, TRIM, WRITE, WRITE_ZEROES};
        let size = 8192;
        for (sent, expected) in [
            (request(READ, 0, 0, 8192), Ok(())),
            (request(READ, 1 | 4, 8192, 0), Ok(())),
            (request(READ, 0, 8192, 512), Err(Errno::Inval)),
            (request(READ, 0, u64::MAX - 511, 512), Err(Errno::Inval)),
            (request(READ, 0, 1, 512), Err(Errno::Inval)),
            (request(READ, 2, 0, 512), Err(Errno::Inval)),
            (request(READ, 0, 0, DATA_MAX + 512), Err(Errno::Inval)),
            (request(WRITE, 1, 0, 512), Ok(())),
            (request(WRITE, 0, 8192, 512), Err(Errno::NoSpc)),
            (request(WRITE, 0, 0, 100), Err(Errno::Inval)),
            (request(WRITE_ZEROES, 1 | 2 | 16, 0, 512), Ok(())),
            (
                request(WRITE_ZEROES, 0, 0, u32::MAX - 511),
                Err(Errno::NoSpc),
            ),
            (request(TRIM, 0, 0, 8704), Err(Errno::Inval)),
            (request(CACHE, 0, 0, 8192), Ok(())),
            (request(BLOCK_STATUS, 8, 0, 8192), Ok(())),
            (request(BLOCK_STATUS, 0, 0, 0), Err(Errno::Inval)),
            (request(FLUSH, 1, 0, 0), Ok(())),
            (request(FLUSH, 0, 512, 0), Err(Errno::Inval)),
            (request(DISC, 0, 0, 0), Err(Errno::Inval)),
            (request(99, 0, 0, 0), Err(Errno::Inval)),
        ] {
            assert_eq!(sent.check(size, false), expected, "{sent:?}");
        }
        for command in [WRITE, TRIM, WRITE_ZEROES] {
            let sent = request(command, 0, 0, 512);
            assert_eq!(sent.check(size, true), Err(Errno::Perm));
        }
        assert_eq!(request(READ, 0, 0, 512).check(size, true), Ok(()));
    }
}
