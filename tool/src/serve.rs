//! `serve`: a device, its front ends, and waiting for the signal to stop.
//!
//! | module | what it does |
//! |---|---|
//! | `frontend` | what a front end is to this command; the list of them |
//! | `nbd` | the NBD server as a front end |
//! | `ublk` | a device of the kernel's ublk driver as a front end |
//! | `fuse` | the file, and the loop device over it, as a front end |
//! | `machine` | locked memory, the kernel's choice of whom to kill, signals |
//! | `status` | the line on the terminal |

mod frontend;
#[cfg(feature = "fuse")]
mod fuse;
pub(crate) mod machine;
#[cfg(feature = "nbd")]
mod nbd;
pub(crate) mod status;
#[cfg(feature = "ublk")]
mod ublk;

use std::sync::Arc;
use std::time::Duration;

use compcache_device::{Config, Device, PAGE_SIZE};

use crate::cli::ServeArgs;
use crate::output;
use frontend::{Frontend, Running};
use machine::StopSignals;
use status::Status;

/// How often the status line is drawn.
pub(crate) const STATUS_TIME: Duration = Duration::from_secs(1);

/// Serves until a signal says to stop.
///
/// # Errors
/// A device that cannot be made, a front end that does not start or stop.
pub(crate) fn run(args: &ServeArgs) -> Result<(), String> {
    // Before there is any other thread: threads inherit which signals are waited for.
    let signals = StopSignals::block()?;
    machine::serve_reclaim();
    machine::lock_program(args.mlock);
    let device = Arc::new(device(args)?);
    machine::lock_memory(args.mlock)?;
    machine::set_oom_score_adj(args.oom_score_adj);

    let mut running = Running::default();
    for frontend in frontends(args)? {
        running.start(frontend, &device)?;
    }
    output::print(&running.describe())?;
    if args.notify {
        notify(sd_notify::NotifyState::Ready);
    }
    let mut status = Status::new(&device);
    loop {
        if !signals.wait(STATUS_TIME)? {
            status.draw(&device, running.clients());
            continue;
        }
        // Never away from under a mounted file system or an active swap area.
        match running.in_use() {
            None => break,
            Some(text) => output::note(&format!("{text}; still serving")),
        }
    }
    drop(status);
    if args.notify {
        notify(sd_notify::NotifyState::Stopping);
    }
    running.stop()
}

fn device(args: &ServeArgs) -> Result<Device, String> {
    let size = (args.size as u64)
        .checked_next_multiple_of(PAGE_SIZE)
        .ok_or("the size is too large; name a smaller one")?;
    let config = Config {
        codec: args.codec,
        mem_limit: args.mem_limit.map_or(0, |bytes| bytes as u64),
        ..Config::new(size)
    };
    Device::new(config).map_err(|error| format!("{error}; try a smaller --size"))
}

/// The front ends that the command line names, not started yet.
#[cfg_attr(
    not(feature = "nbd"),
    allow(unused_mut, unused_variables, reason = "each front end is a feature")
)]
fn frontends(args: &ServeArgs) -> Result<Vec<Box<dyn Frontend>>, String> {
    let mut frontends: Vec<Box<dyn Frontend>> = Vec::new();
    #[cfg(feature = "nbd")]
    if !args.nbd.is_empty() {
        frontends.push(Box::new(nbd::Nbd::new(args)?));
    }
    #[cfg(feature = "fuse")]
    frontends.extend(fuse::Fuse::new(args).map(|frontend| Box::new(frontend) as _));
    #[cfg(feature = "ublk")]
    frontends.extend(ublk::Ublk::new(args).map(|frontend| Box::new(frontend) as _));
    if frontends.is_empty() {
        return Err("this build has no front end; build it with a feature such as nbd".to_owned());
    }
    Ok(frontends)
}

/// A service manager that does not listen is none of the device's business.
pub(crate) fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        output::note(&format!("systemd was not told: {error}"));
    }
}
