//! The command line.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand};
use compcache_bench::tiers::Tiered;
use compress::AnyCodec;

use crate::config::ConfigArgs;
use crate::control::ControlArgs;
use crate::ctl::CtlArgs;
use crate::daemon::DaemonArgs;
#[cfg(feature = "docs")]
use crate::docs::{DOCS_COMMAND, DocsArgs};
use crate::pages::generate::CHILD_COMMAND;
#[cfg(any(feature = "fuse", feature = "ublk"))]
use crate::swap::{SWAPOFF_COMMAND, SwapArgs};
use crate::tiers::TierArgs;
#[cfg(feature = "top")]
use crate::top::TopArgs;
use crate::units::parse_size;

/// Measures what keeping memory compressed costs and saves.
#[derive(Parser)]
#[command(
    name = "compcache",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  compcache bench --quick                   compare all allocators on a small built-in heap
  compcache analyze --pid 4242              what would compressing this process's memory save?
  compcache capture --pid 4242 -o app.pages keep its pages for later
  compcache bench --pages app.pages --report out
  compcache serve --size 4G --nbd unix:/run/disk.sock
  compcache ctl                             what is served, in zramctl's columns
  compcache top                             and what it does, live

Exit status: 0 when all went well, 2 for a wrong command line, 1 for everything else."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Bench(BenchArgs),
    Analyze(AnalyzeArgs),
    Capture(CaptureArgs),
    Generate(GenerateArgs),
    Report(ReportArgs),
    Serve(Box<ServeArgs>),
    #[cfg(any(feature = "fuse", feature = "ublk"))]
    Swap(Box<SwapArgs>),
    Ctl(CtlArgs),
    #[cfg(feature = "top")]
    Top(TopArgs),
    /// Manual pages and shell completions, into a directory.
    #[cfg(feature = "docs")]
    #[command(name = DOCS_COMMAND, hide = true)]
    GenerateDocs(DocsArgs),
    #[cfg(any(feature = "fuse", feature = "ublk"))]
    /// The process that takes a swap area away: the kernel kills it first if memory runs out.
    #[command(name = SWAPOFF_COMMAND, hide = true)]
    Swapoff {
        device: PathBuf,
    },
    /// The process that builds the default pages.
    #[command(name = CHILD_COMMAND, hide = true)]
    BuildHeap {
        seed: u64,
        pages: usize,
    },
}

/// Compare the cache and its allocator with others on real pages.
///
/// Compresses the pages, stores them, reads them back verified, and takes the memory and the time of every step; then
/// runs the same object sizes through eight allocators: filling, random overwriting, discarding, compacting, draining.
/// Without --pages or --pid the pages come from a process that the command builds itself, the same for the same --seed.
///
/// With --tiers the tiered store is compared instead, with LZ4 alone and zstd level 1 alone, by an access pattern.
#[derive(Args)]
#[command(after_help = "\
Examples:
  compcache bench                                    the default pages: 240 MiB, about a minute
  compcache bench --quick --json result.json         a small run, for a script
  compcache bench --codec lz4,zstd:1,zstd:3 --threads 2
  compcache bench --pid 4242 --report out            then open out/index.html
  compcache bench --pages a.pages b.pages --json - | jq '.allocators[0]'
  compcache bench --tiers --pages app.pages --report out
  compcache bench --tiers --long --json day.json     memory over 24 hours' worth of operations

