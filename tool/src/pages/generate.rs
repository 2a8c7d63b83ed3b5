//! The default pages: captured from a child process that builds a heap from a seed.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::personality::{self, Persona};

use super::process::{ProcessMemory, Wanted};
use super::{PAGE_SIZE, PageSet};

/// Name of the hidden subcommand that the child runs.
pub(crate) const CHILD_COMMAND: &str = "build-heap";

/// 240 MiB.
pub(crate) const DEFAULT_PAGES: usize = 61_440;
/// 32 MiB.
pub(crate) const QUICK_PAGES: usize = 8_192;

/// Builds a heap of `pages` pages from `seed` in a child process and captures it. The same
/// seed and number give the same bytes.
///
/// # Errors
/// Where the child cannot be started, cannot build its heap, or cannot be read.
pub(crate) fn capture(seed: u64, pages: usize) -> Result<PageSet, String> {
    let mut child = Building(spawn(seed, pages)?);
    let mut line = String::new();
    let stdout = child
        .0
        .stdout
        .take()
        .ok_or("the child has no standard output")?;
    BufReader::new(stdout)
        .read_line(&mut line)
        .map_err(|error| format!("cannot hear from the child: {error}"))?;
    let (start, length) = parse_report(&line)?;

    let mut process = ProcessMemory::open(child.0.id() as i32)?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(pages * PAGE_SIZE)
        .map_err(|_| format!("{pages} pages do not fit in memory; ask for less with --size"))?;
    let range = start..start + length.next_multiple_of(PAGE_SIZE as u64);
    process.read_ranges(
        &[range],
        Wanted::ResidentOrSwapped,
        pages as u64,
        &mut |run| {
            bytes.extend_from_slice(run);
            Ok(())
        },
    )?;
    if bytes.len() != pages * PAGE_SIZE {
        return Err(format!(
            "the child built {} pages instead of {pages}",
            bytes.len() / PAGE_SIZE
        ));
    }
    PageSet::new(format!("built-in heap, seed {seed}"), bytes)
}

/// Starts the child, with address space randomisation off where that is allowed. Where it is not (some
/// container sandboxes) the arena's fixed address alone must do, and does.
fn spawn(seed: u64, pages: usize) -> Result<Child, String> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("compcache")
        .args([CHILD_COMMAND, &seed.to_string(), &pages.to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // The personality is this thread's own and is inherited by what it starts.
    let before = personality::get().ok();
    if let Some(before) = before {
        let _ = personality::set(before | Persona::ADDR_NO_RANDOMIZE);
    }
    let child = command.spawn();
    if let Some(before) = before {
        let _ = personality::set(before);
    }
    child.map_err(|error| format!("cannot start the process that builds the pages: {error}"))
}

/// The child, ended when this goes away.
struct Building(Child);

impl Drop for Building {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn parse_report(line: &str) -> Result<(u64, u64), String> {
    let mut fields = line.split_whitespace();
    match (fields.next(), fields.next(), fields.next()) {
        (Some("ready"), Some(start), Some(length)) => match (start.parse(), length.parse()) {
            (Ok(start), Ok(length)) => Ok((start, length)),
            _ => Err(format!("the child reported {line:?}")),
        },
        (Some("failed"), ..) => Err(format!(
            "cannot build the default pages: {}",
            line.trim_start_matches("failed").trim()
        )),
        _ => Err(
            "the process that builds the default pages ended early (out of memory?); try --quick"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_understood() {
        assert_eq!(parse_report("ready 4096 8192\n"), Ok((4096, 8192)));
        assert_eq!(
            parse_report("failed no room\n"),
            Err("cannot build the default pages: no room".to_owned())
        );
        assert!(parse_report("").is_err());
        assert!(parse_report("ready x 1\n").is_err());
    }
}
