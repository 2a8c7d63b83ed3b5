//! [`Disk`]: a directory with one file, which is the device.
//!
//! Like a disk, the file keeps its size: cutting it off does nothing, and what is written behind
//! its end fails with ENOSPC. Like a file, it is read and written from anywhere to anywhere: the
//! kernel cuts a large write where pages of its buffer end, which may be within a sector.

use crate::buffers::Buffers;
use crate::server::FILE_NAME;
use compcache_device::{BlockDevice, ExtentKind, PAGE_SIZE, SECTOR_SIZE};
use core::ops::Range;
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The most bytes of a request. The kernel cuts larger ones.
pub(crate) const REQUEST_BYTES_MAX: usize = 256 << 10;
/// Requests that wait in the kernel at once; loop devices queue 128.
const BACKGROUND_MAX: u16 = 256;
/// How long the kernel may believe attributes; nothing in them but the number of blocks changes.
const ATTR_TIME: Duration = Duration::from_secs(60);
/// Looked at in one go when data or holes are sought, so that a request has a bound.
const EXTENT_STEP: u64 = 1 << 30;

const ROOT: INodeNo = INodeNo::ROOT;
const DISK: INodeNo = INodeNo(2);

/// `fallocate(2)`, from `linux/falloc.h`.
const KEEP_SIZE: i32 = 0x01;
const PUNCH_HOLE: i32 = 0x02;
const ZERO_RANGE: i32 = 0x10;

/// `lseek(2)`, from `linux/fs.h`.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

pub(crate) struct Disk {
    device: Arc<dyn BlockDevice>,
    buffers: Buffers,
    /// Held while a part of a sector is written: it is read, changed, and written as a whole.
    parts: Mutex<()>,
    /// How often the file is open.
    opens: Arc<AtomicUsize>,
    uid: u32,
    gid: u32,
    made: SystemTime,
}

impl Disk {
    pub(crate) fn new(device: Arc<dyn BlockDevice>, threads: usize) -> Self {
        // A sector more on both sides, for reads that begin and end within one.
        let len = REQUEST_BYTES_MAX + 2 * SECTOR_SIZE as usize;
        Self {
            device,
            buffers: Buffers::new(threads, len),
            parts: Mutex::new(()),
            opens: Arc::default(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            made: SystemTime::now(),
        }
    }

    /// How often the file is open, now and later.
    pub(crate) fn opens(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.opens)
    }

    fn attr(&self, ino: INodeNo) -> Result<FileAttr, Errno> {
        let is_disk = match ino {
            DISK => true,
            ROOT => false,
            _ => return Err(Errno::ENOENT),
        };
        Ok(FileAttr {
            ino,
            size: if is_disk { self.device.size() } else { 0 },
            // Not zero, which old readers of sparse files take for "nothing but a hole"; less
            // than all, so that they seek for holes.
            blocks: u64::from(is_disk),
            atime: self.made,
            mtime: self.made,
            ctime: self.made,
            crtime: self.made,
            kind: match is_disk {
                true => FileType::RegularFile,
                false => FileType::Directory,
            },
            perm: if is_disk { 0o600 } else { 0o500 },
            nlink: if is_disk { 1 } else { 2 },
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: PAGE_SIZE as u32,
            flags: 0,
        })
    }