The pattern of --tiers. Pages 0 to n are put in order. Runs of 1 to 64 neighbouring pages, chosen at random, are hot until
20 % (cold80) or 5 % (cold95) of the pages are. For some logical minutes (60, with --quick 30) each hot page is read three
times a minute; then all background work is done. What follows is measured: of 1000 operations 800 are gets, 150 overwrites, 25
discards and 25 puts of what was discarded 64 steps before. Of 100 gets, 99 are of hot pages by Zipf's law (exponent 1), one is of
a random cold page. An overwrite exchanges the contents of two hot pages, so that every page is stored exactly once. 1157
operations are a logical second, 10^8 are 24 hours; after each second the stores do their background work. All stores do the
same operations in the same order, taking turns, and every get is compared. Also measured: a second copy of the pages with 5 % of
the 64-byte blocks changed in a third of them, pages without any copy, and half of the needed memory with a backing file.")]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) from: PagesArgs,
    /// Codec: lz4, zstd, zstd:LEVEL (-5 to 19) or raw; repeat it or separate by commas
    #[arg(
        long = "codec",
        value_name = "CODEC",
        value_delimiter = ',',
        default_value = "lz4",
        allow_hyphen_values = true
    )]
    pub(crate) codecs: Vec<AnyCodec>,
    /// Threads that use the cache at once
    #[arg(long, value_name = "N", allow_hyphen_values = true, default_value = "1", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) threads: usize,
    /// Seed of the built-in pages and of the order of operations
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Memory of the built-in process, such as 64M [default: 240M, with --quick 32M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with_all = ["pages", "pid"])]
    pub(crate) size: Option<usize>,
    /// Fewer pages and fewer rounds: seconds instead of a minute
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) json: JsonArg,
    /// Give the kernel's zram the same pages, for comparison: sets up /dev/zram0 and resets it (root)
    #[arg(long)]
    pub(crate) zram: bool,
    /// Write a page with plots into this directory: index.html and SVG files
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Compare the tiered store with LZ4 alone and zstd level 1 alone, by the access pattern below
    #[arg(long, conflicts_with_all = ["codecs", "threads", "zram"])]
    pub(crate) tiers: bool,
    /// With --tiers: codec for cold pages, lz4hc, zstd or zstd:LEVEL [default: zstd:14]
    #[arg(
        long,
        value_name = "CODEC",
        requires = "tiers",
        allow_hyphen_values = true,
        value_parser = parse_dense
    )]
    pub(crate) recompress: Option<AnyCodec>,
    /// With --tiers: also a long run, memory over 10^8 operations
    #[arg(long, requires = "tiers")]
    pub(crate) long: bool,
    /// With --tiers: a long run of this many operations
    #[arg(long, value_name = "N", requires = "tiers", allow_hyphen_values = true, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub(crate) operations: Option<u64>,
    /// With --tiers: write back to this file, which must be new or empty, or block device, whose contents are lost [default: a temporary file]
    #[arg(long, value_name = "PATH", requires = "tiers")]
    pub(crate) backing: Option<PathBuf>,
}

/// What would compressing memory save?
///
/// Compresses every page of a process, or of files, with each codec, and estimates the memory this cache and a slab
/// allocator would take for the result. Reads only; the process keeps running.
#[derive(Args)]
#[command(group(ArgGroup::new("source").args(["pages", "pid"]).required(true)))]
#[command(after_help = "\
Examples:
  compcache analyze --pid $(pidof postgres | cut -d' ' -f1)
  compcache analyze --pages app.pages --codec lz4,zstd:1,zstd:9
  compcache analyze --pid 4242 --json - | jq '.codecs[0].ratio'")]
pub(crate) struct AnalyzeArgs {
    #[command(flatten)]
    pub(crate) from: PagesArgs,
    /// Codec: lz4, zstd, zstd:LEVEL (-5 to 19) or raw; repeat it or separate by commas
    #[arg(
        long = "codec",
        value_name = "CODEC",
        value_delimiter = ',',
        default_value = "lz4,zstd:1,zstd:3",
        allow_hyphen_values = true
    )]
    pub(crate) codecs: Vec<AnyCodec>,
    #[command(flatten)]
    pub(crate) json: JsonArg,
}

/// Save the anonymous memory of a process as raw pages.
///
/// Takes the pages that are in memory and belong to no file: heap, stacks, private mappings. The process keeps
/// running, so the pages are those of no single moment. They hold what the process holds, passwords included: the
/// file is readable by you alone. It appears when it is complete, and not before.
#[derive(Args)]
#[command(after_help = "\
Examples:
  compcache capture --pid 4242 -o app.pages
  compcache capture --pid 4242 -o app.pages --force --max-pages 65536")]
pub(crate) struct CaptureArgs {
    /// The process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) pid: i32,
    /// Stop after this many 4096-byte pages [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_pages: Option<u64>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Save the built-in default pages, for use with other programs.
///
/// The pages of a process that the command builds itself: trees, maps, text, JSON, numbers, bitmaps, machine code,
/// some zero and some incompressible pages. The same seed and size give the same bytes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  compcache generate -o default.pages
  compcache generate --seed 7 --size 64M -o seven.pages")]
pub(crate) struct GenerateArgs {
    /// Seed of the pages
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How much, such as 64M
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "240M")]
    pub(crate) size: usize,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Draw the report of an earlier `bench --json`.
#[derive(Args)]
#[command(after_help = "\
Example:
  compcache bench --json result.json && compcache report result.json out")]
