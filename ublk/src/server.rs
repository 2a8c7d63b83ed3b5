//! [`Server`]: starting and stopping.

use crate::abi;
use crate::control::{Control, UblkError, block_path, number_of, queue_path};
use crate::lost::Lost;
use crate::queue;
use crate::ring::Ring;
use compcache_device::BlockDevice;
use compcache_sys::loops::is_claimed;
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A queue's thread serves some 100,000 requests a second; more of them only wait for each other.
const QUEUES_MAX: usize = 4;
/// Of one queue at once.
const DEPTH: u16 = 64;
/// The most of one request: 4 queues of 64 buffers take 16 MiB.
const BUFFER_BYTES: u32 = 64 << 10;
/// A device that was just made appears in `/dev` a moment later.
const NODE_TIME: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
/// The protocol, and some pages for the codec.
const STACK_BYTES: usize = 256 << 10;

/// What to serve it as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of a block: 512 to 4096, a power of two.
    pub block_size: u32,
    /// Refuse writes.
    pub read_only: bool,
    /// Threads.
    pub queues: u16,
}

impl Config {
    /// As many queues as CPUs, up to 4.
    #[must_use]
    pub fn new(block_size: u32) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            block_size,
            read_only: false,
            queues: cpus.min(QUEUES_MAX) as u16,
        }
    }
}

/// A device at work. Taken down when it is dropped, if nobody uses it then.
pub struct Server {
    control: Control,
    number: u32,
    path: PathBuf,
    threads: Vec<JoinHandle<io::Result<()>>>,
    is_gone: bool,
}

impl Server {
    /// Makes `/dev/ublkbN`.
    ///
    /// # Errors
    /// [`UblkError`]; nothing is left behind then.
    pub fn start(device: Arc<dyn BlockDevice>, config: Config) -> Result<Self, UblkError> {
        let mut control = Control::open()?;
        let flags = abi::F_USER_RECOVERY | abi::F_USER_RECOVERY_FAIL_IO;
        let queues = config.queues.max(1);
        let mut info = abi::dev_info(queues, DEPTH, BUFFER_BYTES, flags);
        let number = control.add(&mut info)?;
        // From here on dropping it deletes the device.
        let mut server = Self::of(control, number);
        let io_bytes = abi::dev_info_shape(&info).2;
        let mut params = abi::params(device.size(), config.block_size, io_bytes, config.read_only);
        server.control.set_params(number, &mut params)?;
        server.serve(&device, &info)?;
        server.control.start(number)?;
        server.wait_for_node()?;
        Ok(server)
    }

    /// Serves a device whose server was killed: every read fails, so that swap on it can be taken
    /// off, and then the device.
    ///
    /// # Errors
    /// [`UblkError`]; none if it is not a device of this driver, or is gone.
    pub fn take_over(path: &Path) -> Result<Option<Self>, UblkError> {
        let Some(number) = number_of(path) else {
            return Ok(None);
        };
        let mut control = Control::open()?;
        let Ok(info) = control.info(number) else {
            return Ok(None);
        };
        let mut server = Self::of(control, number);
        // Refused where the device has no server and no users: it can be deleted at once.
        if server.control.start_recovery(number).is_ok() {
            let lost: Arc<dyn BlockDevice> = Arc::new(Lost);
            server.serve(&lost, &info)?;
            server.control.end_recovery(number)?;
        }
        Ok(Some(server))
    }

    fn of(control: Control, number: u32) -> Self {
        Self {
            control,
            number,
            path: block_path(number),
            threads: Vec::new(),
            is_gone: false,
        }
    }

    /// Starts the queues' threads; each fetches before it is waited for by the driver.
    fn serve(
        &mut self,
        device: &Arc<dyn BlockDevice>,
        info: &[u8; abi::DEV_INFO_LEN],
    ) -> Result<(), UblkError> {
        let (queues, depth, buffer_bytes) = abi::dev_info_shape(info);
        let file = Arc::new(self.open_queues()?);
        let (ready, is_ready) = mpsc::channel();
        for queue in 0..queues {
            let (device, file, ready) = (Arc::clone(device), Arc::clone(&file), ready.clone());
            let thread = std::thread::Builder::new()
                .name(format!("compcache-ublk{queue}"))
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    let ring = Ring::new(&file, queue, depth, buffer_bytes as usize);
                    let (ring, failed) = match ring {
                        Ok(ring) => (Some(ring), None),
                        Err(error) => (None, Some(error)),
                    };
                    let _ = ready.send(failed);
                    drop(ready);
                    match ring {
                        Some(mut ring) => queue::serve(&mut ring, depth, &*device),
                        None => Ok(()),
                    }
                })
                .map_err(UblkError::Queue)?;
            self.threads.push(thread);
        }
        drop(ready);
        match is_ready.iter().flatten().next() {
            None => Ok(()),
            Some(error) => Err(UblkError::Queue(error)),
        }
    }

    fn open_queues(&self) -> Result<OwnedFd, UblkError> {
        let path = queue_path(self.number);
        let end = Instant::now() + NODE_TIME;
        loop {
            match open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
                Ok(file) => return Ok(file),
                Err(_) if Instant::now() < end => std::thread::sleep(POLL),
                Err(error) => return Err(UblkError::Queue(error.into())),
            }
        }
    }

    fn wait_for_node(&self) -> Result<(), UblkError> {
        let end = Instant::now() + NODE_TIME;
        while !self.path.exists() {
            if Instant::now() > end {
                return Err(UblkError::Queue(io::ErrorKind::NotFound.into()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// `/dev/ublkbN`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the device down, and returns when it is gone.
    ///
    /// # Errors
    /// [`UblkError::InUse`]: it is still served, and this can be tried again.
    pub fn stop(&mut self) -> Result<(), UblkError> {
        if self.is_gone {
            return Ok(());
        }
        // The driver would take it from under its users.
        if is_claimed(&self.path) {
            return Err(UblkError::InUse {
                device: self.path.clone(),
            });
        }
        self.control.stop(self.number)?;
        for thread in self.threads.drain(..) {
            // With the last of them goes the file of the queues, which the next command waits for.
            let _ = thread.join();
        }
        self.control.delete(self.number)?;
        self.is_gone = true;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
