//! [`LoopDevice`]: a block device over a file.

use crate::calls;
use core::fmt;
use linux_raw_sys::loop_device::{
    LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO, loop_config, loop_info64,
};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{DupFlags, Errno, dup3};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CONTROL: &str = "/dev/loop-control";
/// Between the answer which device is free and its use, others may take it.
const TRIES_MAX: usize = 32;
/// A device that was just made appears in `/dev` a moment later.
const NODE_TIME: Duration = Duration::from_secs(5);
/// What closes devices behind our back (`udevd` looks at each change) is done well within.
const GONE_TIME: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// Why a loop device could not be set up or taken down.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoopError {
    /// `/dev/loop-control` cannot be used.
    Control(io::Error),
    /// A device cannot be opened or given its file.
    SetUp {
        /// Which.
        device: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Every device that was free was taken by somebody else first.
    Taken,
    /// Something uses the device: a swap area, a mount, another device over it.
    InUse {
        /// Which.
        device: PathBuf,
    },
    /// It cannot be taken down.
    TakeDown {
        /// Which.
        device: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for LoopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(error) => write!(f, "{CONTROL}: {error}"),
            Self::SetUp { device, error } => {
                write!(f, "{}: cannot be set up: {error}", device.display())
            }
            Self::Taken => write!(f, "no free loop device in {TRIES_MAX} tries"),
            Self::InUse { device } => write!(f, "{} is in use", device.display()),
            Self::TakeDown { device, error } => {
                write!(f, "{}: cannot be taken down: {error}", device.display())
            }
        }
    }
}

impl core::error::Error for LoopError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Control(error) | Self::SetUp { error, .. } | Self::TakeDown { error, .. } => {
                Some(error)
            }
            Self::Taken | Self::InUse { .. } => None,
        }
    }
}

/// A loop device of ours.
///
/// The kernel takes it down by itself when the last user has closed it (`LO_FLAGS_AUTOCLEAR`),
/// and this value is a user: a process that is killed leaves no idle loop device behind.
#[derive(Debug)]
pub struct LoopDevice {
    /// None once it was told to go.
    file: Option<OwnedFd>,
    path: PathBuf,
    /// `/sys/block/loopN`.
    state: PathBuf,
    /// Which of the disks that had this name it is.
    sequence: Option<u64>,
}

