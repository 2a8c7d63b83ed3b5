//! [`Descriptors`] and [`Buffers`]: memory that the driver shares with a queue.

#![allow(unsafe_code)]

use crate::abi::{DESCRIPTOR_LEN, Descriptor, QUEUE_DEPTH_MAX};
use core::ptr::NonNull;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::io;
use std::os::fd::OwnedFd;

/// A mapping, unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; only its owner unmaps it.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(start: *mut rustix::ffi::c_void, len: usize) -> io::Result<Self> {
        // mmap never returns null but where it is asked to.
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` was given, as a whole, and nobody else unmaps it;
        // references into it borrow from its owner and are gone.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// What the requests of a queue ask for; the driver writes it.
#[derive(Debug)]
pub(crate) struct Descriptors {
    mapping: Mapping,
    depth: u16,
}

impl Descriptors {
    /// Those of queue `queue` of the device behind `file`.
    pub(crate) fn map(file: &OwnedFd, queue: u16, depth: u16) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let rounded = |count: usize| (count * DESCRIPTOR_LEN).next_multiple_of(page);
        let len = rounded(usize::from(depth));
        let offset = u64::from(queue) * rounded(QUEUE_DEPTH_MAX) as u64;
        // SAFETY: the address is the kernel's choice, so nothing that is mapped is replaced.
        let start = unsafe {
            mmap(
                core::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED | MapFlags::POPULATE,
                file,
                offset,
            )
        }?;
        let mapping = Mapping::new(start, len)?;
        Ok(Self { mapping, depth })
    }

    /// The request in a tag, which the driver has handed over and leaves alone until it is
    /// answered.
    pub(crate) fn get(&self, tag: u16) -> Option<Descriptor> {
        if tag >= self.depth {
            return None;
        }
        let at = usize::from(tag) * DESCRIPTOR_LEN;
        // SAFETY: (1) `tag < depth`, and the mapping has room for `depth` descriptors, so all
        // 24 bytes lie in it; (2) it starts on a page and a descriptor is a multiple of 8 bytes,
        // so each field is aligned; (3) volatile, because the driver writes it behind the
        // compiler's back; it does not write this one now, and any bytes would be valid integers.
        unsafe {
            let descriptor = self.mapping.start.add(at);
            let op_flags = descriptor.cast::<u32>().read_volatile();
            let sectors = descriptor.add(4).cast::<u32>().read_volatile();
            let start_sector = descriptor.add(8).cast::<u64>().read_volatile();
            Some(Descriptor::new(op_flags, sectors, start_sector))
        }
    }
}

/// A buffer for each tag of a queue, backed from the start; the driver copies requests' data to and
/// from them.
#[derive(Debug)]
pub(crate) struct Buffers {
    mapping: Mapping,
    depth: u16,
    buffer_len: usize,
}

impl Buffers {
    pub(crate) fn new(depth: u16, buffer_len: usize) -> io::Result<Self> {
        let len = usize::from(depth) * buffer_len;
        // SAFETY: as in `Descriptors::map`.
        let start = unsafe {
            mmap_anonymous(
                core::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::POPULATE,
            )
        }?;
        Ok(Self {
            mapping: Mapping::new(start, len)?,
            depth,
            buffer_len,
        })
    }

    /// Where the driver finds the buffer of a tag.
    pub(crate) fn address(&self, tag: u16) -> u64 {
        let offset = usize::from(tag) * self.buffer_len;
        (self.mapping.start.as_ptr().addr() + offset) as u64
    }

    /// The first `len` bytes of the buffer of a tag; none if it has fewer.
    ///
    /// Only for a tag whose request the driver has handed over: see `Ring`, whose `request` is the
    /// only caller.
    pub(crate) fn get(&mut self, tag: u16, len: usize) -> Option<&mut [u8]> {
        if tag >= self.depth || len > self.buffer_len {
            return None;
        }
        let offset = usize::from(tag) * self.buffer_len;
        // SAFETY: (1) `tag < depth` and `len <= buffer_len`, so the bytes lie in the mapping, which
        // is private, writable and initialised with zeroes; (2) `&mut self` makes this the only
        // reference from this process; (3) the driver touches the buffer only while it has the
        // tag, and the caller has it.
        Some(unsafe {
            core::slice::from_raw_parts_mut(self.mapping.start.add(offset).as_ptr(), len)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_do_not_overlap_and_have_bounds() {
        let mut buffers = Buffers::new(4, 8192).unwrap();
        for tag in 0..4 {
            buffers.get(tag, 8192).unwrap().fill(tag as u8 + 1);
            assert_eq!(buffers.address(tag) % 4096, 0);
        }
        for tag in 0..4 {
            let bytes = buffers.get(tag, 8192).unwrap();
            assert!(bytes.iter().all(|&byte| byte == tag as u8 + 1));
        }
        assert!(buffers.get(4, 1).is_none() && buffers.get(0, 8193).is_none());
        assert_eq!(buffers.get(3, 0).unwrap().len(), 0);
    }
}
