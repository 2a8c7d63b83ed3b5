//! `swap`: a device, swap on it, and off again when a signal says so.
//!
//! | module | what it does |
//! |---|---|
//! | `args` | its part of the command line |
//! | `via` | which front ends this kernel has |
//! | `ublk`, `fuse` | the device by ublk, by FUSE and loop |
//! | `off` | taking the area away, in a process of its own |
//! | `leftover` | what a server that was killed has left, found and removed |
//!
//! The order of things: the header is written before the block device appears, so that nobody has
//! read (and keeps) an empty first page; the record is written before swapon and removed after the
//! device is gone, so that a kill at any moment leaves something to find.

mod args;
#[cfg(feature = "fuse")]
mod fuse;
mod leftover;
mod off;
#[cfg(feature = "ublk")]
mod ublk;
mod via;

use std::sync::Arc;

use compcache_device::{BlockDevice, Config, Device, Growth};
use compcache_sys::swap;

use args::Area;
pub(crate) use args::SwapArgs;
pub(crate) use off::{SWAPOFF_COMMAND, run_swapoff};

use crate::control::{Control, HeldUsers, Subject, Users};
use crate::daemon::Start;
use crate::output;
use crate::serve::machine::{self, StopSignals};
use crate::serve::status::Status;
use crate::serve::{STATUS_TIME, is_skipped, notify};
use crate::units;
use leftover::Record;
use via::{Attached, Via};

/// What `blkid` and `lsblk` show.
const LABEL: &str = "compcache";

/// Swaps to a device of its own until a signal says to stop.
///
/// # Errors
/// What is missing, and what to do; nothing is left behind then.
pub(crate) fn run(args: &SwapArgs) -> Result<(), String> {
    let section = args.config.section()?;
    if is_skipped(section.as_ref(), args.notify) {
        return Ok(());
    }
    let area = args.area(section.as_ref())?;
    let header =
        swap::header(area.size, LABEL).map_err(|error| format!("{error}; try another --size"))?;
    let via = via::choose(args.via, args.dry_run)?;
    if args.dry_run {
        return output::print(&dry_run(&area, via));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("swap needs root; try 'sudo compcache swap', or --dry-run to look".to_owned());
    }
    // Before there is any other thread: threads inherit both.
    let signals = StopSignals::block()?;
    let mut start = Start::begin(&args.server.daemon, &signals)?;
    machine::serve_reclaim();
    // Not permitted in some containers, and only needed when memory is very short.
    let _ = compcache_sys::priority::before_others();
    machine::lock_program(args.mlock);
    leftover::clear()?;

    let device = Arc::new(device(&area)?);
    device
        .write(0, &header)
        .map_err(|error| format!("the header of the swap area: {error}; raise --mem-limit"))?;
    machine::lock_memory(args.mlock)?;
    machine::set_oom_score_adj(args.oom.oom_score_adj);
    let mut attached = via.attach(&device)?;
    let places = vec![format!("{via} {}", attached.path().display())];
    let subject = |name| Subject::new(name, &device, places, Box::new(Kernel));
    let control = match Control::start(&args.server.control, subject) {
        Ok(control) => control,
        Err(error) => return Err(attached.stop().err().unwrap_or(error)),
    };
    let record = Record::write(attached.as_ref())?;
    if let Err(error) = swap::on(attached.path(), area.priority) {
        let down = attached.stop();
        record.remove();
        let next = "if another program holds the device, try again";
        return Err(down.err().unwrap_or_else(|| format!("{error}; {next}")));
    }
    // From here on nothing may end this process but swap being off. A reader of the output that has
    // gone away is no reason.
    let _ = output::print(&format!(
        "swap on {} by {via}: {}, priority {}\n",
        attached.path().display(),
        units::bytes(area.size),
        area.priority
    ));
    if args.notify {
        notify(sd_notify::NotifyState::Ready);
    }
    start.ready();
    serve(args, &signals, &device, attached.as_mut());
    drop(control);
    record.remove();
    Ok(())
}

/// Swap itself is the client: nothing may be reset under it.
struct Kernel;

impl Users for Kernel {
    fn clients(&self) -> usize {
        1
    }

    fn hold(&self) -> Result<Box<dyn HeldUsers + '_>, String> {
        Err("it is swapped to".to_owned())
    }
}

/// Until swap is off and the device is gone: whatever fails on the way there, it goes on, because
/// other processes' memory is on the device.
fn serve(
    args: &SwapArgs,
    signals: &StopSignals,
    device: &Arc<Device>,
    attached: &mut dyn Attached,
) {
    let mut status = Status::new(device);
    loop {
        match signals.wait(STATUS_TIME) {
            Ok(true) => {}
            Ok(false) => {
                status.draw(device, 1);
                continue;
            }
            // Short of memory, for a moment.
            Err(_) => {
                std::thread::sleep(STATUS_TIME);
                continue;
            }
        }
        if args.notify {
            notify(sd_notify::NotifyState::Stopping);
        }
        // The line is in the way of what is said now.
        drop(status);
        match off::swap_off(attached.path(), device).and_then(|()| attached.stop()) {
            Ok(()) => return,
            Err(text) => output::note(&format!("{text}; still serving, stop again to try again")),
        }
        status = Status::new(device);
    }
}

fn device(area: &Area) -> Result<Device, String> {
    let config = Config {
        mem_limit: area.mem_limit,
        // Whoever swaps waits for this memory: 2 MiB at once are more than the kernel keeps for it.
        growth: Growth::Pages,
        ..area.tiers.config(area.size)
    };
    let device = Device::new(config).map_err(|error| format!("{error}; try a smaller --size"))?;
    area.tiers.back(&device)?;
    Ok(device)
}

/// Each step, in order.
fn dry_run(area: &Area, via: Via) -> String {
    let mut steps = leftover::describe();
    let limit = match area.mem_limit {
        0 => "no limit".to_owned(),
        bytes => format!("at most {}", units::bytes(bytes)),
    };
    steps.push(format!(
        "make a device of {} ({}, {limit} of memory)",
        units::bytes(area.size),
        area.tiers.ladder
    ));
    steps.extend(area.tiers.describe());
    steps.extend(via.steps().iter().map(|&step| step.to_owned()));
    steps.push(format!(
        "write the header of a swap area, swapon with priority {} and discard",
        area.priority
    ));
    steps.push("at SIGTERM or SIGINT: swapoff, take the device down".to_owned());
    let numbered = steps.iter().zip(1..);
    numbered
        .map(|(step, number)| format!("{number}. {step}\n"))
        .collect()
}
