//! [`Ring`]: the requests of a queue, in and out.
//!
//! A tag is either with the driver (its command is in the ring) or here (its command has come
//! back and the next was not pushed). Descriptor and buffer of a tag are looked at only while it
//! is here; `has_tag` keeps book of that.

#![allow(unsafe_code)]

use crate::abi::{Descriptor, IoCommand};
use crate::memory::{Buffers, Descriptors};
use io_uring::{IoUring, opcode, types};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// A command that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// There is a request in this tag.
    Request(u16),
    /// The driver wants nothing more of this tag.
    Over,
}

pub(crate) struct Ring {
    // Dropped first: the driver lets go of buffers when their commands are cancelled.
    ring: IoUring,
    buffers: Buffers,
    descriptors: Descriptors,
    file: Arc<OwnedFd>,
    queue: u16,
    has_tag: Box<[bool]>,
}

impl Ring {
    /// Must be made, and used, by the thread that serves the queue: the driver remembers it.
    pub(crate) fn new(
        file: &Arc<OwnedFd>,
        queue: u16,
        depth: u16,
        buffer_len: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            // Each tag has one command under way at most, so the ring is never full.
            ring: IoUring::builder().build(u32::from(depth))?,
            buffers: Buffers::new(depth, buffer_len)?,
            descriptors: Descriptors::map(file, queue, depth)?,
            file: Arc::clone(file),
            queue,
            has_tag: vec![true; usize::from(depth)].into_boxed_slice(),
        })
    }

    /// Gives a tag to the driver, at the next [`submit`](Self::submit).
    ///
    /// # Errors
    /// Where the tag is with the driver already, or there is no room, neither of which happens.
    pub(crate) fn push(&mut self, tag: u16, command: IoCommand) -> io::Result<()> {
        let has = self.has_tag.get_mut(usize::from(tag));
        let has = has.filter(|has| **has).ok_or(io::ErrorKind::InvalidInput)?;
        let address = self.buffers.address(tag);
        let bytes = command.bytes(self.queue, tag, address);
        let entry = opcode::UringCmd16::new(types::Fd(self.file.as_raw_fd()), command.opcode())
            .cmd(bytes)
            .build()
            .user_data(u64::from(tag));
        // SAFETY: (1) the descriptor stays open as long as `self.file`; (2) the command names the
        // buffer of its tag, which stays mapped as long as the ring, and which nobody looks at
        // until the command comes back, since `has_tag` says so from here on.
        unsafe { self.ring.submission().push(&entry) }
            .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?;
        *has = false;
        Ok(())
    }

    /// Tells the driver what was pushed, and waits for `wanted` commands to come back.
    pub(crate) fn submit(&mut self, wanted: usize) -> io::Result<()> {
        loop {
            match self.ring.submit_and_wait(wanted) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// The next command that came back, if there is one.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let done = self.ring.completion().next()?;
        let Ok(tag) = u16::try_from(done.user_data()) else {
            return Some(Event::Over);
        };
        if let Some(has) = self.has_tag.get_mut(usize::from(tag)) {
            *has = true;
        }
        // Zero is a request; everything else says that there will be no more, most often ENODEV.
        Some(match done.result() {
            0 => Event::Request(tag),
            _ => Event::Over,
        })
    }

    /// The request in a tag, and its data: what is to be written, or room for what is read.
    pub(crate) fn request(&mut self, tag: u16) -> Option<(Descriptor, &mut [u8])> {
        if !self.has_tag.get(usize::from(tag)).is_some_and(|&has| has) {
            return None;
        }
        let descriptor = self.descriptors.get(tag)?;
        let len = match descriptor.operation {
            crate::abi::Operation::Read | crate::abi::Operation::Write => {
                (descriptor.sectors as usize) << 9
            }
            _ => 0,
        };
        Some((descriptor, self.buffers.get(tag, len)?))
    }
}
