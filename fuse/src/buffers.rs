//! [`Buffers`]: memory for what is read, taken once and touched once, because a server of swap
//! must not ask for memory to answer a request.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// As many buffers as threads, so that taking one never waits.
#[derive(Debug)]
pub(crate) struct Buffers {
    free: Mutex<Vec<Box<[u8]>>>,
}

impl Buffers {
    /// `count` buffers of `len` bytes, every page of them backed.
    pub(crate) fn new(count: usize, len: usize) -> Self {
        // Zeroes would come from fresh mappings, which are backed at their first use only.
        let free = (0..count).map(|_| vec![0xff; len].into_boxed_slice());
        Self {
            free: Mutex::new(free.collect()),
        }
    }

    /// A free buffer; none if more threads than expected want one at once. It comes with what it
    /// held last.
    pub(crate) fn take(&self) -> Option<Buffer<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.pop().map(|bytes| Buffer { bytes, home: self })
    }
}

/// A buffer in use; goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer<'a> {
    bytes: Box<[u8]>,
    home: &'a Buffers,
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let bytes = core::mem::take(&mut self.bytes);
        let mut free = self.home.free.lock();
        // The vector had room for all of them when it was made.
        match &mut free {
            Ok(free) => free.push(bytes),
            Err(poisoned) => poisoned.get_mut().push(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_were_made_and_they_come_back() {
        let buffers = Buffers::new(2, 8192);
        let (first, second) = (buffers.take().unwrap(), buffers.take().unwrap());
        assert_eq!((first.len(), second.len()), (8192, 8192));
        assert!(buffers.take().is_none());
        drop(first);
        assert!(buffers.take().is_some());
    }
}
