//! [`Worker`]: requests done, and answered.
//!
//! Data goes through a buffer of the worker's, never straight between the device and the guest's
//! memory: the guest can change that at any time, and a codec that looks twice at a byte must
//! see it twice the same.

use crate::abi::{RANGE_SECTORS_MAX, RANGES_MAX};
use crate::chain::{BadChain, Chain, Place};
use compcache_device::{BlockDevice, PAGE_SIZE, SECTOR_SIZE, check_range};
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP,
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};
use virtio_queue::DescriptorChain;
use vm_memory::GuestMemory;

#[cfg(test)]
mod tests;

/// Bytes of the buffer: larger requests are done in pieces.
const BUFFER_BYTES: usize = 64 << 10;
/// Type, reserved, first sector.
const HEADER_BYTES: usize = 16;
/// First sector, sectors, flags.
const RANGE_BYTES: usize = 16;
/// What the guest is told is the serial number.
const SERIAL: &[u8] = b"compcache";

/// What a worker serves.
pub(crate) struct Disk<'a> {
    pub(crate) device: &'a dyn BlockDevice,
    pub(crate) read_only: bool,
    /// Requests of many pieces are given up.
    pub(crate) is_stopping: &'a AtomicBool,
}

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// It is none that this device knows.
    Unsupported,
    /// It is malformed, reaches past the end, or the device could not do it.
    Io,
}

impl From<BadChain> for Failure {
    fn from(_: BadChain) -> Self {
        Self::Io
    }
}

impl From<compcache_device::Error> for Failure {
    fn from(_: compcache_device::Error) -> Self {
        Self::Io
    }
}

/// All that one thread needs, made once: no request allocates.
pub(crate) struct Worker {
    chain: Chain,
    buffer: Box<[u8]>,
}

impl Worker {
    /// A worker whose memory is there, not only reserved.
    pub(crate) fn new() -> Self {
        Self {
            chain: Chain::new(),
            // Zeroes would come from fresh mappings, which are backed at their first use only.
            buffer: vec![0xff; BUFFER_BYTES].into_boxed_slice(),
        }
    }

