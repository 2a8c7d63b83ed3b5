//! [`Server`]: a thread for each place to listen at, and one for each client.
//!
//! A client's thread does its requests itself: for a page of 4 KiB, waking another thread would
//! take longer than the request. Requests that arrived together are answered together. Before it
//! sleeps a thread looks for a while whether there is more: see the module `patience`.

use crate::address::{Address, ListenError, Listener};
use crate::connection::{Connection, Next};
use crate::handshake::Export;
use crate::parallel::Helpers;
use crate::patience::{Awake, Patience};
use compcache_device::BlockDevice;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, Shutdown, SocketFlags, sockopt};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a handshake may take: a client that says nothing takes a place from others.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);
/// A client over TCP that is gone without a word is noticed after about this and two more minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// The protocol, and some pages for the codec; requests lie in the connection's own buffers.
const STACK_BYTES: usize = 256 << 10;
/// Pause after an `accept` that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Less than this is held back for a moment if the client has sent more already.
const HOLD_MAX: usize = 64 << 10;
/// And not more often than this in a row: the first of the answers has waited for all the others.
const HOLDS_MAX: u32 = 8;

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// Places to listen at: one at least.
    pub addresses: Vec<Address>,
    /// Name and access.
    pub export: Export,
    /// Clients at once; more are disconnected before the greeting.
    pub connections_max: usize,
}

impl Config {
    /// At most 128 clients at once.
    #[must_use]
    pub const fn new(addresses: Vec<Address>, export: Export) -> Self {
        Self {
            addresses,
            export,
            connections_max: 128,
        }
    }
}

/// Why a server cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// An address cannot be listened on.
    Listen {
        /// Which.
        address: Address,
        /// Why.
        error: ListenError,
    },
    /// No address was given.
    NoAddress,
    /// A thread could not be started.
    Thread(Box<dyn core::error::Error + Send + Sync>),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => write!(f, "{address}: cannot listen: {error}"),
            Self::NoAddress => f.write_str("no address to listen on; expected one at least"),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl core::error::Error for ServerError {}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Clients whose connection had to be cut because they did not take their answers.
    pub cut: usize,
}

/// A server at work; it stops when this is dropped.
///
/// # Examples
///
/// ```
/// use compcache_device::{Config as DeviceConfig, Device};
/// use compcache_nbd::{Config, Export, Server};
/// use std::{sync::Arc, time::Duration};
///
/// let device = Arc::new(Device::new(DeviceConfig::new(1 << 20))?);
/// let config = Config::new(vec!["tcp:127.0.0.1:0".parse()?], Export::new("", false)?);
/// let mut server = Server::start(device, config)?;
/// println!("listening at {}", server.addresses().next().unwrap());
/// server.stop(Duration::from_secs(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Dropped, and with them the names in the file system, when the server stops.
    listeners: Vec<Arc<Listener>>,
}

struct Shared {
    device: Arc<dyn BlockDevice>,
    export: Arc<Export>,
    helpers: Arc<Helpers>,
    connections_max: usize,
    is_stopping: AtomicBool,
    /// Clients' threads that do not sleep.
    awake: Awake,
    refused: AtomicU64,
    clients: Mutex<Clients>,
    /// A client went away.
    gone: Condvar,
}

#[derive(Default)]
struct Clients {
    sockets: BTreeMap<u64, Arc<OwnedFd>>,
    next: u64,
}

impl Server {
    /// Listens, and serves from then on.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left listening then.
    pub fn start(device: Arc<dyn BlockDevice>, config: Config) -> Result<Self, ServerError> {
        if config.addresses.is_empty() {
            return Err(ServerError::NoAddress);
        }
        let helpers = Helpers::start().map_err(|error| ServerError::Thread(error.into()))?;
        let mut server = Self {
            shared: Arc::new(Shared {
                device,
                export: Arc::new(config.export),
                helpers: Arc::new(helpers),
                connections_max: config.connections_max,
                is_stopping: AtomicBool::new(false),
                awake: Awake::new(),
                refused: AtomicU64::new(0),
                clients: Mutex::default(),
                gone: Condvar::new(),
            }),
            threads: Vec::new(),
            listeners: Vec::new(),
        };
        for address in config.addresses {
            match Listener::bind(&address) {
                Ok(listener) => server.listeners.push(Arc::new(listener)),
                Err(error) => return Err(ServerError::Listen { address, error }),
            }
        }
        for listener in &server.listeners {
            let (shared, listener) = (Arc::clone(&server.shared), Arc::clone(listener));
            let thread = std::thread::Builder::new()
                .name("compcache-accept".into())
                .stack_size(STACK_BYTES)
                .spawn(move || accept(&shared, &listener))
                .map_err(|error| ServerError::Thread(error.into()))?;
            server.threads.push(thread);
        }
        Ok(server)
    }

