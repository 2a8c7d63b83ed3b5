//! `serve`: a device, its front ends, and waiting for the signal to stop.
//!
//! | module | what it does |
//! |---|---|
//! | `frontend` | what a front end is to this command; the list of them |
//! | `nbd` | the NBD server as a front end |
//! | `ublk` | a device of the kernel's ublk driver as a front end |
//! | `fuse` | the file, and the loop device over it, as a front end |
//! | `vhost` | disks of virtual machines as a front end |
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
#[cfg(feature = "vhost-user")]
mod vhost;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compcache_device::{AnyCodec, Config, Device, PAGE_SIZE};

use crate::cli::ServeArgs;
use crate::config::Section;
use crate::control::{Control, HeldUsers, Subject, Users};
use crate::daemon::Start;
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
    let section = args.config.section()?;
    if is_skipped(section.as_ref(), args.notify) {
        return Ok(());
    }
    let mut start = Start::begin(&args.server.daemon, &signals)?;
    machine::serve_reclaim();
    machine::lock_program(args.mlock);
    let device = Arc::new(device(args, section.as_ref())?);
    machine::lock_memory(args.mlock)?;
    machine::set_oom_score_adj(args.oom.oom_score_adj);

    let mut running = Running::default();
    for frontend in frontends(args)? {
        running.start(frontend, &device)?;
    }
    let running = Arc::new(Mutex::new(running));
    let control = control(args, &device, &running)?;
    let places = lock(&running).describe();
    output::print(&places)?;
    if args.notify {
        notify(sd_notify::NotifyState::Ready);
    }
    start.ready();
    serve(args, &signals, &device, &running);
    drop(control);
    Ok(())
}

/// Until everything is stopped. Whatever fails on the way there, it goes on: others may have on the
/// device what they have nowhere else.
fn serve(args: &ServeArgs, signals: &StopSignals, device: &Device, running: &Arc<Mutex<Running>>) {
    let mut status = Status::new(device);
    loop {
        match signals.wait(STATUS_TIME) {
            Ok(true) => {}
            Ok(false) => {
                // Not under the lock: a terminal may take its time.
                let clients = lock(running).clients();
                status.draw(device, clients);
                continue;
            }
            // Short of memory, for a moment.
            Err(_) => {
                std::thread::sleep(STATUS_TIME);
                continue;
            }
        }
        // The line is in the way of what is said now.
        drop(status);
        match stop(args, running) {
            Ok(()) => return,
            Err(text) => output::note(&format!("{text}; still serving")),
        }
        status = Status::new(device);
    }
}

/// Never away from under a mounted file system or an active swap area.
fn stop(args: &ServeArgs, running: &Arc<Mutex<Running>>) -> Result<(), String> {
    // All are asked before the first is stopped.
    let in_use = lock(running).in_use();
    if let Some(text) = in_use {
        return Err(text);
    }
    if args.notify {
        notify(sd_notify::NotifyState::Stopping);
    }
    lock(running).stop()
}

/// Who uses the device through its front ends.
struct FrontendUsers(Arc<Mutex<Running>>);

/// The front ends, which cannot be stopped meanwhile, and their devices, claimed.
struct HeldFrontends<'a>(
    MutexGuard<'a, Running>,
    #[allow(dead_code, reason = "held")] Vec<OwnedFd>,
);

impl Users for FrontendUsers {
    fn clients(&self) -> usize {
        lock(&self.0).clients()
    }

    fn hold(&self) -> Result<Box<dyn HeldUsers + '_>, String> {
        let running = lock(&self.0);
        let claims = running.hold()?;
        Ok(Box::new(HeldFrontends(running, claims)))
    }
}

impl HeldUsers for HeldFrontends<'_> {
    fn clients(&self) -> usize {
        self.0.clients()
    }
}

/// The control socket, and what it is asked about.
fn control(
    args: &ServeArgs,
    device: &Arc<Device>,
    running: &Arc<Mutex<Running>>,
) -> Result<Control, String> {
    let places = lock(running)
        .describe()
        .lines()
        .map(str::to_owned)
        .collect();
    let users = Box::new(FrontendUsers(Arc::clone(running)));
    Control::start(&args.server.control, |name| {
        Subject::new(name, device, places, users)
    })
}

/// A front end that panicked is as good as any other: what is read of it are counts.
fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the section says that this machine is to have no such device. As with zram-generator,
/// that is no failure: a service has started and ended.
pub(crate) fn is_skipped(section: Option<&Section>, told: bool) -> bool {
    let Some(text) = section.and_then(|section| section.skipped.as_ref()) else {
        return false;
    };
    output::note(&format!("{text}; nothing is served"));
    if told {
        notify(sd_notify::NotifyState::Ready);
    }
    true
}

/// What the command line says goes before what the section says.
fn device(args: &ServeArgs, section: Option<&Section>) -> Result<Device, String> {
    let lz4 = AnyCodec::Lz4(compress::Lz4);
    let said = args.codec.or(section.map(|section| section.codec));
    let tiers = args.server.tiers.tiers(said.unwrap_or(lz4), section)?;
    let size = args.size.map(|bytes| bytes as u64);
    let size = size
        .or(section.map(|section| section.size))
        .unwrap_or(0)
        .checked_next_multiple_of(PAGE_SIZE)
        .ok_or("the size is too large; name a smaller one")?;
    let limit = args.mem_limit.map(|bytes| bytes as u64);
    let config = Config {
        mem_limit: limit
            .or(section.map(|section| section.mem_limit))
            .unwrap_or(0),
        ..tiers.config(size)
    };
    let device = Device::new(config).map_err(|error| format!("{error}; try a smaller size"))?;
    tiers.back(&device)?;
    Ok(device)
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
    #[cfg(feature = "vhost-user")]
    frontends.extend(vhost::Vhost::new(args).map(|frontend| Box::new(frontend) as _));
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
