//! What a server that was killed has left, found and removed.
//!
//! Each server has a record while it has a device, `/run/compcache/swap-PID`:
//!
//! ```text
//!   started 123456          clock ticks after boot: tells a process from a later one of its number
//!   device /dev/loop0
//!   sequence 15             tells the disk from a later one of its name (Linux 5.15)
//! ```
//!
//! What is left after SIGKILL is the record and the swap area, and with ublk the device: idle loop
//! devices and hidden mounts go by themselves. The pages on the area are lost; swapoff marks them, and who needs one gets
//! SIGBUS.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use compcache_sys::{loops, swap};
use procfs::process::Process;

use super::off;
use super::via::Attached;
use crate::control::{SYSTEM_DIR as DIRECTORY, make_directory};
use crate::output;
use crate::units;

const PREFIX: &str = "swap-";
/// A record is two short lines.
const RECORD_BYTES_MAX: u64 = 4096;
/// For how long a swapoff that failed is tried again, and how often.
const RETRIED_FOR: Duration = Duration::from_secs(10);
const RETRIED_EVERY: Duration = Duration::from_millis(200);

/// The record of this process.
pub(super) struct Record(PathBuf);

impl Record {
    /// Writes it.
    ///
    /// # Errors
    /// One line with the next step.
    pub(super) fn write(attached: &dyn Attached) -> Result<Self, String> {
        let pid = std::process::id();
        let path = Path::new(DIRECTORY).join(format!("{PREFIX}{pid}"));
        let started = i32::try_from(pid).ok().and_then(started);
        let mut text = String::new();
        if let Some(started) = started {
            let _ = writeln!(text, "started {started}");
        }
        let _ = writeln!(text, "device {}", attached.path().display());
        if let Some(sequence) = loops::sequence(attached.path()) {
            let _ = writeln!(text, "sequence {sequence}");
        }
        make_directory(Path::new(DIRECTORY))
            .and_then(|()| create(&path, &text))
            .map_err(|error| format!("{}: {error}; swap needs /run", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn remove(self) {
        let _ = fs::remove_file(self.0);
    }
}

/// A new file, whatever was there: no link is followed.
fn create(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(path)?;
    file.write_all(text.as_bytes())
}

/// When a process began; none if there is no such process.
fn started(pid: i32) -> Option<u64> {
    Process::new(pid)
        .ok()?
        .stat()
        .ok()
        .map(|stat| stat.starttime)
}

/// A record whose process is gone.
#[derive(Debug, PartialEq, Eq)]
struct Leftover {
    record: PathBuf,
    device: PathBuf,
    /// Of the disk that was the server's; none where the kernel has none.
    sequence: Option<u64>,
}

impl Leftover {
    /// Whether the disk of that name still is the server's. The name may be another's by now, who
    /// swaps to it as well.
    fn is_there(&self) -> bool {
        self.sequence.is_none() || self.sequence == loops::sequence(&self.device)
    }
}

fn leftovers() -> Vec<Leftover> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| leftover(&entry.path()))
        .collect()
}

fn leftover(record: &Path) -> Option<Leftover> {
    let pid = record.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    let pid = pid.parse().ok()?;
    if fs::metadata(record).ok()?.len() > RECORD_BYTES_MAX {
        return None;
    }
    let text = fs::read_to_string(record).ok()?;
    let field = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|&(name, _)| name == key).map(|(_, value)| value)
    };
    let began = field("started").and_then(|value| value.parse().ok());
    let is_alive = started(pid).is_some_and(|now| began.is_none_or(|began: u64| began == now));
    (!is_alive).then(|| Leftover {
        record: record.to_owned(),
        device: PathBuf::from(field("device").unwrap_or_default()),
        sequence: field("sequence").and_then(|value| value.parse().ok()),
    })
}

/// What [`clear`] would do, a step each.
pub(super) fn describe() -> Vec<String> {
    let leftovers = leftovers().into_iter();
    leftovers
        .filter(Leftover::is_there)
        .map(|left| {
            format!(
                "remove what a killed server left on {}",
                left.device.display()
            )
        })
        .collect()
}

/// Removes what killed servers have left.
///
/// # Errors
/// One line: what is left, and what to do.
pub(super) fn clear() -> Result<(), String> {
    for left in leftovers() {
        clear_one(&left)?;
    }
    Ok(())
}

fn clear_one(left: &Leftover) -> Result<(), String> {
    if left.is_there() {
        take_away(left)?;
    }
    match fs::remove_file(&left.record) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{}: {error}; remove it", left.record.display()))
        }
        _ => Ok(()),
    }
}

/// Swap on a device of a killed server, and the device.
fn take_away(left: &Leftover) -> Result<(), String> {
    let device = left.device.display();
    let area = swap::area_on(&left.device).map_err(|error| error.to_string())?;
    #[cfg(feature = "ublk")]
    let mut taken_over = compcache_ublk::Server::take_over(&left.device)
        .map_err(|error| format!("{device} of a killed server: {error}; reboot to be rid of it"))?;
    if let Some(area) = area {
        retried(RETRIED_FOR, || off::run_child(&left.device)).map_err(|text| {
            format!(
                "a server of {device} was killed and its swap cannot be taken off: {text}; \
                 end the programs that use it (swapped out: {}) or reboot",
                units::bytes(area.used)
            )
        })?;
        output::note(&format!(
            "took off the swap that a killed server left on {device}; {} were lost with it",
            units::bytes(area.used)
        ));
    }
    #[cfg(feature = "ublk")]
    if let Some(server) = &mut taken_over {
        server
            .stop()
            .map_err(|error| format!("{error}; run 'swapoff {device}', then try again"))?;
    }
    Ok(())
}

/// Tries again what fails, for a while.
///
/// The page that swapoff puts in a lost one's place is counted to the group of the program that had
/// it. Where that group is full, the kernel kills the program and swapoff fails (ENOMEM), though with the
/// program's end there is nothing left to bring back.
fn retried(time: Duration, mut attempt: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let until = Instant::now() + time;
    loop {
        match attempt() {
            Err(_) if Instant::now() < until => thread::sleep(RETRIED_EVERY),
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests;