    /// Does one request; bytes that were written from the first writable one on.
    pub(crate) fn serve<M>(&mut self, disk: &Disk<'_>, descriptors: DescriptorChain<M>) -> u32
    where
        M: Deref + Clone,
        M::Target: GuestMemory + Sized,
    {
        let guest = descriptors.clone();
        let memory = guest.memory();
        let mut data = Data::default();
        let collected = self.chain.collect(descriptors);
        let result = match self.chain.writable_bytes() {
            // Nobody would learn how it went.
            0 => return 0,
            _ => collected
                .map_err(Failure::from)
                .and_then(|()| self.request(disk, memory, &mut data)),
        };
        let status = match result {
            Ok(()) => VIRTIO_BLK_S_OK,
            Err(Failure::Unsupported) => VIRTIO_BLK_S_UNSUPP,
            Err(Failure::Io) => VIRTIO_BLK_S_IOERR,
        };
        let is_told = self.chain.write_status(memory, status as u8);
        // The status lies behind the data, so it counts only if all of that is there.
        let is_whole = u64::from(data.written) + 1 == self.chain.writable_bytes();
        data.written + u32::from(is_told && is_whole)
    }

    fn request(
        &mut self,
        disk: &Disk<'_>,
        memory: &impl GuestMemory,
        data: &mut Data,
    ) -> Result<(), Failure> {
        let mut place = self.chain.to_read();
        let mut header = [0; HEADER_BYTES];
        self.chain.read(memory, &mut place, &mut header)?;
        let (kind, sector) = (u32_at(&header, 0), u64_at(&header, 8));
        let offset = sector.checked_mul(SECTOR_SIZE);
        match kind {
            VIRTIO_BLK_T_IN => self.read(disk, memory, offset.ok_or(Failure::Io)?, data),
            VIRTIO_BLK_T_OUT => self.write(disk, memory, offset.ok_or(Failure::Io)?, place),
            VIRTIO_BLK_T_FLUSH => {
                self.expect_readable(0)?;
                self.expect_status_alone()?;
                Ok(disk.device.flush()?)
            }
            VIRTIO_BLK_T_GET_ID => self.serial(memory, data),
            VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES if disk.read_only => Err(Failure::Io),
            VIRTIO_BLK_T_DISCARD => self.ranges(memory, place, disk, Zeroing::Discard),
            VIRTIO_BLK_T_WRITE_ZEROES => self.ranges(memory, place, disk, Zeroing::WriteZeroes),
            _ => Err(Failure::Unsupported),
        }
    }

    fn read(
        &mut self,
        disk: &Disk<'_>,
        memory: &impl GuestMemory,
        offset: u64,
        data: &mut Data,
    ) -> Result<(), Failure> {
        self.expect_readable(0)?;
        let len = self.chain.writable_bytes() - 1;
        let mut pieces = Pieces::new(disk, offset, len)?;
        let mut place = self.chain.to_write();
        while let Some((at, len)) = pieces.next(disk)? {
            let piece = self.buffer.get_mut(..len).ok_or(Failure::Io)?;
            disk.device.read(at, piece)?;
            self.chain.write(memory, &mut place, piece)?;
            data.written += len as u32;
        }
        Ok(())
    }

    fn write(
        &mut self,
        disk: &Disk<'_>,
        memory: &impl GuestMemory,
        offset: u64,
        mut place: Place,
    ) -> Result<(), Failure> {
        self.expect_status_alone()?;
        if disk.read_only {
            return Err(Failure::Io);
        }
        let len = self.chain.readable_bytes() - HEADER_BYTES as u64;
        let mut pieces = Pieces::new(disk, offset, len)?;
        while let Some((at, len)) = pieces.next(disk)? {
            let piece = self.buffer.get_mut(..len).ok_or(Failure::Io)?;
            self.chain.read(memory, &mut place, piece)?;
            disk.device.write(at, piece)?;
        }
        Ok(())
    }

    fn serial(&self, memory: &impl GuestMemory, data: &mut Data) -> Result<(), Failure> {
        self.expect_readable(0)?;
        let mut serial = [0; VIRTIO_BLK_ID_BYTES as usize];
        for (to, from) in serial.iter_mut().zip(SERIAL) {
            *to = *from;
        }
        let room = usize::try_from(self.chain.writable_bytes() - 1).unwrap_or(usize::MAX);
        let text = serial.get(..room).unwrap_or(&serial);
        self.chain.write(memory, &mut self.chain.to_write(), text)?;
        data.written = text.len() as u32;
        Ok(())
    }

    /// Discards or zeroes ranges; all are checked before the first is touched.
    fn ranges(
        &mut self,
        memory: &impl GuestMemory,
        mut place: Place,
        disk: &Disk<'_>,
        how: Zeroing,
    ) -> Result<(), Failure> {
        self.expect_status_alone()?;
        let len = self.chain.readable_bytes() - HEADER_BYTES as u64;
        let is_fit = len > 0
            && len.is_multiple_of(RANGE_BYTES as u64)
            && len <= u64::from(RANGES_MAX) * RANGE_BYTES as u64;
        let ranges = match is_fit {
            true => self.buffer.get_mut(..len as usize).ok_or(Failure::Io)?,
            false => return Err(Failure::Io),
        };
        self.chain.read(memory, &mut place, ranges)?;
        for range in ranges.chunks_exact(RANGE_BYTES) {
            let flags = u32_at(range, 12);
            if flags & !how.flags() != 0 {
                return Err(Failure::Unsupported);
            }
            let (offset, len) = range_of(range)?;
            check_range(offset, len, disk.device.size())?;
        }
        for range in ranges.chunks_exact(RANGE_BYTES) {
            let (offset, len) = range_of(range)?;
            match how {
                Zeroing::Discard => disk.device.discard(offset, len)?,
                Zeroing::WriteZeroes => disk.device.write_zeroes(offset, len)?,
            }
        }
        Ok(())
    }

    /// Nothing to read but the header and so much.
    fn expect_readable(&self, len: u64) -> Result<(), Failure> {
        match self.chain.readable_bytes() == HEADER_BYTES as u64 + len {
            true => Ok(()),
            false => Err(Failure::Io),
        }
    }

    /// Nothing to write but the status.
    fn expect_status_alone(&self) -> Result<(), Failure> {
        match self.chain.writable_bytes() {
            1 => Ok(()),
            _ => Err(Failure::Io),
        }
    }
}

/// What was written into the guest's memory.
#[derive(Default)]
struct Data {
    written: u32,
}

#[derive(Clone, Copy)]
enum Zeroing {
    Discard,
    WriteZeroes,
}

impl Zeroing {
    /// Flags that its ranges may have: zeroed pages become holes whether it is set or not.
    fn flags(self) -> u32 {
        match self {
            Self::Discard => 0,
            Self::WriteZeroes => VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
        }
    }
}

/// A request's range in pieces that fit into the buffer and end where pages do, so that a page is
/// done as a whole wherever the request begins.
struct Pieces {
    start: u64,
    at: u64,
    end: u64,
}

impl Pieces {
    fn new(disk: &Disk<'_>, offset: u64, len: u64) -> Result<Self, Failure> {
        check_range(offset, len, disk.device.size())?;
        match len {
            0 => Err(Failure::Io),
            _ => Ok(Self {
                start: offset,
                at: offset,
                end: offset + len,
            }),
        }
    }

    fn next(&mut self, disk: &Disk<'_>) -> Result<Option<(u64, usize)>, Failure> {
        let is_between = self.at != self.start && self.at != self.end;
        if is_between && disk.is_stopping.load(Ordering::Relaxed) {
            return Err(Failure::Io);
        }
        let room = BUFFER_BYTES as u64 - self.at % PAGE_SIZE;
        let (at, len) = (self.at, room.min(self.end - self.at));
        self.at += len;
        Ok((len > 0).then_some((at, len as usize)))
    }
}

/// Offset and length of a range, in bytes.
fn range_of(range: &[u8]) -> Result<(u64, u64), Failure> {
    let (sector, sectors) = (u64_at(range, 0), u32_at(range, 8));
    if sectors > RANGE_SECTORS_MAX {
        return Err(Failure::Io);
    }
    let offset = sector.checked_mul(SECTOR_SIZE).ok_or(Failure::Io)?;
    Ok((offset, u64::from(sectors) * SECTOR_SIZE))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let part = bytes.get(at..).and_then(<[u8]>::first_chunk);
    part.map_or(0, |part| u32::from_le_bytes(*part))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let part = bytes.get(at..).and_then(<[u8]>::first_chunk);
    part.map_or(0, |part| u64::from_le_bytes(*part))
}