pub(crate) struct ReportArgs {
    /// What `bench --json` wrote
    #[arg(value_name = "RESULT.json")]
    pub(crate) result: PathBuf,
    /// Directory for index.html and the SVG files
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// Serve a compressed block device until SIGTERM or SIGINT.
///
/// The device is empty at first and lives in this process's memory: what is on it is gone when the server stops. Several
/// front ends may serve the same device. Where it is meant for swap, run it as root, so that its memory can be locked.
#[derive(Args)]
#[command(group(ArgGroup::new("frontend").args(FRONTENDS.iter().copied()).required(true).multiple(true)))]
#[command(after_help = "\
Examples:
  compcache serve --size 4G --nbd unix:/run/disk.sock
  compcache serve --size 4G --codec zstd --mem-limit 1G --nbd tcp:127.0.0.1:10809 --export scratch
  compcache serve --config /etc/systemd/zram-generator.conf --nbd unix:/run/disk.sock
  compcache serve --size 8G --mem-limit 1G --backing /var/tmp --backing-size 4G --nbd unix:/run/disk.sock
  compcache serve --size 4G --recompress lz4hc,zstd:15 --idle-time 5m --nbd unix:/run/disk.sock
  compcache serve --size 4G --fuse /mnt/disk --loop      a file, and /dev/loopN
  compcache serve --size 4G --nbd unix:/run/disk.sock --daemon --pid-file /run/disk.pid
  kill $(cat /run/disk.pid)                              and stopped again
  compcache serve --size 4G --vhost-user /run/vm.sock    a disk for a virtual machine:
  qemu-system-x86_64 -m 1G -object memory-backend-memfd,id=mem,size=1G,share=on -numa node,memdev=mem \
    -chardev socket,id=c,path=/run/vm.sock -device vhost-user-blk-pci,chardev=c ...
  nbdinfo 'nbd+unix:///?socket=/run/disk.sock'           what a client sees

A socket is readable by its owner only; change its mode to let others in. TCP is neither encrypted nor protected.")]
pub(crate) struct ServeArgs {
    /// Size of the device, such as 4G; rounded up to 4096 bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_size, required_unless_present = "config")]
    pub(crate) size: Option<usize>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Codec of new pages: lz4, lz4hc, zstd, zstd:LEVEL (-5 to 19) or raw [default: lz4]
    #[arg(long, value_name = "CODEC", allow_hyphen_values = true)]
    pub(crate) codec: Option<AnyCodec>,
    /// The most memory for pages, such as 1G; writes that need more, after all is done to make room, fail with
    /// ENOSPC [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) mem_limit: Option<usize>,
    /// Serve NBD at unix:PATH or tcp:HOST:PORT; may be repeated
    #[cfg(feature = "nbd")]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) nbd: Vec<compcache_nbd::Address>,
    /// Name of the NBD export; the empty name leads to it as well
    #[cfg(feature = "nbd")]
    #[arg(long, value_name = "NAME", default_value = "", requires = "nbd")]
    pub(crate) export: String,
    /// NBD clients at once; more are refused
    #[cfg(feature = "nbd")]
    #[arg(long, value_name = "N", default_value = "128", requires = "nbd", value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    pub(crate) connections: usize,
    /// Serve /dev/ublkbN, by the kernel's ublk driver (root, Linux 6.0 and newer)
    #[cfg(feature = "ublk")]
    #[arg(long)]
    pub(crate) ublk: bool,
    /// Serve the file `disk` in this directory (FUSE)
    #[cfg(feature = "fuse")]
    #[arg(long, value_name = "DIR")]
    pub(crate) fuse: Option<PathBuf>,
    /// With --fuse: a loop device over the file (root)
    #[cfg(feature = "fuse")]
    #[arg(long = "loop", requires = "fuse", conflicts_with = "read_only")]
    pub(crate) loop_device: bool,
    /// Serve a disk for a virtual machine (vhost-user-blk) at this socket; may be repeated, one machine each
    #[cfg(feature = "vhost-user")]
    #[arg(long, value_name = "PATH")]
    pub(crate) vhost_user: Vec<PathBuf>,
    /// Refuse writes
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Lock the server's memory, so that it is never swapped out itself
    #[arg(long, value_enum, default_value_t = Mlock::Auto)]
    pub(crate) mlock: Mlock,
    #[command(flatten)]
    pub(crate) oom: OomArg,
    /// Tell systemd when the device is ready (Type=notify)
    #[arg(long)]
    pub(crate) notify: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args)]
pub(crate) struct OomArg {
    /// How soon the kernel kills this process when memory runs out, -1000 (never) to 1000
    #[arg(long, value_name = "N", default_value = "-1000", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub(crate) oom_score_adj: i32,
}

/// What every command that serves a device takes.
#[derive(Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    #[command(flatten)]
    pub(crate) control: ControlArgs,
    #[command(flatten)]
    pub(crate) tiers: TierArgs,
}

/// The arguments that name a front end.
const FRONTENDS: &[&str] = &[
    #[cfg(feature = "nbd")]
    "nbd",
    #[cfg(feature = "fuse")]
    "fuse",
    #[cfg(feature = "ublk")]
    "ublk",
    #[cfg(feature = "vhost-user")]
    "vhost_user",
];

