//! Where control sockets are, and whose they are.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};

use super::Wanted;

/// Where the sockets of root's servers are.
pub(crate) const SYSTEM_DIR: &str = "/run/compcache";
/// The end of a socket's file name.
const EXTENSION: &str = "sock";
/// Names that are tried before giving up.
const NUMBERS: u32 = 1024;
/// Bytes of a name.
const NAME_MAX: usize = 64;
/// Clients that wait to be accepted.
const BACKLOG: i32 = 16;
/// A server has the lock for some milliseconds.
const LOCK_TIME: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// The name of a device: a part of a file's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let good = !text.is_empty() && text.len() <= NAME_MAX && text.chars().all(allowed);
        match good && !text.starts_with(['.', '-']) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "expected up to {NAME_MAX} letters, digits, '-', '_' and '.', such as compcache0"
            )),
        }
    }
}

/// Reads the value of `--control`.
///
/// # Errors
/// An empty path.
pub(crate) fn parse_wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "" => Err("expected a path, or none".to_owned()),
        "none" => Ok(Wanted::Nowhere),
        path => Ok(Wanted::Path(path.into())),
    }
}

/// Why there is no control socket.
#[derive(Debug)]
pub(crate) enum PlaceError {
    /// Neither root nor `XDG_RUNTIME_DIR`.
    NoDirectory,
    /// A live server has it.
    InUse(PathBuf),
    /// A file of another kind is there.
    NotASocket(PathBuf),
    /// All numbers are taken.
    NoNumber(PathBuf),
    /// Somebody has locked the directory, for longer than a server needs.
    Locked(PathBuf),
    /// The system refused.
    System(PathBuf, io::Error),
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory => f.write_str(
                "no directory for a control socket: XDG_RUNTIME_DIR is not set; \
                 name one with --control PATH, or say --control none",
            ),
            Self::InUse(path) => write!(
                f,
                "{}: another server listens there; choose another --name",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                f,
                "{}: is there, and no socket; choose another --control PATH",
                path.display()
            ),
            Self::NoNumber(dir) => write!(
                f,
                "{}: {NUMBERS} servers have names there; choose one with --name",
                dir.display()
            ),
            Self::Locked(dir) => write!(
                f,
                "{}: another program has locked this directory ('lslocks' names it); \
                 choose another with --control PATH, or say --control none",
                dir.display()
            ),
            Self::System(path, error) => write!(
                f,
                "control socket {}: {error}; choose another with --control PATH, or say --control none",
                path.display()
            ),
        }
    }
}

/// The directory of sockets for who runs this command.
///
/// # Errors
/// [`PlaceError::NoDirectory`].
pub(crate) fn directory() -> Result<PathBuf, PlaceError> {
    if nix::unistd::geteuid().is_root() {
        return Ok(SYSTEM_DIR.into());
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if Path::new(&dir).is_absolute() => Ok(Path::new(&dir).join("compcache")),
        _ => Err(PlaceError::NoDirectory),
    }
}

/// Sockets in a directory, by name, in order; none where it is not there.
///
/// # Errors
/// A directory that may not be read.
pub(crate) fn sockets(dir: &Path) -> io::Result<Vec<(Name, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found: Vec<(Name, PathBuf)> = entries
        .take(NUMBERS as usize)
        .filter_map(|entry| named(entry.ok()?.path()))
        .collect();
    // compcache2 before compcache10.
    found.sort_by_key(|(name, _)| (name.0.len(), name.0.clone()));
    Ok(found)
}

fn named(path: PathBuf) -> Option<(Name, PathBuf)> {
    if path.extension() != Some(OsStr::new(EXTENSION)) {
        return None;
    }
    let name = path.file_stem()?.to_str()?.parse().ok()?;
    Some((name, path))
}

/// The path of a name's socket.
pub(crate) fn path_of(dir: &Path, name: &Name) -> PathBuf {
    dir.join(format!("{name}.{EXTENSION}"))
}

/// A bound socket, and the file it is reached by; the file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    /// Device and inode, to remove no one else's.
    ours: (u64, u64),
}

impl Place {
    /// Binds the socket of a server. Without a name it gets the next free number, without a
    /// wanted path it is in [`directory`].
    ///
    /// # Errors
    /// [`PlaceError`]: nothing is left behind.
    pub(crate) fn claim(
        name: Option<&Name>,
        wanted: Option<&Path>,
    ) -> Result<(Name, Self, UnixListener), PlaceError> {
        let any = || Name("compcache0".to_owned());
        if let Some(path) = wanted {
            let dir = match path.parent() {
                Some(dir) if !dir.as_os_str().is_empty() => dir,
                _ => Path::new("."),
            };
            let _lock = lock(dir)?;
            let (place, listener) = Self::bind(path)?;
            let named = named(path.to_owned()).map(|(name, _)| name);
            return Ok((name.cloned().or(named).unwrap_or_else(any), place, listener));
        }
        Self::claim_in(&directory()?, name)
    }

