//! What a server that holds other processes' memory asks of the system.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::cli::Mlock;
use crate::output;

/// Signals that stop the server, waited for instead of handled.
pub(crate) struct StopSignals(SignalFd);

impl StopSignals {
    /// Keeps SIGTERM, SIGINT and SIGHUP from ending the process.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(crate) fn block() -> Result<Self, String> {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
            .into_iter()
            .collect();
        signals
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC))
            .map(Self)
            .map_err(|error| format!("cannot wait for signals: {error}"))
    }

    /// Waits for one of them: true if it came.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(crate) fn wait(&self, time: Duration) -> Result<bool, String> {
        let mut watched = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(&mut watched, time) {
            Ok(0) | Err(Errno::EINTR) => Ok(false),
            // Taken, or it would be there for the next look as well.
            Ok(_) => match self.0.read_signal() {
                Ok(signal) => Ok(signal.is_some()),
                Err(Errno::EINTR) => Ok(false),
                Err(error) => Err(format!("cannot wait for signals: {error}")),
            },
            Err(error) => Err(format!("cannot wait for signals: {error}")),
        }
    }
}

impl AsFd for StopSignals {
    /// Readable when there is one.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Says that this process serves those that are short of memory: what it allocates itself never
/// waits for a write to the device. Called before there are other threads, which inherit it. Where
/// that is not permitted (CAP_SYS_RESOURCE), locked memory has to do.
pub(crate) fn serve_reclaim() {
    let _ = rustix::process::configure_io_flusher_behavior(true);
}

/// Brings the whole program into memory and locks it there: code that is first needed when memory
/// is short may have to come from the device that it serves. Called before the device is made,
/// whose room is reserved, not used. Where it is not permitted, [`lock_memory`] says so.
pub(crate) fn lock_program(how: Mlock) {
    if how != Mlock::Off {
        let _ = mlockall(MlockAllFlags::MCL_CURRENT);
    }
}

/// Keeps this process from being swapped out: on the device that it serves itself, for one.
///
/// Pages are locked as they are first used (`MCL_ONFAULT`): what is only reserved, such as the
/// room for a full device, takes no memory.
///
/// # Errors
/// Where locking is required and not permitted.
pub(crate) fn lock_memory(how: Mlock) -> Result<(), String> {
    if how == Mlock::Off {
        return Ok(());
    }
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let mut flags = MlockAllFlags::MCL_CURRENT | on_fault;
    // Under a limit, whatever is mapped later could fail for being locked.
    let unlimited =
        getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY);
    if unlimited || nix::unistd::geteuid().is_root() {
        flags |= MlockAllFlags::MCL_FUTURE;
    }
    match (mlockall(flags), how) {
        (Ok(()), _) => Ok(()),
        (Err(error), Mlock::Required) => Err(format!(
            "memory cannot be locked: {error}; run as root, raise `ulimit -l`, or leave out --mlock"
        )),
        (Err(error), _) => {
            output::note(&format!(
                "memory is not locked ({error}), so this server can be swapped out itself; \
                 run as root or raise `ulimit -l`, or say --mlock off"
            ));
            Ok(())
        }
    }
}

/// Tells the kernel how soon to kill this process. Who may not, and did not have to, goes on.
pub(crate) fn set_oom_score_adj(score: i32) {
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Ok(()) => {}
        // Only root may lower it; the note about locked memory has said that already.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => output::note(&format!("oom_score_adj was not set: {error}")),
    }
}
