//! Taking the area away, in a process of its own.
//!
//! While swapoff(2) runs and memory runs out, the kernel kills its caller before anybody else,
//! whatever `oom_score_adj` says. The server must not be that caller: with it, everything that is
//! swapped out would be lost. So a child calls it, and if the child is killed, the area is simply
//! still active.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use compcache_device::Device;
use compcache_sys::swap::{self, Area};
use nix::libc;
use procfs::{Current, Meminfo};

use crate::output;
use crate::serve::machine::{self, StopSignals};
use crate::units;

/// Left free when everything is back: a machine that comes closer to its last page stands still for
/// minutes before the kernel kills somebody.
const MARGIN_BYTES: u64 = 64 << 20;

/// The child's subcommand.
pub(crate) const SWAPOFF_COMMAND: &str = "swapoff-child";

/// Takes the area on a device away, if there is one; brings back everything that is on it.
///
/// # Errors
/// One line; the area is still active then.
pub(super) fn swap_off(path: &Path, device: &Device) -> Result<(), String> {
    let Some(area) = swap::area_on(path).map_err(|error| error.to_string())? else {
        return Ok(());
    };
    check_room(&area, device)?;
    if area.used > 0 {
        output::note(&format!(
            "bringing back {} from {}",
            units::bytes(area.used),
            path.display()
        ));
    }
    run_child(path)?;
    match swap::area_on(path).map_err(|error| error.to_string())? {
        None => Ok(()),
        Some(_) => Err(format!("{} is still active", path.display())),
    }
}

/// Refuses at once what would only end in somebody being killed.
fn check_room(area: &Area, device: &Device) -> Result<(), String> {
    let Ok(memory) = Meminfo::current() else {
        return Ok(());
    };
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    // The other areas take pages as well, and our own memory comes back as the pages go.
    let elsewhere = memory
        .swap_free
        .saturating_sub(area.size - area.used.min(area.size));
    let room = available + elsewhere + device.stat().mm.mem_used_total;
    // What was never used, or little, goes back in any case.
    let needed = area.used + MARGIN_BYTES.min(area.used);
    match needed > room {
        false => Ok(()),
        true => Err(format!(
            "cannot stop: {} are swapped out to {} and there is room for {}; \
             end some programs or add swap elsewhere",
            units::bytes(area.used),
            area.device.display(),
            units::bytes(room)
        )),
    }
}

pub(super) fn run_child(path: &Path) -> Result<(), String> {
    let place = path.display();
    let output = Command::new("/proc/self/exe")
        .arg(SWAPOFF_COMMAND)
        .arg(path)
        // Not in the terminal's group: a second ^C would interrupt it.
        .process_group(0)
        .output()
        .map_err(|error| format!("cannot start a process for swapoff: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    if output.status.signal() == Some(libc::SIGKILL) {
        return Err(format!(
            "cannot stop: memory ran out while {place} was brought back; \
             end some programs or add swap elsewhere"
        ));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim().trim_start_matches("compcache: ");
    Err(format!("cannot stop: {text}"))
}

/// The child.
///
/// # Errors
/// What swapoff(2) says.
pub(crate) fn run_swapoff(path: &Path) -> Result<(), String> {
    // A signal that is for the server would interrupt it.
    let _signals = StopSignals::block()?;
    machine::set_oom_score_adj(1000);
    // The server's priority, and with it half of the kernel's reserve of memory, are for answering
    // what this asks for.
    let _ = compcache_sys::priority::as_others();
    swap::off(path).map_err(|error| error.to_string())
}
