//! [`Server`]: starting and stopping.

use crate::attach::{self, AttachError, Place};
use crate::disk::Disk;
use compcache_device::BlockDevice;
use compcache_sys::loops::{self, LoopDevice, LoopError};
use core::fmt;
use fuser::BackgroundSession;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The name of the file.
pub const FILE_NAME: &str = "disk";
/// A thread answers a request in microseconds; more of them only wait for each other.
const THREADS_MAX: usize = 8;
/// Threads end within moments of the unmount, unless somebody has the file open.
const END_TIME: Duration = Duration::from_secs(10);
/// The kernel tells of a closed file after close(2) has returned.
const CLOSE_TIME: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

/// What to serve it as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the file is.
    pub place: Place,
    /// Block size of the loop device over it, 512 to 4096 bytes; none for no loop device.
    pub loop_block_size: Option<u32>,
    /// Requests served at once.
    pub threads: usize,
    /// Refuse writes; at a directory and without a loop device only.
    pub read_only: bool,
}

impl Config {
    /// As many threads as CPUs, up to 8.
    #[must_use]
    pub fn new(place: Place, loop_block_size: Option<u32>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            place,
            loop_block_size,
            threads: cpus.clamp(2, THREADS_MAX),
            read_only: false,
        }
    }
}

/// Why it cannot be served, or not be stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum FuseError {
    /// The file system cannot be where it should.
    Attach(AttachError),
    /// The loop device, at the start or at the end.
    Loop(LoopError),
    /// The file cannot be opened for the loop device.
    Open {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody has the file open, or works in the directory. It is still served.
    InUse {
        /// Where the file is; none if nowhere.
        directory: Option<PathBuf>,
        /// What the kernel said.
        error: io::Error,
    },
}

impl fmt::Display for FuseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attach(error) => error.fmt(f),
            Self::Loop(error) => error.fmt(f),
            Self::Open { file, error } => write!(f, "{}: {error}", file.display()),
            Self::InUse { directory, error } => match directory {
                Some(directory) => write!(f, "{} is in use: {error}", directory.display()),
                None => write!(f, "the file under the loop device is in use: {error}"),
            },
        }
    }
}

impl core::error::Error for FuseError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Attach(error) => Some(error),
            Self::Loop(error) => Some(error),
            Self::Open { error, .. } | Self::InUse { error, .. } => Some(error),
        }
    }
}

impl From<AttachError> for FuseError {
    fn from(error: AttachError) -> Self {
        Self::Attach(error)
    }
}

impl From<LoopError> for FuseError {
    fn from(error: LoopError) -> Self {
        Self::Loop(error)
    }
}

/// Of the files that a process may have open, all are.
fn no_number(error: io::Error) -> FuseError {
    FuseError::Open {
        file: "/dev/null".into(),
        error,
    }
}

/// A file that is served, and the loop device over it. Taken down when it is dropped, if nobody
/// uses it then.
#[derive(Debug)]
pub struct Server {
    // In the order in which they go.
    loop_device: Option<LoopDevice>,
    file: Option<OwnedFd>,
    /// None once it has ended.
    session: Option<BackgroundSession>,
    directory: Option<PathBuf>,
    /// How often the file is open.
    opens: Arc<AtomicUsize>,
}

impl Server {
    /// Serves a device.
    ///
    /// # Errors
    /// [`FuseError`]; nothing is left mounted or set up then.
    pub fn start(device: Arc<dyn BlockDevice>, config: &Config) -> Result<Self, FuseError> {
        let threads = config.threads.max(1);
        let disk = Disk::new(device, threads);
        let opens = disk.opens();
        let number = match config.loop_block_size {
            Some(_) => Some(loops::early_number().map_err(no_number)?),
            None => None,
        };
        let mut server = match &config.place {
            Place::Directory(directory) => Self {
                loop_device: None,
                file: None,
                session: Some(attach::at_directory(
                    disk,
                    directory,
                    threads,
                    config.read_only,
                )?),
                directory: Some(directory.clone()),
                opens,
            },
            Place::Hidden => {
                let (session, file) = attach::hidden(disk, FILE_NAME, threads)?;
                Self {
                    loop_device: None,
                    file: Some(file),
                    session: Some(session),
                    directory: None,
                    opens,
                }
            }
        };
        if let Some(block_size) = config.loop_block_size {
            // On failure `server` is dropped, which takes down what there is.
            let file = server.open()?;
            let mut device = LoopDevice::attach(file, block_size)?;
            if let Some(number) = number {
                device.renumber(number).map_err(no_number)?;
            }
            server.loop_device = Some(device);
            // The loop device has it open. A server that is killed must not hold a file of its own:
            // closing it could wait for an answer that nobody gives any more.
            server.file = None;
        }
        Ok(server)
    }

    fn open(&mut self) -> Result<&OwnedFd, FuseError> {
        use rustix::fs::{Mode, OFlags, open};
        if let (None, Some(directory)) = (&self.file, &self.directory) {
            let path = directory.join(FILE_NAME);
            let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
            match open(&path, flags, Mode::empty()) {
                Ok(file) => self.file = Some(file),
                Err(error) => {
                    let error = error.into();
                    return Err(FuseError::Open { file: path, error });
                }
            }
        }
        self.file.as_ref().ok_or_else(|| FuseError::Open {
            file: FILE_NAME.into(),
            error: io::ErrorKind::NotFound.into(),
        })
    }

    /// The loop device, if there is one, and it has not gone when its last user closed it.
    #[must_use]
    pub fn loop_device(&self) -> Option<&LoopDevice> {
        self.loop_device.as_ref().filter(|device| device.is_there())
    }

    /// The directory with the file, if it has a place.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// How often others have the file open. The kernel tells of a file that was closed a moment later.
    #[must_use]
    pub fn users(&self) -> usize {
        let own = usize::from(self.loop_device().is_some() || self.file.is_some());
        self.opens.load(Ordering::Relaxed).saturating_sub(own)
    }

    /// Waits a moment for files to be closed that others have just closed.
    fn has_users(&self) -> bool {
        let end = Instant::now() + CLOSE_TIME;
        while self.users() > 0 && Instant::now() < end {
            std::thread::sleep(POLL);
        }
        self.users() > 0
    }

    /// Takes everything down, and returns when it is gone.
    ///
    /// # Errors
    /// [`FuseError::InUse`] and [`LoopError::InUse`]: what is left is still served, and this can
    /// be tried again.
    pub fn stop(&mut self) -> Result<(), FuseError> {
        // Not the one without the other: the loop device stays where the file has to.
        if self.loop_device.is_some() && self.has_users() {
            return Err(FuseError::InUse {
                directory: self.directory.clone(),
                error: io::ErrorKind::ResourceBusy.into(),
            });
        }
        if let Some(device) = &mut self.loop_device {
            device.detach()?;
        }
        self.loop_device = None;
        let Some(session) = &self.session else {
            return Ok(());
        };
        self.file = None;
        let in_use = |error| FuseError::InUse {
            directory: self.directory.clone(),
            error,
        };
        let is_over = || session.guard.is_finished();
        if let Some(directory) = self.directory.as_deref().filter(|_| !is_over()) {
            attach::detach_from(directory).map_err(in_use)?;
        }
        let end = Instant::now() + END_TIME;
        while !is_over() {
            if Instant::now() > end {
                return Err(in_use(io::ErrorKind::TimedOut.into()));
            }
            std::thread::sleep(POLL);
        }
        // How the threads ended says nothing more: the kernel has let go of the connection.
        if let Some(session) = self.session.take() {
            let _ = session.join();
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

#[cfg(test)]
mod tests;
