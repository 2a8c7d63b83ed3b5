//! The other end: asks a running server.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::{self, Name};
use super::protocol::{
    ANSWER_MAX, Answer, Empty, FailureKind, Outcome, Request, Status, VERSION, What, to_line,
};
use crate::output;

/// How long a server may take: resetting and packing a full device are a matter of seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a server.
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects to the server that listens at `path`.
    ///
    /// # Errors
    /// One line: nobody listens, or only others may.
    pub(crate) fn connect(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| {
            let place = path.display();
            match error.kind() {
                ErrorKind::NotFound => {
                    format!("{place}: no such device; 'compcache ctl' lists the running ones")
                }
                ErrorKind::ConnectionRefused => {
                    format!("{place}: its server was killed; start it again, or remove the file")
                }
                ErrorKind::PermissionDenied => {
                    format!("{place}: permission denied; run as the user who started the server")
                }
                _ => format!("{place}: {error}"),
            }
        };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self {
            stream: BufReader::new(stream),
            path: path.to_owned(),
        })
    }

    /// Everything that is counted.
    ///
    /// # Errors
    /// One line, as for all requests: the server's own, or that it does not answer.
    pub(crate) fn status(&mut self) -> Result<Status, String> {
        match self.ask(What::Status { status: Empty {} })? {
            Outcome::Status(status) => Ok(*status),
            _ => Err(self.odd("another answer than was asked for")),
        }
    }

    /// The text of an attribute.
    ///
    /// # Errors
    /// See [`status`](Self::status).
    pub(crate) fn get(&mut self, attribute: &str) -> Result<String, String> {
        let get = attribute.to_owned();
        match self.ask(What::Get { get })? {
            Outcome::Text(text) => Ok(text),
            _ => Err(self.odd("another answer than was asked for")),
        }
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// See [`status`](Self::status).
    pub(crate) fn set(&mut self, attribute: &str, value: u64) -> Result<(), String> {
        let (set, value) = (attribute.to_owned(), value.to_string());
        self.ask(What::Set { set, value }).map(|_| ())
    }

    fn ask(&mut self, what: What) -> Result<Outcome, String> {
        let version = VERSION;
        let line = to_line(&Request { version, what }).map_err(|error| error.to_string())?;
        let sent = self.stream.get_mut().write_all(&line);
        sent.map_err(|error| self.odd(&error.to_string()))?;
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(ANSWER_MAX as u64);
        match limited.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(_) => return Err(self.odd("the server hung up")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(self.odd("the server does not answer"));
            }
            Err(error) => return Err(self.odd(&error.to_string())),
        }
        let answer: Answer =
            serde_json::from_slice(&line).map_err(|error| self.odd(&error.to_string()))?;
        match answer.result {
            Outcome::Failure(failure) if failure.kind == FailureKind::Version => {
                Err(self.odd(&format!("{}; use its own 'compcache'", failure.message)))
            }
            Outcome::Failure(failure) => Err(failure.message),
            _ if answer.version != VERSION => {
                Err(self.odd("another version answers; use its own 'compcache'"))
            }
            outcome => Ok(outcome),
        }
    }

    fn odd(&self, what: &str) -> String {
        format!("{}: {what}", self.path.display())
    }
}

/// The socket of a device: its name, or a path with a slash in it.
///
/// # Errors
/// What is neither.
pub(crate) fn find(device: &str) -> Result<PathBuf, String> {
    if device.contains('/') {
        return Ok(device.into());
    }
    let name: Name = device
        .parse()
        .map_err(|error| format!("device {device:?}: {error}, or a path"))?;
    let dir = place::directory().map_err(|_| no_directory())?;
    Ok(place::path_of(&dir, &name))
}

/// All devices that answer, with their connections; sockets of servers that were killed are passed
/// over.
///
/// # Errors
/// A directory that may not be read. A server that answers nonsense is a note.
pub(crate) fn devices() -> Result<Vec<(Status, Client)>, String> {
    let Ok(dir) = place::directory() else {
        return Err(no_directory());
    };
    let sockets = place::sockets(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut found = Vec::new();
    for (_, path) in sockets {
        // Stopped or killed since, or not a socket at all.
        let Ok(mut client) = Client::connect(&path) else {
            continue;
        };
        match client.status() {
            Ok(status) => found.push((status, client)),
            Err(text) => output::note(&text),
        }
    }
    Ok(found)
}

fn no_directory() -> String {
    "XDG_RUNTIME_DIR is not set; run as root, or name the path of a control socket".to_owned()
}
