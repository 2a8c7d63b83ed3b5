//! [`FileStore`]: a file, a file without a name, or a block device.

use super::Store;
use crate::error::OpenError;
use parking_lot::Mutex;
use rustix::fs::{self, Advice, FallocateFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes that are written between two waits for the disk.
const SETTLE_LEN: u64 = 8 << 20;
/// Offsets of a sparse file, for each byte that it may have: a file's holes are used for nothing
/// else until a whole segment is empty.
const SPAN: u64 = 4;
const BLOCK_LEN: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Blocks can be given back.
    Sparse,
    /// A file on a file system that cannot.
    Dense,
    Device,
}

/// A file, or a block device. Its old content is given up. A file takes blocks as they are
/// written, and gives them back.
///
/// Writes go through the page cache. Every 8 MiB they are waited for and dropped from it: what is
/// written to save memory must not stay there.
#[derive(Debug)]
pub struct FileStore {
    file: File,
    what: What,
    len: u64,
    block_len: u64,
    unsettled: Mutex<Unsettled>,
}

#[derive(Debug, Default)]
struct Unsettled {
    len: u64,
    ranges: Vec<(u64, u64)>,
}

impl FileStore {
    /// Opens what is at `path`, for at most `len` bytes:
    ///
    /// * a directory: a file without a name in it, which is gone when it is closed;
    /// * a block device: claimed for this store alone, discarded, and used up to its size;
    /// * a file, which is made if there is none (mode 0600): locked and emptied.
    ///
    /// # Errors
    /// If it cannot be opened or emptied, is something else, or is used by somebody else.
    pub fn open(path: &Path, len: u64) -> Result<Self, OpenError> {
        let io_error = |errno: Errno| match errno {
            Errno::BUSY | Errno::TXTBSY => OpenError::InUse,
            errno => OpenError::Io(errno.into()),
        };
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let kind = match fs::stat(path) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(io_error(errno)),
        };
        let flags = match kind {
            Some(FileType::Directory) => flags | OFlags::TMPFILE,
            // Nobody else has mounted it or swaps to it, nor will.
            Some(FileType::BlockDevice) => flags | OFlags::EXCL,
            Some(FileType::RegularFile) => flags,
            None => flags | OFlags::CREATE | OFlags::EXCL,
            Some(_) => return Err(OpenError::BadKind),
        };
        let file = File::from(fs::open(path, flags, mode).map_err(io_error)?);
        // What was opened counts, not what was there before.
        let stat = fs::fstat(&file).map_err(io_error)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Self::regular(file, len),
            FileType::BlockDevice if flags.contains(OFlags::EXCL) => Self::device(file, len),
            _ => Err(OpenError::BadKind),
        }
    }

    fn regular(file: File, len: u64) -> Result<Self, OpenError> {
        match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(OpenError::InUse),
            Err(errno) => return Err(OpenError::Io(errno.into())),
        }
        file.set_len(0).map_err(OpenError::Io)?;
        let statistics = fs::fstatvfs(&file).map_err(|errno| OpenError::Io(errno.into()))?;
        let block_len = statistics.f_frsize.max(BLOCK_LEN);
        // Whether holes can be punched is found out by punching one.
        file.write_all_at(&[0; BLOCK_LEN as usize], 0)
            .map_err(OpenError::Io)?;
        let what = match punch(&file, 0, BLOCK_LEN) {
            Ok(()) if block_len.is_power_of_two() => What::Sparse,
            _ => What::Dense,
        };
        file.set_len(0).map_err(OpenError::Io)?;
        Ok(Self::with(file, what, len, block_len))
    }

    fn device(file: File, len: u64) -> Result<Self, OpenError> {
        let size = fs::seek(&file, fs::SeekFrom::End(0));
        let size = size.map_err(|errno| OpenError::Io(errno.into()))?;
        let store = Self::with(file, What::Device, len.min(size), BLOCK_LEN);
        // A device that cannot discard has nothing to gain by it.
        let _ = store.discard(0, store.len);
        Ok(store)
    }

    fn with(file: File, what: What, len: u64, block_len: u64) -> Self {
        Self {
            file,
            what,
            len,
            block_len,
            unsettled: Mutex::default(),
        }
    }

    /// Bytes that the file takes on its disk; for a device, the bytes that may be used.
    ///
    /// # Errors
    /// If the file system does not say.
    pub fn allocated_bytes(&self) -> io::Result<u64> {
        match self.what {
            What::Device => Ok(self.len),
            _ => Ok(u64::try_from(fs::fstat(&self.file)?.st_blocks).unwrap_or(0) * 512),
        }
    }
}

fn punch(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    loop {
        match fs::fallocate(file, flags, offset, len) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Err(io::ErrorKind::Unsupported.into()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Store for FileStore {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        match self.what {
            What::Sparse => punch(&self.file, offset, len),
            What::Dense => Err(io::ErrorKind::Unsupported.into()),
            What::Device => compcache_sys::discard::discard(&self.file, offset, len),
        }
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn span(&self) -> u64 {
        match self.what {
            What::Sparse => self.len.saturating_mul(SPAN),
            What::Dense | What::Device => self.len,
        }
    }

    fn block_len(&self) -> u64 {
        match self.what {
            What::Sparse => self.block_len,
            // A device's blocks are nobody else's, but for whole segments' in thin pools.
            What::Dense | What::Device => 0,
        }
    }

    fn settle(&self, offset: u64, len: u64) -> io::Result<()> {
        let ranges = {
            let mut unsettled = self.unsettled.lock();
            unsettled.len += len;
            unsettled.ranges.push((offset, len));
            if unsettled.len < SETTLE_LEN {
                return Ok(());
            }
            unsettled.len = 0;
            core::mem::take(&mut unsettled.ranges)
        };
        fs::fdatasync(&self.file)?;
        for (offset, len) in ranges {
            // What cannot be dropped is dropped by the kernel some time.
            let _ = fs::fadvise(
                &self.file,
                offset,
                core::num::NonZeroU64::new(len),
                Advice::DontNeed,
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
