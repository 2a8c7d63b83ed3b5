//! `compcache capture` and `compcache generate`: pages into a file.

use std::io::Write;

use crate::cli::{CaptureArgs, GenerateArgs, OutputArgs};
use crate::output::{self, OutputFile, cannot_write};
use crate::pages::process::{ProcessMemory, Wanted};
use crate::pages::{PAGE_SIZE, generate};
use crate::units;

/// Captures a process page by page, so that its size does not matter here.
pub(crate) fn run(args: &CaptureArgs) -> Result<(), String> {
    let mut file = open(&args.output, 0o600)?;
    let mut process = ProcessMemory::open(args.pid)?;
    let target = &args.output.output;
    let captured = process.read(
        Wanted::Resident,
        args.max_pages.unwrap_or(u64::MAX),
        &mut |run| {
            file.write_all(run)
                .map_err(|error| cannot_write(target, &error))
        },
    )?;
    if captured.pages == 0 {
        return Err(format!(
            "{} has no anonymous memory resident",
            process.source()
        ));
    }
    file.publish()?;
    if captured.truncated {
        output::note(&format!(
            "stopped after {} pages; --max-pages sets the limit",
            captured.pages
        ));
    }
    say(&process.source(), captured.pages, &args.output)
}

/// Writes the built-in pages.
pub(crate) fn run_generate(args: &GenerateArgs) -> Result<(), String> {
    let mut file = open(&args.output, 0o666)?;
    let pages = generate::capture(args.seed, args.size.div_ceil(PAGE_SIZE))?;
    file.write_all(pages.bytes())
        .map_err(|error| cannot_write(&args.output.output, &error))?;
    file.publish()?;
    say(&pages.info().source, pages.count() as u64, &args.output)
}

fn open(args: &OutputArgs, mode: u32) -> Result<OutputFile, String> {
    // A device is not replaced, only written.
    if !args.force && args.output.metadata().is_ok_and(|found| found.is_file()) {
        return Err(format!(
            "{}: is there already; --force replaces it",
            args.output.display()
        ));
    }
    OutputFile::create(&args.output, mode)
}

fn say(source: &str, pages: u64, args: &OutputArgs) -> Result<(), String> {
    if !args.output.metadata().is_ok_and(|found| found.is_file()) {
        // The pages themselves may have gone to standard output.
        return Ok(());
    }
    output::print(&format!(
        "{}: {} pages ({}) of {source}\n",
        args.output.display(),
        units::grouped(pages),
        units::bytes(pages * PAGE_SIZE as u64)
    ))
}
