//! `--daemon` and `--pid-file`: a server in the background, and a file that names it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use compcache_sys::daemon::{self, Ready, Side, Started, Starting};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::output;
use crate::serve::machine::StopSignals;

/// A number and a line's end.
const PID_BYTES_MAX: u64 = 32;

/// Arguments of every command that serves a device.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DaemonArgs {
    /// Go to the background, and end here with status 0, once clients can connect; what fails before is said here, with
    /// status 1. What is said later is lost
    #[arg(long, conflicts_with = "notify")]
    daemon: bool,
    /// Write the server's process number to this file, and remove it at the end; refused if a live server has it
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
}

/// A server that starts, in the background or here. Its pid file goes away with this value.
pub(crate) struct Start {
    ready: Option<Ready>,
    _pid_file: Option<PidFile>,
}

impl Start {
    /// Goes to the background, if that is wanted: only there this returns, the process that was
    /// started here waits, and ends when the server is ready. To be called before there are threads.
    ///
    /// # Errors
    /// One line with the next step.
    pub(crate) fn begin(args: &DaemonArgs, signals: &StopSignals) -> Result<Self, String> {
        // Before there are two of them: refused here, not there.
        let mut pid_file = args.pid_file.as_deref().map(PidFile::claim).transpose()?;
        let ready = match args.daemon {
            false => None,
            true => match daemon::fork().map_err(|error| {
                format!("cannot go to the background: {error}; leave out --daemon")
            })? {
                Side::Child(ready) => Some(ready),
                Side::Parent(starting) => {
                    let ended = wait(starting, signals);
                    // The file and its lock are the child's.
                    std::mem::forget(pid_file);
                    std::process::exit(ended?)
                }
            },
        };
        if let Some(file) = &mut pid_file {
            file.write()?;
        }
        Ok(Self {
            ready,
            _pid_file: pid_file,
        })
    }

    /// Clients can connect.
    pub(crate) fn ready(&mut self) {
        if let Some(Err(error)) = self.ready.take().map(Ready::tell) {
            output::note(&format!("standard streams are still open: {error}"));
        }
    }
}

/// The exit status for a server's start. A signal to stop is passed on: the server is in another
/// session, where a terminal's do not come.
fn wait(starting: Starting, signals: &StopSignals) -> Result<i32, String> {
    let failed = |error: std::io::Error| format!("cannot wait for the server: {error}");
    let mut stopped = false;
    loop {
        let mut watched = [
            PollFd::new(starting.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(failed(error.into())),
        }
        if watched[0].any() == Some(true) {
            break;
        }
        if signals.wait(Duration::ZERO)? {
            starting.terminate().map_err(failed)?;
            stopped = true;
        }
    }
    match starting.wait().map_err(failed)? {
        // It was ready just before it heard of it.
        Started::Ready if stopped => Err("stopped while the server started".to_owned()),
        Started::Ready => Ok(0),
        // It has said why.
        Started::Ended(status) => Ok(status),
        Started::Killed(signal) => Err(format!(
            "the server was killed by signal {signal} while it started; try it without --daemon"
        )),
    }
}

fn no_pid_file(path: &Path) -> String {
    format!("{}: this is no pid file; name another file", path.display())
}

/// A file with the number of a process, locked as long as that lives.
struct PidFile {
    file: Flock<File>,
    path: PathBuf,
}

impl PidFile {
    /// Takes the file, also from a server that was killed.
    ///
    /// # Errors
    /// One line: a live server has it, it is something else, or it cannot be written.
    fn claim(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| output::cannot_write(path, &error);
        loop {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            // No link is followed, and opening waits for nobody.
            let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
            let opened = options.custom_flags(flags.bits()).open(path);
            let is_other = match &opened {
                Ok(file) => !file.metadata().map_err(failed)?.is_file(),
                Err(error) => error.raw_os_error() == Some(Errno::ELOOP as i32),
            };
            if is_other {
                // At the end it would be removed, /dev/null as well.
                return Err(no_pid_file(path));
            }
            let mut file = opened.map_err(failed)?;
            let mut text = String::new();
            let read = (&mut file).take(PID_BYTES_MAX).read_to_string(&mut text);
            let is_long = text.len() as u64 == PID_BYTES_MAX;
            let text = text.trim();
            if read.is_err() || is_long || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(no_pid_file(path));
            }
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => {
                    let path = path.display();
                    return Err(format!(
                        "{path}: a server is running ({text}); stop it first, or name another file"
                    ));
                }
                Err((_, error)) => return Err(failed(error.into())),
            };
            let claimed = Self {
                file,
                path: path.to_owned(),
            };
            // A server that ended just now has removed it: next time there is another.
            if claimed.is_there() {
                return Ok(claimed);
            }
        }
    }

    /// Whether the file still has its name.
    fn is_there(&self) -> bool {
        match (self.file.metadata(), self.path.symlink_metadata()) {
            (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    fn write(&mut self) -> Result<(), String> {
        let line = format!("{}\n", std::process::id());
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.write_all(line.as_bytes()))
            .map_err(|error| output::cannot_write(&self.path, &error))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
