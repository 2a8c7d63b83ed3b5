//! Unix sockets that servers listen on: for their owner only, in place of those of servers that
//! were killed, and gone from the file system when they are dropped.

use core::fmt;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Clients that may wait to be accepted.
pub const BACKLOG: i32 = 128;

/// Why a place cannot be listened at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketError {
    /// Another server answers there.
    InUse,
    /// Something that is no socket has this name.
    NotASocket,
    /// The system refused.
    System(Errno),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str(
                "another server is listening there; stop it first, or name another place",
            ),
            Self::NotASocket => {
                f.write_str("there is a file of this name that is no socket; name another place")
            }
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

impl core::error::Error for SocketError {}

impl From<Errno> for SocketError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::ADDRINUSE => Self::InUse,
            error => Self::System(error),
        }
    }
}

/// A unix socket that listens; its name in the file system goes away with it.
///
/// ```
/// use compcache_sys::socket::Listening;
///
/// let path = std::env::temp_dir().join(format!("listening-{}", std::process::id()));
/// let listening = Listening::bind(&path)?;
/// assert!(Listening::bind(&path).is_err());
/// drop(listening);
/// assert!(!path.exists());
/// # Ok::<(), compcache_sys::socket::SocketError>(())
/// ```
#[derive(Debug)]
pub struct Listening {
    socket: OwnedFd,
    name: Option<Name>,
}

impl Listening {
    /// Listens at a path. A socket that nobody answers at, of a server that was killed, is
    /// replaced.
    ///
    /// # Errors
    /// [`SocketError`]; nothing is changed then.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let address = SocketAddrUnix::new(path)?;
        remove_stale(path, &address)?;
        let socket = unix_socket()?;
        net::bind(&socket, &address)?;
        let listening = Self {
            socket,
            name: Name::of(path),
        };
        // Before anybody can connect: the pages are those of the machine's memory.
        rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
        net::listen(&listening.socket, BACKLOG)?;
        Ok(listening)
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            name.remove();
        }
    }
}

/// A socket's name, and which file it was when it was made: one that replaced it is not ours.
#[derive(Debug)]
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

/// Removes the socket of a server that was killed: nobody answers there.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), SocketError> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket);
    }
    match net::connect(unix_socket()?, address) {
        Err(Errno::CONNREFUSED) => {
            let _ = fs::remove_file(path);
            Ok(())
        }
        // Also where its queue is full, or it is another kind of socket: somebody has it.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(SocketError::InUse),
        Err(error) => Err(error.into()),
    }
}

fn unix_socket() -> Result<OwnedFd, Errno> {
    net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listening::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(Listening::bind(&path), Err(SocketError::InUse)));
        drop(listener);
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Listening::bind(&path),
            Err(SocketError::NotASocket)
        ));
        let missing = dir.path().join("no/s");
        assert!(matches!(
            Listening::bind(&missing),
            Err(SocketError::System(Errno::NOENT))
        ));
        let long = dir.path().join("x".repeat(200));
        assert!(Listening::bind(&long).is_err());
    }

    #[test]
    fn a_socket_that_replaced_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = Listening::bind(&path).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        fs::write(&path, "other").unwrap();
        drop(listener);
        assert!(path.exists());
    }
}
