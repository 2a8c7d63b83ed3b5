//! [`Server`]: the socket, and one VMM after the other.

use crate::abi::{ConfigSpace, QUEUES};
use crate::backend::{Backend, END_EVENT, Served};
use crate::request::Worker;
use compcache_device::BlockDevice;
use compcache_sys::socket::{Listening, SocketError};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{self, Shutdown};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vhost::vhost_user::Listener;
use vhost_user_backend::{ShutdownHandle, VhostUserDaemon};
use vmm_sys_util::epoll::EventSet;

#[cfg(test)]
mod tests;

/// A thread serves some 100,000 requests a second; more of them only wait for each other.
const THREADS_MAX: usize = 4;
/// Pause after a VMM could not be served for want of descriptors, threads or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_millis(5);

/// What to serve, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The socket; one VMM uses it at a time, the next waits.
    pub path: PathBuf,
    /// Refuse writes.
    pub read_only: bool,
    /// Threads that serve the rings: 1 to 64.
    pub threads: usize,
}

impl Config {
    /// As many threads as CPUs, up to 4.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            path: path.into(),
            read_only: false,
            threads: cpus.min(THREADS_MAX),
        }
    }
}

/// Why a server cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no listening there.
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        error: SocketError,
    },
    /// No thread, or no descriptor for it.
    Thread(io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { path, error } => {
                write!(f, "{}: cannot listen: {error}", path.display())
            }
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl core::error::Error for ServerError {}

/// A server at work; it stops when this is dropped.
///
/// # Examples
///
/// ```
/// use compcache_device::{Config as DeviceConfig, Device};
/// use compcache_vhost::{Config, Server};
/// use std::{sync::Arc, time::Duration};
///
/// let device = Arc::new(Device::new(DeviceConfig::new(1 << 20))?);
/// let path = std::env::temp_dir().join(format!("vhost-{}", std::process::id()));
/// let mut server = Server::start(device, Config::new(&path))?;
/// assert!(!server.is_connected());
/// assert!(server.stop(Duration::from_secs(1)));
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    path: PathBuf,
    shared: Arc<Shared>,
    listening: Option<Listening>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    served: Arc<Served>,
    /// To cut the connection of the VMM that is there.
    connection: Mutex<Option<ShutdownHandle>>,
}

impl Server {
    /// Listens, and serves from then on.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left listening then.
    pub fn start(device: Arc<dyn BlockDevice>, config: Config) -> Result<Self, ServerError> {
        let Config { path, .. } = config;
        let listening = Listening::bind(&path).map_err(|error| ServerError::Listen {
            path: path.clone(),
            error,
        })?;
        let threads = config.threads.clamp(1, QUEUES);
        let shared = Arc::new(Shared {
            served: Arc::new(Served {
                space: ConfigSpace::new(device.size()),
                device,
                read_only: config.read_only,
                workers: (0..threads).map(|_| Mutex::new(Worker::new())).collect(),
                is_stopping: AtomicBool::new(false),
                running: AtomicU64::new(0),
            }),
            connection: Mutex::new(None),
        });
        let watched = clone_of(&listening)?;
        let listener = UnixListener::from(clone_of(&listening)?);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("compcache-vhost".into())
            .spawn(move || theirs.serve_all(&watched, &mut Listener::from(listener)))
            .map_err(ServerError::Thread)?;
        Ok(Self {
            path,
            shared,
            listening: Some(listening),
            thread: Some(thread),
        })
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a VMM is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.connection().is_some()
    }

    /// Whether a guest's driver uses the device: it has started rings and not stopped them.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.shared.served.running.load(Ordering::Relaxed) != 0
    }

    /// Stops: the VMM is cut off after what is under way is answered. False if that took longer
    /// than `grace`; threads are then left behind.
    pub fn stop(&mut self, grace: Duration) -> bool {
        self.shared
            .served
            .is_stopping
            .store(true, Ordering::Release);
        if let Some(listening) = &self.listening {
            // Its `accept` returns with an error.
            let _ = net::shutdown(listening, Shutdown::Both);
        }
        self.listening = None;
        if let Some(handle) = &*self.shared.connection() {
            handle.shutdown();
        }
        let Some(thread) = self.thread.take() else {
            return true;
        };
        let end = Instant::now() + grace;
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(POLL);
        }
        thread.is_finished() && thread.join().is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
    }
}

impl Shared {
    fn connection(&self) -> MutexGuard<'_, Option<ShutdownHandle>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.served.is_stopping.load(Ordering::Acquire)
    }

    fn serve_all(&self, watched: &OwnedFd, listener: &mut Listener) {
        loop {
            let is_somebody_there = wait_for_client(watched);
            if self.is_stopping() {
                return;
            }
            if !is_somebody_there || self.serve(listener).is_err() {
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }

    /// Serves one VMM until it goes, or says what cannot be understood: all that it set up goes
    /// with it.
    fn serve(&self, listener: &mut Listener) -> io::Result<()> {
        let backend = Arc::new(Backend::new(Arc::clone(&self.served))?);
        let daemon = VhostUserDaemon::new(
            "compcache-vmm".into(),
            Arc::clone(&backend),
            backend.memory(),
        );
        let mut daemon = daemon.map_err(|error| io::Error::other(error.to_string()))?;
        for handler in daemon.get_epoll_handlers() {
            let watched = handler.register_listener(backend.end_fd(), EventSet::IN, END_EVENT);
            if let Err(error) = watched {
                // Its thread cannot be ended, and would be waited for.
                core::mem::forget(daemon);
                return Err(error);
            }
        }
        let started = daemon.start(listener);
        if started.is_ok() {
            *self.connection() = daemon.shutdown_handle();
            if self.is_stopping() {
                daemon.request_shutdown();
            }
            // Whatever a VMM does wrong is the end of its connection only.
            let _ = daemon.wait();
        }
        backend.end();
        // Waits for the threads.
        drop(daemon);
        self.served.running.store(0, Ordering::Relaxed);
        *self.connection() = None;
        started.map_err(|error| io::Error::other(error.to_string()))
    }
}

fn clone_of(listening: &Listening) -> Result<OwnedFd, ServerError> {
    let socket = listening.as_fd().try_clone_to_owned();
    socket.map_err(ServerError::Thread)
}

/// Waits for a connection, or for the listener to be shut down; false if waiting failed.
fn wait_for_client(listener: &OwnedFd) -> bool {
    let mut watched = [PollFd::new(listener, PollFlags::IN)];
    match poll(&mut watched, None) {
        Ok(_) => true,
        Err(error) => error == Errno::INTR,
    }
}
