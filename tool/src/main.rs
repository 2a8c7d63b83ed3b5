//! The compcache command: measures what keeping memory compressed costs and saves.
//!
//! | module | what it does |
//! |---|---|
//! | `cli` | the command line, and its errors in one line |
//! | `pages` | where pages come from: files, a live process, a process built from a seed |
//! | `heap` | the inside of that process |
//! | `bench`, `analyze`, `capture` | the subcommands |
//! | `serve` | the subcommand that serves a device: front ends, signals, status line |
//! | `control`, `ctl`, `top`, `metrics` | what is served, seen and changed from outside |
//! | `tiers` | what cold pages become: arguments of what serves a device |
//! | `daemon` | the server in the background, its pid file |
//! | `listen` | the threads of control socket and metrics |
//! | `config` | configuration files of zram-generator |
//! | `docs` | manual pages and shell completions |
//! | `harness` | the way to the benchmark library |
//! | `tables`, `report` | results for people: text, HTML with plots |
//! | `output`, `progress`, `units` | files that appear whole, progress, sizes and times |
//!
//! Errors are text, one line each with the next step: nothing here reacts to them but the user.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the compcache command reads /proc and needs 64-bit Linux; the library does not");

mod analyze;
mod bench;
mod capture;
mod cli;
mod config;
mod control;
mod ctl;
mod daemon;
#[cfg(feature = "docs")]
mod docs;
mod harness;
mod heap;
mod listen;
mod metrics;
mod output;
mod pages;
mod progress;
mod report;
mod serve;
#[cfg(any(feature = "fuse", feature = "ublk"))]
mod swap;
mod tables;
mod tiers;
#[cfg(feature = "top")]
mod top;
mod units;

use std::io::Write;
use std::process::ExitCode;

use cli::Command;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err((error, answer)) => return answer_or_usage(&error, answer),
    };
    let result = match cli.command {
        Command::Bench(args) => bench::run(&args),
        Command::Analyze(args) => analyze::run(&args),
        Command::Capture(args) => capture::run(&args),
        Command::Generate(args) => capture::run_generate(&args),
        Command::Report(args) => bench::run_report(&args),
        Command::Serve(args) => serve::run(&args),
        #[cfg(any(feature = "fuse", feature = "ublk"))]
        Command::Swap(args) => swap::run(&args),
        #[cfg(any(feature = "fuse", feature = "ublk"))]
        Command::Swapoff { device } => swap::run_swapoff(&device),
        Command::Ctl(args) => ctl::run(&args),
        #[cfg(feature = "top")]
        Command::Top(args) => top::run(&args),
        #[cfg(feature = "docs")]
        Command::GenerateDocs(args) => docs::run(&args),
        Command::BuildHeap { seed, pages } => heap::run_child(seed, pages),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            let _ = writeln!(std::io::stderr(), "compcache: {text}");
            ExitCode::FAILURE
        }
    }
}

fn answer_or_usage(error: &clap::Error, answer: bool) -> ExitCode {
    if answer {
        // `--help | head` closes the pipe early; that is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
    } else {
        // Not `args`, which panics where an argument is no text.
        let first = std::env::args_os()
            .nth(1)
            .and_then(|argument| argument.into_string().ok());
        let line = cli::one_line(error, first.as_deref());
        let _ = writeln!(std::io::stderr(), "compcache: {line}");
    }
    ExitCode::from(2)
}
