//! Instructions of an allocation and of a free, counted by callgrind.
//!
//! ```text
//! bench/instructions.sh [--json FILE] [--split] [--quick] [--history NAME] [--limit N]
//! ```
//!
//! Without `--worker` this program runs itself under `valgrind --tool=callgrind`, once for each
//! face of the allocator and each [history](history), and reports the mean over many thousand
//! operations at pools of 1,000, 100,000 and 1,000,000 objects. The exit status is 1 unless each
//! mean is at most [`report::INSTRUCTIONS_MAX`] and those of one face, history and operation are
//! within [`report::SPREAD_MAX`] of each other.
//!
//! Counted: everything that a call of `store` or `alloc_from` (allocation) and of `clear` or
//! `free` (free) executes in user space, the page source included (also stated apart). Not
//! counted: copying and clearing of bytes (`memcpy`, `memmove`, `memset`), and the kernel.
//! Compaction beside frees is off in the rows that are judged, as it is where a background
//! thread compacts; further rows show it on.

mod face;
mod history;
mod profile;
mod report;
mod run;
mod source;
mod valgrind;

use std::path::PathBuf;
use std::process::ExitCode;

/// What the command line asks for.
#[derive(Default)]
struct Options {
    json: Option<PathBuf>,
    split: bool,
    quick: bool,
    /// Only this history.
    history: Option<String>,
    /// Instructions that an operation may take on average, if not the target.
    limit: Option<f64>,
    /// A job's name: this process runs under valgrind and only does that job.
    worker: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--json" => options.json = Some(value()?.into()),
            "--worker" => options.worker = Some(value()?),
            "--split" => options.split = true,
            "--quick" => options.quick = true,
            "--history" => options.history = Some(value()?),
            "--limit" => {
                let limit = value()?;
                let number = limit
                    .parse()
                    .map_err(|_| format!("--limit {limit}: not a number"))?;
                options.limit = Some(number);
            }
            _ => {
                return Err(format!(
                    "unknown argument {arg}; known: --json FILE, --split, --quick, \
                     --history NAME, --limit N"
                ));
            }
        }
    }
    Ok(options)
}

/// Pool sizes that are compared.
fn pool_sizes(quick: bool) -> &'static [usize] {
    match quick {
        true => &[1_000, 100_000],
        false => &[1_000, 100_000, 1_000_000],
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("instructions: {message}");
            return ExitCode::from(2);
        }
    };
    let sizes = pool_sizes(options.quick);
    let result = match &options.worker {
        Some(name) => history::run_job(name, sizes).map(|()| true),
        None => run::all(sizes, options.history.as_deref())
            .and_then(|rows| report::publish(&rows, &options)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("instructions: {message}");
            ExitCode::FAILURE
        }
    }
}
