//! A process that goes on in the background once it is ready.
//!
//! ```text
//!   parent: fork ── waits ─────────────────── exits 0 (ready), or with the child's status
//!              └── child: setsid, starts up ── standard streams to /dev/null, "ready" ── serves
//! ```
//!
//! The child has the parent's standard streams until it is ready: what it says until then, and why
//! it could not start, is seen where it was started. It stays in the directory where it was
//! started, because places that were named relative to it are removed at the end.

use crate::calls;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Which of the two processes goes on.
#[derive(Debug)]
pub enum Side {
    /// The one that was started, which waits.
    Parent(Starting),
    /// The one in the background.
    Child(Ready),
}

/// How often it is looked whether threads that end have ended, and how long each time.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(2);

fn count_threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Divides the process in two.
///
/// # Errors
/// Where there are other threads, which the child would not have, and with them no locks that they
/// hold; where there is no `/proc` to see them, or no `/dev/null`; where there is no room for a process.
pub fn fork() -> io::Result<Side> {
    // A thread that has done its work is seen a moment longer.
    let mut threads = count_threads()?;
    for _ in 0..LOOKS {
        if threads == 1 {
            break;
        }
        std::thread::sleep(LOOK);
        threads = count_threads()?;
    }
    if threads != 1 {
        let text = format!("{threads} threads run, expected one");
        return Err(io::Error::other(text));
    }
    // Whatever can fail does so before it is ready.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty())?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    match calls::fork_single()? {
        Some(child) => Ok(Side::Parent(Starting {
            child,
            ready: read.into(),
        })),
        None => {
            drop(read);
            // The terminal's signals are for its foreground.
            rustix::process::setsid()?;
            Ok(Side::Child(Ready {
                parent: write.into(),
                null,
            }))
        }
    }
}

/// A child that is not ready yet.
#[derive(Debug)]
pub struct Starting {
    child: Pid,
    ready: File,
}

/// How a child has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It is ready.
    Ready,
    /// It has ended with this status before.
    Ended(i32),
    /// A signal has ended it before.
    Killed(i32),
}

impl Starting {
    /// Asks the child to stop.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn terminate(&self) -> io::Result<()> {
        Ok(rustix::process::kill_process(self.child, Signal::TERM)?)
    }

    /// Waits until the child is ready or has ended; [`as_fd`](AsFd::as_fd) is readable then.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn wait(mut self) -> io::Result<Started> {
        let mut byte = [0];
        // Not read_exact: the end of the file is the child's end.
        if self.ready.read(&mut byte)? == 1 {
            return Ok(Started::Ready);
        }
        loop {
            match rustix::process::waitpid(Some(self.child), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) | Ok(None) => {}
                Err(error) => return Err(error.into()),
                Ok(Some((_, status))) => {
                    let killed = status.terminating_signal().map(Started::Killed);
                    let ended = Started::Ended(status.exit_status().unwrap_or(1));
                    return Ok(killed.unwrap_or(ended));
                }
            }
        }
    }
}

impl AsFd for Starting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

/// How a child tells that it is ready.
#[derive(Debug)]
pub struct Ready {
    parent: File,
    null: OwnedFd,
}

impl Ready {
    /// Lets go of the standard streams, and lets the parent end.
    ///
    /// # Errors
    /// None that is known: what could fail was done before.
    pub fn tell(mut self) -> io::Result<()> {
        rustix::stdio::dup2_stdin(&self.null)?;
        rustix::stdio::dup2_stdout(&self.null)?;
        rustix::stdio::dup2_stderr(&self.null)?;
        // A parent that was killed meanwhile hears nothing, and nobody waits for it.
        let _ = self.parent.write_all(&[1]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The child has none of them, and every lock that they held.
    #[test]
    fn a_process_with_threads_is_not_divided() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let error = fork().unwrap_err();
        assert!(error.to_string().ends_with("expected one"), "{error}");
        drop(done);
        assert!(other.join().unwrap().is_err());
    }
}