    /// In a directory, which is made if it is not there.
    fn claim_in(dir: &Path, name: Option<&Name>) -> Result<(Name, Self, UnixListener), PlaceError> {
        make_directory(dir).map_err(|error| PlaceError::System(dir.to_owned(), error))?;
        let _lock = lock(dir)?;
        if let Some(name) = name {
            let (place, listener) = Self::bind(&path_of(dir, name))?;
            return Ok((name.clone(), place, listener));
        }
        for number in 0..NUMBERS {
            let name = Name(format!("compcache{number}"));
            match Self::bind(&path_of(dir, &name)) {
                Ok((place, listener)) => return Ok((name, place, listener)),
                Err(PlaceError::InUse(_) | PlaceError::NotASocket(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PlaceError::NoNumber(dir.to_owned()))
    }

    fn bind(path: &Path) -> Result<(Self, UnixListener), PlaceError> {
        let failed = |error: io::Error| PlaceError::System(path.to_owned(), error);
        remove_stale(path)?;
        let address = UnixAddr::new(path).map_err(|error| failed(error.into()))?;
        let (kind, flags) = (SockType::Stream, SockFlag::SOCK_CLOEXEC);
        let socket =
            socket(AddressFamily::Unix, kind, flags, None).map_err(|error| failed(error.into()))?;
        bind(socket.as_raw_fd(), &address).map_err(|error| failed(error.into()))?;
        match Self::open_for_owner(path, &socket) {
            Ok(place) => Ok((place, UnixListener::from(socket))),
            Err(error) => {
                let _ = fs::remove_file(path);
                Err(failed(error))
            }
        }
    }

    /// Nobody can connect before the mode is what it is to be.
    fn open_for_owner(path: &Path, socket: &OwnedFd) -> io::Result<Self> {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let metadata = fs::symlink_metadata(path)?;
        listen(socket, Backlog::new(BACKLOG)?)?;
        Ok(Self {
            path: path.to_owned(),
            ours: (metadata.dev(), metadata.ino()),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).map(|file| (file.dev(), file.ino()));
        if now.is_ok_and(|now| now == self.ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A directory for sockets, whatever the process's umask. Others may go through it to a socket that
/// was opened for them, and no more: who can open a directory can lock it, and keep servers from
/// starting for as long as they like.
pub(crate) fn make_directory(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o711).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Held while a name is claimed, so that two servers that start at once do not take the same. The
/// directory itself is locked: no file is left in it. Others may lock it as well, so waiting for it
/// has an end.
fn lock(dir: &Path) -> Result<Flock<File>, PlaceError> {
    let failed = |error: io::Error| PlaceError::System(dir.to_owned(), error);
    let mut file = File::open(dir).map_err(failed)?;
    let end = Instant::now() + LOCK_TIME;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EWOULDBLOCK)) if Instant::now() < end => file,
            Err((_, Errno::EWOULDBLOCK)) => return Err(PlaceError::Locked(dir.to_owned())),
            Err((_, error)) => return Err(failed(error.into())),
        };
        std::thread::sleep(POLL);
    }
}

/// Connects to a socket, and waits for a place in its queue no longer than `time`:
/// [`ErrorKind::WouldBlock`] then. `UnixStream::connect` waits for ever.
pub(crate) fn connect(path: &Path, time: Duration) -> io::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let flags = match time.is_zero() {
        true => SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        false => SockFlag::SOCK_CLOEXEC,
    };
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let stream = UnixStream::from(socket);
    // The time limit of sending is that of connecting as well (unix(7)). Zero would be none.
    if !time.is_zero() {
        stream.set_write_timeout(Some(time))?;
    }
    nix::sys::socket::connect(stream.as_raw_fd(), &address)?;
    Ok(stream)
}

/// Removes the socket of a server that was killed: nobody answers there.
fn remove_stale(path: &Path) -> Result<(), PlaceError> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(PlaceError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match connect(path, Duration::ZERO) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| PlaceError::System(path.to_owned(), error))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(PlaceError::System(path.to_owned(), error))
        }
        // Also where its queue is full: somebody has it.
        _ => Err(PlaceError::InUse(path.to_owned())),
    }
}

#[cfg(test)]
mod tests;