    /// Reads into a buffer and hands on what was asked for: less at the end of the device.
    fn read_at<T>(
        &self,
        offset: u64,
        len: usize,
        answer: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Errno> {
        let offset = offset.min(self.device.size());
        let len = (self.device.size() - offset).min(len as u64);
        let first = offset - offset % SECTOR_SIZE;
        let end = (offset + len).next_multiple_of(SECTOR_SIZE);
        let mut buffer = self.buffers.take().ok_or(Errno::EIO)?;
        let sectors = buffer
            .get_mut(..(end - first) as usize)
            .ok_or(Errno::EINVAL)?;
        self.device.read(first, sectors).map_err(errno)?;
        let skip = (offset - first) as usize;
        let asked = sectors.get(skip..skip + len as usize);
        Ok(answer(asked.ok_or(Errno::EINVAL)?))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let room = self.device.size().saturating_sub(offset);
        if room == 0 && !data.is_empty() {
            return Err(Errno::ENOSPC);
        }
        let len = usize::try_from(room).map_or(data.len(), |room| room.min(data.len()));
        let data = data.get(..len).ok_or(Errno::EINVAL)?;
        let (first, whole, last) = parts(offset, len as u64);
        let piece = |from: u64, to: u64| {
            let range = (from - offset) as usize..(to - offset) as usize;
            data.get(range).ok_or(Errno::EINVAL)
        };
        self.write_part(first.start, piece(first.start, first.end)?)?;
        if !whole.is_empty() {
            let bytes = piece(whole.start, whole.end)?;
            self.device.write(whole.start, bytes).map_err(errno)?;
        }
        self.write_part(last.start, piece(last.start, last.end)?)?;
        u32::try_from(len).map_err(|_| Errno::EINVAL)
    }

    /// Writes bytes that lie within one sector; nothing where there are none.
    fn write_part(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        if data.is_empty() {
            return Ok(());
        }
        let within = (offset % SECTOR_SIZE) as usize;
        let at = offset - within as u64;
        let mut sector = [0; SECTOR_SIZE as usize];
        let _alone = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        self.device.read(at, &mut sector).map_err(errno)?;
        let room = sector.get_mut(within..within + data.len());
        room.ok_or(Errno::EINVAL)?.copy_from_slice(data);
        self.device.write(at, &sector).map_err(errno)
    }

    fn allocate_at(&self, offset: u64, len: u64, mode: i32) -> Result<(), Errno> {
        let size = self.device.size();
        let is_within = offset.checked_add(len).is_some_and(|end| end <= size);
        // Success would make the kernel believe that the file has grown.
        if mode & KEEP_SIZE == 0 && !is_within {
            return Err(Errno::ENOSPC);
        }
        let offset = offset.min(size);
        let len = len.min(size - offset);
        match mode & !KEEP_SIZE {
            // A disk has all its blocks.
            0 => Ok(()),
            PUNCH_HOLE if (offset | len).is_multiple_of(PAGE_SIZE) => {
                self.device.discard(offset, len).map_err(errno)
            }
            // A hole reads as zeroes also where it does not cover pages as a whole.
            PUNCH_HOLE | ZERO_RANGE => self.zero_at(offset, len),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn zero_at(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let (first, whole, last) = parts(offset, len);
        for part in [first, last] {
            let zeroes = [0; SECTOR_SIZE as usize];
            let zeroes = zeroes.get(..(part.end - part.start) as usize);
            self.write_part(part.start, zeroes.ok_or(Errno::EINVAL)?)?;
        }
        let len = whole.end - whole.start;
        self.device.write_zeroes(whole.start, len).map_err(errno)
    }

    fn seek_to(&self, offset: u64, wanted: ExtentKind) -> Result<u64, Errno> {
        let size = self.device.size();
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let mut at = offset - offset % SECTOR_SIZE;
        while at < size {
            let step = EXTENT_STEP.min(size - at);
            let extent = self.device.extent(at, step).map_err(errno)?;
            if extent.kind == wanted {
                return Ok(at.max(offset));
            }
            at += extent.len;
        }
        match wanted {
            // Behind the end is a hole.
            ExtentKind::Hole => Ok(size),
            ExtentKind::Data => Err(Errno::ENXIO),
        }
    }
}

/// The bytes before the first whole sector of a range, the whole sectors, and the bytes behind them.
/// What is empty begins and ends inside the range, whole sectors between sectors.
fn parts(offset: u64, len: u64) -> (Range<u64>, Range<u64>, Range<u64>) {
    let end = offset + len;
    // A range within one sector has a first part only.
    let start = offset.next_multiple_of(SECTOR_SIZE);
    if start > end {
        return (offset..end, start..start, end..end);
    }
    let stop = end - end % SECTOR_SIZE;
    (offset..start, start..stop, stop..end)
}

/// The device's own number.
fn errno(error: compcache_device::Error) -> Errno {
    Errno::from_i32(error.errno() as i32)
}

/// Everything is asked of the file but this.
fn on_disk(ino: INodeNo) -> Result<(), Errno> {
    match ino {
        DISK => Ok(()),
        _ => Err(Errno::EISDIR),
    }
}

fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Disk {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Older kernels lack some; everything works without them, at another speed.
        for wanted in [InitFlags::FUSE_ASYNC_DIO, InitFlags::FUSE_MAX_PAGES] {
            let _ = config.add_capabilities(wanted);
        }
        let _ = config.set_max_write(REQUEST_BYTES_MAX as u32);
        let _ = config.set_max_background(BACKGROUND_MAX);
        let _ = config.set_congestion_threshold(BACKGROUND_MAX);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = (parent == ROOT && name == FILE_NAME).then_some(DISK);
        match found.ok_or(Errno::ENOENT).and_then(|ino| self.attr(ino)) {
            Ok(attr) => reply.entry(&ATTR_TIME, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(ino) {
            Ok(attr) => reply.attr(&ATTR_TIME, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let is_fixed = mode.is_none() && uid.is_none() && gid.is_none();
        match self.attr(ino).and_then(|attr| match is_fixed {
            true => Ok(attr),
            false => Err(Errno::EPERM),
        }) {
            Ok(attr) => reply.attr(&ATTR_TIME, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Around the page cache, which would keep a second copy of what is compressed here.
        // And close(2) has nothing to wait for.
        let flags = FopenFlags::FOPEN_DIRECT_IO
            | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
            | FopenFlags::FOPEN_NOFLUSH;
        match on_disk(ino) {
            Ok(()) => {
                self.opens.fetch_add(1, Ordering::Relaxed);
                reply.opened(FileHandle(0), flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.opens.fetch_sub(1, Ordering::Relaxed);
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        // The answer is sent from inside, while the buffer is held.
        let mut waiting = Some(reply);
        let result = on_disk(ino).and_then(|()| {
            self.read_at(offset, size as usize, |bytes| {
                if let Some(reply) = waiting.take() {
                    reply.data(bytes);
                }
            })
        });
        if let (Err(error), Some(reply)) = (result, waiting) {
            reply.error(error);
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match on_disk(ino).and_then(|()| self.write_at(offset, data)) {
            Ok(len) => reply.written(len),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Asked at close(2) by older kernels, which after this answer do not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(
            reply,
            on_disk(ino).and_then(|()| self.device.flush().map_err(errno)),
        );
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if ino != ROOT {
            return reply.error(Errno::ENOTDIR);
        }
        let entries = [
            (ROOT, FileType::Directory, "."),
            (ROOT, FileType::Directory, ".."),
            (DISK, FileType::RegularFile, FILE_NAME),
        ];
        for ((ino, kind, name), next) in entries.into_iter().zip(1..) {
            if next > offset && reply.add(ino, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // The block size is also the smallest hole that a loop device will make.
        let block = PAGE_SIZE as u32;
        let blocks = self.device.size() / PAGE_SIZE;
        reply.statfs(blocks, 0, 0, 2, 0, block, 255, block);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let result = on_disk(ino).and_then(|()| self.allocate_at(offset, length, mode));
        done(reply, result);
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let found = on_disk(ino).and_then(|()| {
            let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            match whence {
                SEEK_DATA => self.seek_to(offset, ExtentKind::Data),
                SEEK_HOLE => self.seek_to(offset, ExtentKind::Hole),
                _ => Err(Errno::EINVAL),
            }
        });
        match found.and_then(|found| i64::try_from(found).map_err(|_| Errno::EOVERFLOW)) {
            Ok(found) => reply.offset(found),
            Err(error) => reply.error(error),
        }
    }
}

#[cfg(test)]
mod tests;
