//! [`Chain`]: a request's descriptors, gone through once and checked.
//!
//! The guest could change them while they are looked at, so they are copied first; what is checked
//! is the copy.

use core::ops::Deref;
use virtio_queue::DescriptorChain;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemory, Permissions};

/// Descriptors of a request: as many as the largest ring has.
const SEGMENTS_MAX: usize = crate::abi::QUEUE_SIZE_MAX;

/// What one descriptor points to.
#[derive(Clone, Copy, Debug)]
struct Segment {
    address: GuestAddress,
    len: u32,
}

/// The request cannot be understood, or its memory not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadChain;

/// A place in what a chain gives to read, or to write; it moves on as bytes are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    segment: usize,
    end: usize,
    within: u32,
}

/// The descriptors of one request. Made once, and filled again for each.
///
/// ```text
///   segments   [ to read ............ | to write ............. ]
///              0                      readable              len
/// ```
#[derive(Debug)]
pub(crate) struct Chain {
    segments: Vec<Segment>,
    /// How many of the segments are for the device to read.
    readable: usize,
    readable_bytes: u64,
    writable_bytes: u64,
    /// The last byte that the device may write: the status.
    status: Option<GuestAddress>,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self {
            segments: Vec::with_capacity(SEGMENTS_MAX),
            readable: 0,
            readable_bytes: 0,
            writable_bytes: 0,
            status: None,
        }
    }

    /// Takes the descriptors of a request. The place of the status is known also after a failure,
    /// if one can be.
    pub(crate) fn collect<M>(&mut self, descriptors: DescriptorChain<M>) -> Result<(), BadChain>
    where
        M: Deref + Clone,
        M::Target: GuestMemory,
    {
        self.segments.clear();
        (self.readable, self.status) = (0, None);
        (self.readable_bytes, self.writable_bytes) = (0, 0);
        let memory = descriptors.clone();
        // A chain that breaks off still has a next descriptor where the iterator ends.
        let (mut is_complete, mut is_good, mut is_writable) = (false, true, false);
        for descriptor in descriptors {
            is_complete = !descriptor.has_next();
            let (address, len) = (descriptor.addr(), descriptor.len());
            let is_to_write = descriptor.is_write_only();
            // All that is to be read comes first.
            is_good &= is_to_write || !is_writable;
            is_writable |= is_to_write;
            let Some(last) = len.checked_sub(1) else {
                continue;
            };
            let access = match is_to_write {
                true => Permissions::Write,
                false => Permissions::Read,
            };
            is_good &= memory.memory().check_range(address, len as usize, access);
            if is_to_write {
                self.status = address.checked_add(u64::from(last));
                self.writable_bytes += u64::from(len);
            } else {
                self.readable_bytes += u64::from(len);
            }
            if self.segments.len() == SEGMENTS_MAX {
                is_good = false;
                continue;
            }
            self.segments.push(Segment { address, len });
            self.readable += usize::from(!is_to_write);
        }
        match is_complete && is_good {
            true => Ok(()),
            false => Err(BadChain),
        }
    }

    /// Bytes that the device may read.
    pub(crate) fn readable_bytes(&self) -> u64 {
        self.readable_bytes
    }

    /// Bytes that the device may write, the status among them.
    pub(crate) fn writable_bytes(&self) -> u64 {
        self.writable_bytes
    }

    /// The first byte to read.
    pub(crate) fn to_read(&self) -> Place {
        Place {
            segment: 0,
            end: self.readable,
            within: 0,
        }
    }

    /// The first byte to write.
    pub(crate) fn to_write(&self) -> Place {
        Place {
            segment: self.readable,
            end: self.segments.len(),
            within: 0,
        }
    }

    /// Reads what comes next.
    pub(crate) fn read(
        &self,
        memory: &impl GuestMemory,
        place: &mut Place,
        mut bytes: &mut [u8],
    ) -> Result<(), BadChain> {
        while !bytes.is_empty() {
            let (address, len) = self.take(place, bytes.len())?;
            let (now, later) = bytes.split_at_mut_checked(len).ok_or(BadChain)?;
            memory.read_slice(now, address).map_err(|_| BadChain)?;
            bytes = later;
        }
        Ok(())
    }

    /// Writes what comes next.
    pub(crate) fn write(
        &self,
        memory: &impl GuestMemory,
        place: &mut Place,
        mut bytes: &[u8],
    ) -> Result<(), BadChain> {
        while !bytes.is_empty() {
            let (address, len) = self.take(place, bytes.len())?;
            let (now, later) = bytes.split_at_checked(len).ok_or(BadChain)?;
            memory.write_slice(now, address).map_err(|_| BadChain)?;
            bytes = later;
        }
        Ok(())
    }

    /// Writes the status; false where there is no place for it.
    pub(crate) fn write_status(&self, memory: &impl GuestMemory, status: u8) -> bool {
        self.status
            .is_some_and(|address| memory.write_obj(status, address).is_ok())
    }

    /// Up to `len` bytes from a place on that lie in one segment.
    fn take(&self, place: &mut Place, len: usize) -> Result<(GuestAddress, usize), BadChain> {
        if place.segment >= place.end {
            return Err(BadChain);
        }
        let segment = self.segments.get(place.segment).ok_or(BadChain)?;
        let left = segment.len.saturating_sub(place.within);
        let len = left.min(u32::try_from(len).unwrap_or(u32::MAX));
        let address = segment.address.checked_add(u64::from(place.within));
        place.within += len;
        if place.within == segment.len {
            (place.segment, place.within) = (place.segment + 1, 0);
        }
        Ok((address.ok_or(BadChain)?, len as usize))
    }
}
