//! Where to listen: unix sockets and TCP.

use compcache_sys::socket::{BACKLOG, Listening, SocketError};
use core::fmt;
use core::str::FromStr;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The port that the protocol has been given.
const PORT: u16 = 10809;

/// Where a server listens: `unix:PATH` or `tcp:HOST:PORT`.
///
/// ```
/// use compcache_nbd::Address;
///
/// let address: Address = "unix:/run/swap.sock".parse()?;
/// assert_eq!(address.to_string(), "unix:/run/swap.sock");
/// // The port is NBD's own unless given.
/// assert_eq!("tcp:localhost".parse::<Address>()?.to_string(), "tcp:localhost:10809");
/// # Ok::<(), compcache_nbd::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// A socket in the file system, for its owner only.
    Unix(PathBuf),
    /// Host and port. Nothing is encrypted, and whoever reaches the port has the device.
    Tcp(String),
}

/// An address that is neither form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressError;

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected unix:PATH or tcp:HOST:PORT, such as tcp:127.0.0.1:10809")
    }
}

impl core::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", place)) => place_of(place).map(Self::Tcp).ok_or(AddressError),
            _ => Err(AddressError),
        }
    }
}

/// `HOST:PORT`, with the port added where there is none.
fn place_of(text: &str) -> Option<String> {
    let has_brackets = text.starts_with('[');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !has_brackets || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host = match has_brackets {
        true => host.len() > 2 && host.ends_with(']'),
        false => !host.is_empty() && !host.contains([':', '[', ']', '/']),
    };
    let port = port.map_or(Ok(PORT), str::parse::<u16>).ok()?;
    is_host.then(|| format!("{host}:{port}"))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(place) => write!(f, "tcp:{place}"),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// The name of the host leads nowhere.
    NoHost(std::io::Error),
    /// There is no listening there.
    Socket(SocketError),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost(error) => write!(f, "no such host: {error}"),
            Self::Socket(error) => error.fmt(f),
        }
    }
}

impl From<Errno> for ListenError {
    fn from(error: Errno) -> Self {
        Self::Socket(error.into())
    }
}

/// A socket that listens.
pub(crate) struct Listener {
    pub(crate) socket: ListenerSocket,
    pub(crate) is_tcp: bool,
    /// With the port that the system chose, where it was asked to.
    pub(crate) address: Address,
}

/// What is listened with; a unix socket's name in the file system goes away with it.
pub(crate) enum ListenerSocket {
    Unix(Listening),
    Tcp(OwnedFd),
}

impl AsFd for ListenerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl Listener {
    pub(crate) fn bind(address: &Address) -> Result<Self, ListenError> {
        match address {
            Address::Unix(path) => bind_unix(path),
            Address::Tcp(place) => bind_tcp(place),
        }
    }
}

fn bind_unix(path: &Path) -> Result<Listener, ListenError> {
    let socket = Listening::bind(path).map_err(ListenError::Socket)?;
    Ok(Listener {
        socket: ListenerSocket::Unix(socket),
        is_tcp: false,
        address: Address::Unix(path.to_owned()),
    })
}

fn bind_tcp(place: &str) -> Result<Listener, ListenError> {
    let mut last = ListenError::from(Errno::ADDRNOTAVAIL);
    for address in place.to_socket_addrs().map_err(ListenError::NoHost)? {
        match bind_one(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

fn bind_one(address: SocketAddr) -> Result<Listener, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket(family)?;
    // A server that is started again need not wait for old connections to time out.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    let bound = SocketAddr::try_from(net::getsockname(&socket)?).unwrap_or(address);
    Ok(Listener {
        socket: ListenerSocket::Tcp(socket),
        is_tcp: true,
        address: Address::Tcp(bound.to_string()),
    })
}

fn socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, shown) in [
            ("unix:a", "unix:a"),
            ("unix:/x:y", "unix:/x:y"),
            ("tcp:127.0.0.1:1", "tcp:127.0.0.1:1"),
            ("tcp:localhost", "tcp:localhost:10809"),
            ("tcp:[::1]", "tcp:[::1]:10809"),
            ("tcp:[::1]:7", "tcp:[::1]:7"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "unix",
            "unix:",
            "tcp:",
            "tcp::1",
            "tcp:x:y",
            "tcp:::1",
            "tcp:[]",
            "tcp:[::1",
            "tcp:x:70000",
            "udp:x",
            "/run/x",
            "tcp:[::1]x:7",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
    }
}