    /// Where it listens, with the ports that the system chose.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.listeners.iter().map(|listener| &listener.address)
    }

    /// Clients that are connected now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.clients().sockets.len()
    }

    /// Clients that were refused because there were too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Stops: no new clients, no new requests; those that arrived are answered. Clients that do
    /// not take their answers within `grace` are cut off.
    pub fn stop(&mut self, grace: Duration) -> Stopped {
        self.shared.is_stopping.store(true, Ordering::Release);
        for listener in &self.listeners {
            // Its `accept` returns with an error.
            let _ = net::shutdown(&listener.socket, Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.listeners.clear();
        self.shared.shut_down(Shutdown::Read);
        let left = self.shared.wait_for_clients(grace);
        self.shared.shut_down(Shutdown::Both);
        self.shared.wait_for_clients(Duration::from_secs(5));
        Stopped { cut: left }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

impl Shared {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shut_down(&self, how: Shutdown) {
        for socket in self.clients().sockets.values() {
            let _ = net::shutdown(socket, how);
        }
    }

    /// Waits until no client is left; how many there still are.
    fn wait_for_clients(&self, time: Duration) -> usize {
        let wait = self
            .gone
            .wait_timeout_while(self.clients(), time, |clients| !clients.sockets.is_empty());
        let (clients, _) = wait.unwrap_or_else(PoisonError::into_inner);
        clients.sockets.len()
    }

    /// A place for a client, if there is one.
    fn admit(self: &Arc<Self>, socket: &Arc<OwnedFd>) -> Option<Place> {
        let mut clients = self.clients();
        if clients.sockets.len() >= self.connections_max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let number = clients.next;
        clients.next += 1;
        clients.sockets.insert(number, Arc::clone(socket));
        drop(clients);
        Some(Place {
            shared: Arc::clone(self),
            number,
        })
    }
}

/// A client's place among those that may be connected; free again on drop.
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.clients().sockets.remove(&self.number);
        self.shared.gone.notify_all();
    }
}

fn accept(shared: &Arc<Shared>, listener: &Listener) {
    loop {
        let accepted = net::accept_with(&listener.socket, SocketFlags::CLOEXEC);
        if shared.is_stopping.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok(socket) => admit(shared, socket, listener.is_tcp),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            // Out of descriptors or memory, for now.
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
    }
}

fn admit(shared: &Arc<Shared>, socket: OwnedFd, is_tcp: bool) {
    let socket = Arc::new(socket);
    let Some(place) = shared.admit(&socket) else {
        return;
    };
    // If there is no thread for it, the closure is dropped, and with it socket and place.
    let _ = std::thread::Builder::new()
        .name("compcache-nbd".into())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let shared = &place.shared;
            let connection = Connection::served(
                Arc::clone(&shared.device),
                Arc::clone(&shared.export),
                Arc::clone(&shared.helpers),
            );
            // Whatever goes wrong with a client's socket is the end of that client only.
            let _ = serve(&socket, is_tcp, connection, shared);
            let _ = net::shutdown(&socket, Shutdown::Both);
        });
}

fn serve(
    socket: &OwnedFd,
    is_tcp: bool,
    mut connection: Connection,
    shared: &Shared,
) -> Result<(), Errno> {
    if is_tcp {
        sockopt::set_tcp_nodelay(socket, true)?;
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    }
    let deadline = Instant::now() + HANDSHAKE_TIME;
    set_timeouts(socket, Some(HANDSHAKE_TIME))?;
    let mut is_negotiating = true;
    let mut holds = 0;
    let mut patience = Patience::new(&shared.awake);
    loop {
        let next = connection.run();
        if is_negotiating {
            if connection.is_transmitting() {
                is_negotiating = false;
                set_timeouts(socket, None)?;
            } else if Instant::now() > deadline {
                return Err(Errno::TIMEDOUT);
            }
        }
        match next {
            Next::Receive if connection.pending().is_empty() => {
                let look = || match receive(socket, &mut connection, RecvFlags::DONTWAIT) {
                    Err(Errno::AGAIN) => None,
                    result => Some(result),
                };
                let early = if is_negotiating {
                    None
                } else {
                    patience.look(look)
                };
                let count = match early {
                    Some(result) => result?,
                    None => {
                        patience.sleep(|| receive(socket, &mut connection, RecvFlags::empty()))?
                    }
                };
                if count == 0 {
                    return Ok(());
                }
            }
            Next::Receive => {
                let may_hold = connection.pending().len() < HOLD_MAX && holds < HOLDS_MAX;
                let more = match may_hold {
                    true => receive(socket, &mut connection, RecvFlags::DONTWAIT),
                    false => Err(Errno::AGAIN),
                };
                holds += 1;
                match more {
                    Ok(0) => return send(socket, &mut connection, &patience),
                    Ok(_) => {}
                    Err(Errno::AGAIN) => {
                        send(socket, &mut connection, &patience)?;
                        holds = 0;
                    }
                    Err(error) => return Err(error),
                }
            }
            Next::Send => {
                send(socket, &mut connection, &patience)?;
                holds = 0;
            }
            Next::Close => return send(socket, &mut connection, &patience),
        }
        // Not even a client that never pauses holds up a stop.
        if shared.is_stopping.load(Ordering::Relaxed) && connection.pending().is_empty() {
            let _ = net::shutdown(socket, Shutdown::Read);
        }
    }
}

fn set_timeouts(socket: &OwnedFd, time: Option<Duration>) -> Result<(), Errno> {
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, time)?;
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, time)
}

/// Receives what there is room for; 0 at the end.
fn receive(
    socket: &OwnedFd,
    connection: &mut Connection,
    flags: RecvFlags,
) -> Result<usize, Errno> {
    loop {
        match net::recv(socket, connection.room(), flags) {
            Ok((_, count)) => {
                connection.received(count);
                return Ok(count);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends everything that is pending. Waiting for a client that does not read is no work.
fn send(
    socket: &OwnedFd,
    connection: &mut Connection,
    patience: &Patience<'_>,
) -> Result<(), Errno> {
    let mut flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    while !connection.pending().is_empty() {
        let send = || net::send(socket, connection.pending(), flags);
        let sent = match flags.contains(SendFlags::DONTWAIT) {
            true => send(),
            false => patience.sleep(send),
        };
        match sent {
            Ok(count) => {
                connection.sent(count);
                flags.insert(SendFlags::DONTWAIT);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if flags.contains(SendFlags::DONTWAIT) => {
                flags.remove(SendFlags::DONTWAIT);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