impl LoopDevice {
    /// A device over `backing`, in blocks of `block_size` bytes (512 to 4096), with direct I/O,
    /// so that there is no second copy in the page cache. Discards become holes of the file.
    ///
    /// # Errors
    /// [`LoopError`]; nothing is left set up then.
    pub fn attach(backing: impl AsFd, block_size: u32) -> Result<Self, LoopError> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let control = open(CONTROL, flags, Mode::empty())
            .map_err(|error| LoopError::Control(error.into()))?;
        let config = config(backing, block_size);
        for _ in 0..TRIES_MAX {
            let number =
                calls::loop_get_free(&control).map_err(|error| LoopError::Control(error.into()))?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let set_up = |error: Errno| LoopError::SetUp {
                device: path.clone(),
                error: error.into(),
            };
            let file = open_node(&path).map_err(set_up)?;
            match calls::loop_configure(&file, &config) {
                Ok(()) => {
                    return Ok(Self {
                        file: Some(file),
                        state: PathBuf::from(format!("/sys/block/loop{number}")),
                        sequence: sequence(&path),
                        path,
                    });
                }
                Err(Errno::BUSY) => {}
                Err(error) => return Err(set_up(error)),
            }
        }
        Err(LoopError::Taken)
    }

    /// Keeps the device open by another number: that of a file which is closed then. See
    /// [`early_number`].
    ///
    /// # Errors
    /// None that is known.
    pub fn renumber(&mut self, mut number: OwnedFd) -> io::Result<()> {
        if let Some(file) = &self.file {
            dup3(file, &mut number, DupFlags::CLOEXEC)?;
            self.file = Some(number);
        }
        Ok(())
    }

    /// `/dev/loopN`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the kernel goes around the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        std::fs::read_to_string(self.state.join("loop/dio")).is_ok_and(|text| text.trim() == "1")
    }

    /// Whether the kernel still has the device: it goes when its last user closes it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.state.join("loop/backing_file").exists() && sequence(&self.path) == self.sequence
    }

    /// Takes the device down; returns when the kernel has let go of the file.
    ///
    /// # Errors
    /// [`LoopError::InUse`]: it is still there, and this can be tried again.
    pub fn detach(&mut self) -> Result<(), LoopError> {
        self.detach_within(GONE_TIME)
    }

    fn detach_within(&mut self, time: Duration) -> Result<(), LoopError> {
        let in_use = || LoopError::InUse {
            device: self.path.clone(),
        };
        if let Some(file) = &self.file {
            // Held until it is told to go, so that nobody mounts it in between.
            let _claimed = match claim(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Err(in_use()),
                claimed => claimed,
            };
            match calls::loop_clear(file) {
                // ENXIO: somebody else has taken it down.
                Ok(()) | Err(Errno::NXIO) => {}
                Err(Errno::BUSY) => return Err(in_use()),
                Err(error) => {
                    return Err(LoopError::TakeDown {
                        device: self.path.clone(),
                        error: error.into(),
                    });
                }
            }
        }
        // It goes when the last user closes it, and this is one.
        self.file = None;
        let end = Instant::now() + time;
        while self.is_there() {
            if Instant::now() > end {
                return Err(LoopError::InUse {
                    device: self.path.clone(),
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// The lowest number of a file that is free, kept for a loop device over a file that this process
/// serves itself; to be called before it opens what it serves by.
///
/// A process that is killed closes its files from the highest number down (`task_work_run`, from
/// Linux 4.3 on), and the last user of a block device waits until everything is written that others
/// left in its buffer. So the device has to have the lowest number: all connections to the server are
/// cut off by then, and writes fail. Otherwise they wait for the server, which cannot end.
///
/// # Errors
/// Where there is no `/dev/null`.
pub fn early_number() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    open("/dev/null", flags, Mode::empty()).map_err(Into::into)
}

/// The sequence number of the disk that has a name now: no other disk has it until the next boot,
/// also none that gets the same name later. None before Linux 5.15, and where there is no such disk.
#[must_use]
pub fn sequence(device: &Path) -> Option<u64> {
    let name = device.strip_prefix("/dev").ok()?;
    let text = std::fs::read_to_string(Path::new("/sys/block").join(name).join("diskseq"));
    text.ok()?.trim().parse().ok()
}

fn config(backing: impl AsFd, block_size: u32) -> loop_config {
    // What `losetup` and `lsblk` show.
    let mut lo_file_name = [0; 64];
    for (to, from) in lo_file_name.iter_mut().zip(b"compcache") {
        *to = *from;
    }
    loop_config {
        fd: backing.as_fd().as_raw_fd().cast_unsigned(),
        block_size,
        info: loop_info64 {
            lo_device: 0,
            lo_inode: 0,
            lo_rdevice: 0,
            lo_offset: 0,
            lo_sizelimit: 0,
            lo_number: 0,
            lo_encrypt_type: 0,
            lo_encrypt_key_size: 0,
            lo_flags: LO_FLAGS_DIRECT_IO as u32 | LO_FLAGS_AUTOCLEAR as u32,
            lo_file_name,
            lo_crypt_name: [0; 64],
            lo_encrypt_key: [0; 32],
            lo_init: [0; 2],
        },
        __reserved: [0; 8],
    }
}

/// Claims a block device: as long as the answer lives, nobody swaps to it, mounts it, or puts another
/// device over it. Who has it open without claiming it is not seen.
///
/// # Errors
/// `EBUSY` if somebody has claimed it; others if it cannot be opened.
pub fn claim(device: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
    open(device, flags, Mode::empty()).map_err(Into::into)
}

/// Whether something has claimed a block device for itself: swap, a mount, a device over it. Where
/// that cannot be found out, it has.
#[must_use]
pub fn is_claimed(device: &Path) -> bool {
    claim(device).is_err_and(|error| !is_gone(&error))
}

/// Whether a claim failed because there is no such device any more.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NXIO, Errno::NODEV];
    gone.iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn open_node(path: &Path) -> Result<OwnedFd, Errno> {
    let end = Instant::now() + NODE_TIME;
    loop {
        match open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT | Errno::NXIO) if Instant::now() < end => std::thread::sleep(POLL),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
