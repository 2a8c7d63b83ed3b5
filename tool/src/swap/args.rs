//! The arguments of `swap`.

use clap::Args;
use compcache_sys::swap::PRIORITY_MAX;
use compress::AnyCodec;

use super::via::Choice;
use crate::cli::Mlock;
use crate::units::parse_size;

/// Swap to compressed memory until SIGTERM or SIGINT.
///
/// Makes a device, shows it to the kernel by the best way this kernel has, and swaps to it. A signal takes swap off
/// first, which brings everything back into memory; where memory does not suffice, it says so and goes on serving.
/// Killing it (SIGKILL) loses what was swapped out: the processes that own it are killed when they need it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  compcache swap --size 4G --dry-run           what would be done, and by which way
  compcache swap --size 4G                     swap, with priority 100
  compcache swap --size 8G --codec zstd --mem-limit 2G --priority 50
  swapon --show                                what the kernel makes of it")]
pub(crate) struct SwapArgs {
    /// Size of the swap area, such as 4G: what is swapped out, before compression
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) size: usize,
    /// Areas of higher priority are filled first; disks usually have a negative one
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u16).range(0..=i64::from(PRIORITY_MAX)))]
    pub(crate) priority: u16,
    /// Codec: lz4, zstd, zstd:LEVEL (-5 to 19) or raw
    #[arg(
        long,
        value_name = "CODEC",
        default_value = "lz4",
        allow_hyphen_values = true
    )]
    pub(crate) codec: AnyCodec,
    /// The most memory for pages, such as 1G; what does not fit stays where it is [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) mem_limit: Option<usize>,
    /// How the kernel reaches the device
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub(crate) via: Choice,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Lock the server's memory, so that it is never swapped out itself
    #[arg(long, value_enum, default_value_t = Mlock::Required)]
    pub(crate) mlock: Mlock,
    /// How soon the kernel kills this process when memory runs out, -1000 (never) to 1000
    #[arg(long, value_name = "N", default_value = "-1000", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub(crate) oom_score_adj: i32,
    /// Tell systemd when swap is on (Type=notify)
    #[arg(long)]
    pub(crate) notify: bool,
}