/// Whether memory is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mlock {
    /// If it is permitted, with a note otherwise
    Auto,
    /// Or else fail
    Required,
    /// Leave it unlocked
    Off,
}

/// Where pages come from.
#[derive(Args)]
pub(crate) struct PagesArgs {
    /// Raw 4096-byte pages, as `capture` writes them; several files are taken one after the other
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "pid")]
    pub(crate) pages: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) pid: OptionalPid,
}

#[derive(Args)]
pub(crate) struct OptionalPid {
    /// Take the anonymous resident memory of this process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) pid: Option<i32>,
    /// With --pid: hold at most this many 4096-byte pages [default: 262144, 1 GiB]
    #[arg(long, value_name = "N", requires = "pid", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_pages: Option<u64>,
}

#[derive(Args)]
pub(crate) struct JsonArg {
    /// Write the result as JSON; `-` is standard output, and then no tables
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct OutputArgs {
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Reads the command line; the error is what to print, and whether it is an answer to `--help` or
/// `--version` rather than a mistake.
pub(crate) fn parse() -> Result<Cli, (clap::Error, bool)> {
    Cli::try_parse().map_err(|error| {
        let answer = matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        );
        (error, answer)
    })
}

/// A usage error in one line, with the next step; `subcommand` is the first argument, if there is one.
pub(crate) fn one_line(error: &clap::Error, subcommand: Option<&str>) -> String {
    let text = error.to_string();
    let parts: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_start_matches("error: "))
        .collect();
    // A list of missing arguments goes on in the same sentence, a tip starts another.
    let sentence = parts.join(" ").replace(" tip:", "; tip:");
    let known = subcommand.filter(|name| Cli::command().find_subcommand(name).is_some());
    match known {
        Some(name) => format!("{sentence}; try 'compcache {name} --help'"),
        None => format!("{sentence}; try 'compcache --help'"),
    }
}

/// A codec for cold pages.
fn parse_dense(text: &str) -> Result<AnyCodec, String> {
    let codec: AnyCodec = text.parse().map_err(|error| format!("{error}"))?;
    match Tiered::ladder(Some(codec)) {
        Ok(_) => Ok(codec),
        Err(_) => Err(format!(
            "expected lz4hc, zstd or zstd:LEVEL, which are denser than lz4, got {codec}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn codecs_may_be_repeated_or_separated_by_commas() {
        let cli = Cli::try_parse_from([
            "compcache",
            "bench",
            "--codec",
            "raw,lz4",
            "--codec",
            "zstd:-3",
        ])
        .unwrap();
        let Command::Bench(args) = cli.command else {
            panic!("not bench")
        };
        let names: Vec<String> = args.codecs.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["raw", "lz4", "zstd:-3"]);
    }

    #[test]
    fn usage_errors_are_one_line_and_name_the_next_step() {
        for (arguments, part) in [
            (vec!["bench", "--threads", "0"], "0 is not in 1..=1024"),
            (vec!["bench", "--codec", "gzip"], "gzip"),
            (vec!["bench", "--size", "5X"], "such as 64M"),
            (vec!["bench", "--pid", "0"], "--pid"),
            (
                vec!["bench", "--pid", "1", "--pages", "x"],
                "cannot be used with",
            ),
            (vec!["bench", "--max-pages", "5"], "--pid"),
            (vec!["bench", "--long"], "--tiers"),
            (vec!["bench", "--recompress", "zstd"], "--tiers"),
            (vec!["bench", "--tiers", "--recompress", "lz4"], "denser"),
            (vec!["bench", "--tiers", "--recompress", "gzip"], "gzip"),
            (vec!["bench", "--operations", "5"], "--tiers"),
            (vec!["bench", "--tiers", "--operations", "0"], "1..="),
            (vec!["bench", "--backing", "x"], "--tiers"),
            (
                vec!["bench", "--tiers", "--codec", "raw"],
                "cannot be used with",
            ),
            (
                vec!["bench", "--tiers", "--threads", "2"],
                "cannot be used with",
            ),
            (vec!["analyze"], "--pages"),
            (vec!["capture", "--pid", "1"], "--output"),
            (vec!["benhc"], "benhc"),
        ] {
            let error = Cli::try_parse_from([&["compcache"], arguments.as_slice()].concat())
                .err()
                .unwrap();
            assert_eq!(error.exit_code(), 2);
            let line = one_line(&error, arguments.first().copied());
            assert!(
                !line.contains('\n') && line.contains(part) && line.contains("--help'"),
                "{line}"
            );
        }
    }
}
