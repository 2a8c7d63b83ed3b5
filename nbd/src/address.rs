//! Where to listen: unix sockets and TCP.

use core::fmt;
use core::str::FromStr;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The port that the protocol has been given.
const PORT: u16 = 10809;
/// Clients that may wait to be accepted.
const BACKLOG: i32 = 128;

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
    /// Another server answers there.
    InUse,
    /// Something that is no socket has this name.
    NotASocket,
    /// The name of the host leads nowhere.
    NoHost(std::io::Error),
    /// The system refused.
    System(Errno),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str(
                "another server is listening there; stop it first, or name another place",
            ),
            Self::NotASocket => {
                f.write_str("there is a file of this name that is no socket; name another place")
            }
            Self::NoHost(error) => write!(f, "no such host: {error}"),
            Self::System(Errno::NOENT) => f.write_str("no such directory; make it first"),
            Self::System(Errno::ACCESS | Errno::PERM) => {
                f.write_str("permission denied; name a place of your own")
            }
            Self::System(Errno::NAMETOOLONG) => {
                f.write_str("the path of a socket may have 107 bytes; name a shorter one")
            }
            Self::System(error) => write!(f, "{error}"),
        }
    }
}

impl From<Errno> for ListenError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::ADDRINUSE => Self::InUse,
            error => Self::System(error),
        }
    }
}

/// A socket that listens; its name in the file system goes away with it.
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) is_tcp: bool,
    name: Option<Name>,
    /// With the port that the system chose, where it was asked to.
    pub(crate) address: Address,
}

impl Listener {
    pub(crate) fn bind(address: &Address) -> Result<Self, ListenError> {
        match address {
            Address::Unix(path) => bind_unix(path),
            Address::Tcp(place) => bind_tcp(place),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            name.remove();
        }
    }
}

/// A socket's name, and which file it was when it was made: one that replaced it is not ours.
struct Name {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Name {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(Self {
            path: std::path::absolute(path).ok()?,
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    fn remove(&self) {
        if let Ok(metadata) = fs::symlink_metadata(&self.path)
            && (metadata.dev(), metadata.ino()) == (self.device, self.inode)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn bind_unix(path: &Path) -> Result<Listener, ListenError> {
    let name = SocketAddrUnix::new(path)?;
    remove_stale(path, &name)?;
    let socket = socket(AddressFamily::UNIX)?;
    net::bind(&socket, &name)?;
    let ours = Name::of(path);
    // Before anybody can connect: the pages are those of the machine's memory.
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    net::listen(&socket, BACKLOG)?;
    Ok(Listener {
        socket,
        is_tcp: false,
        name: ours,
        address: Address::Unix(path.to_owned()),
    })
}

/// Removes the socket of a server that was killed: nobody answers there.
fn remove_stale(path: &Path, name: &SocketAddrUnix) -> Result<(), ListenError> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket);
    }
    match net::connect(socket(AddressFamily::UNIX)?, name) {
        Err(Errno::CONNREFUSED) => {
            let _ = fs::remove_file(path);
            Ok(())
        }
        // Also where its queue is full, or it is another kind of socket: somebody has it.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(ListenError::InUse),
        Err(error) => Err(error.into()),
    }
}

fn bind_tcp(place: &str) -> Result<Listener, ListenError> {
    let mut last = ListenError::System(Errno::ADDRNOTAVAIL);
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
        socket,
        is_tcp: true,
        name: None,
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

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let address = Address::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::bind(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(Listener::bind(&address), Err(ListenError::InUse)));
        drop(listener);
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Listener::bind(&address),
            Err(ListenError::NotASocket)
        ));
        let missing = Address::Unix(dir.path().join("no/s"));
        assert!(matches!(
            Listener::bind(&missing),
            Err(ListenError::System(Errno::NOENT))
        ));
        let long = Address::Unix(dir.path().join("x".repeat(200)));
        assert!(Listener::bind(&long).is_err());
    }

    #[test]
    fn a_socket_that_replaced_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = Listener::bind(&Address::Unix(path.clone())).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        fs::write(&path, "other").unwrap();
        drop(listener);
        assert!(path.exists());
    }
}
