//! The other end: asks a running server.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::{self, Name};
use super::protocol::{
    ANSWER_MAX, Answer, Empty, FailureKind, Outcome, Progress, Request, Status, VERSION, What,
    to_line,
};

/// How long a server may take to say something.
const PATIENCE: Duration = Duration::from_secs(5);
/// And to do something: resetting and packing a full device are a matter of seconds.
const PATIENCE_SET: Duration = Duration::from_secs(60);

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
        Self::open(path).map_err(|error| refused(path, &error))
    }

    fn open(path: &Path) -> std::io::Result<Self> {
        let stream = place::connect(path, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
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

    /// Sets an attribute; `progress` hears how far it is. Returns what was done.
    ///
    /// # Errors
    /// See [`status`](Self::status).
    pub(crate) fn set(
        &mut self,
        attribute: &str,
        value: &str,
        mut progress: impl FnMut(Progress),
    ) -> Result<String, String> {
        let (set, value) = (attribute.to_owned(), value.to_owned());
        let patient = self.stream.get_ref().set_read_timeout(Some(PATIENCE_SET));
        patient.map_err(|error| self.odd(&error.to_string()))?;
        self.send(What::Set {
            set,
            value,
            progress: true,
        })?;
        loop {
            match self.hear()? {
                Outcome::Progress(done) => progress(done),
                Outcome::Text(text) => return Ok(text),
                _ => return Err(self.odd("another answer than was asked for")),
            }
        }
    }

    fn ask(&mut self, what: What) -> Result<Outcome, String> {
        self.send(what)?;
        self.hear()
    }

    fn send(&mut self, what: What) -> Result<(), String> {
        let version = VERSION;
        let line = to_line(&Request { version, what }).map_err(|error| error.to_string())?;
        let sent = self.stream.get_mut().write_all(&line);
        sent.map_err(|error| self.odd(&error.to_string()))
    }

    fn hear(&mut self) -> Result<Outcome, String> {
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

/// Why there is no connection.
fn refused(path: &Path, error: &std::io::Error) -> String {
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
        ErrorKind::WouldBlock => {
            format!("{place}: its server does not answer, or has too many clients")
        }
        _ => format!("{place}: {error}"),
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

/// Devices and their connections, and a note for each server that does not answer as it should.
pub(crate) type Found = (Vec<(Status, Client)>, Vec<String>);

/// All devices that answer; sockets of servers that were killed are passed over.
///
/// # Errors
/// A directory that may not be read.
pub(crate) fn devices() -> Result<Found, String> {
    let Ok(dir) = place::directory() else {
        return Err(no_directory());
    };
    devices_in(&dir)
}

fn devices_in(dir: &Path) -> Result<Found, String> {
    let sockets = place::sockets(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for (_, path) in sockets {
        let mut client = match Client::open(&path) {
            Ok(client) => client,
            Err(error) => {
                // Others have stopped or were killed since, or are no sockets at all.
                if error.kind() == ErrorKind::WouldBlock {
                    notes.push(refused(&path, &error));
                }
                continue;
            }
        };
        match client.status() {
            Ok(status) => found.push((status, client)),
            Err(text) => notes.push(text),
        }
    }
    Ok((found, notes))
}

fn no_directory() -> String {
    "XDG_RUNTIME_DIR is not set; run as root, or name the path of a control socket".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// Each of them kept the list of all others waiting for a minute.
    #[test]
    fn a_server_that_says_nothing_is_a_note() {
        let dir = tempfile::tempdir().unwrap();
        let _silent = UnixListener::bind(dir.path().join("silent.sock")).unwrap();
        drop(UnixListener::bind(dir.path().join("killed.sock")).unwrap());
        let started = std::time::Instant::now();
        let (found, notes) = devices_in(dir.path()).unwrap();
        assert!(found.is_empty());
        let [note] = notes.as_slice() else {
            panic!("{notes:?}")
        };
        assert!(
            note.contains("silent.sock: the server does not answer"),
            "{note}"
        );
        assert!(started.elapsed() < 2 * PATIENCE);
    }
}
