//! The arguments of `swap`.

use clap::Args;
use compcache_device::PAGE_SIZE;
use compcache_sys::swap::PRIORITY_MAX;
use compress::AnyCodec;

use super::via::Choice;
use crate::cli::{Mlock, OomArg, ServerArgs};
use crate::config::{ConfigArgs, Section};
use crate::tiers::Tiers;
use crate::units::parse_size;

/// The priority where none is said: that of zram-generator.
const PRIORITY: u16 = 100;

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
  compcache swap --size 16G --mem-limit 2G --backing /dev/disk/by-partlabel/writeback
  compcache swap --size 4G --daemon --pid-file /run/swap.pid
  compcache swap --config /etc/systemd/zram-generator.conf
  swapon --show                                what the kernel makes of it")]
pub(crate) struct SwapArgs {
    /// Size of the swap area, such as 4G: what is swapped out, before compression
    #[arg(long, value_name = "SIZE", value_parser = parse_size, required_unless_present = "config")]
    size: Option<usize>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Areas of higher priority are filled first; disks usually have a negative one [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=i64::from(PRIORITY_MAX)))]
    priority: Option<u16>,
    /// Codec of new pages: lz4, lz4hc, zstd, zstd:LEVEL (-5 to 19) or raw [default: lz4]
    #[arg(long, value_name = "CODEC", allow_hyphen_values = true)]
    codec: Option<AnyCodec>,
    /// The most memory for pages, such as 1G; what does not fit stays where it is [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    mem_limit: Option<usize>,
    /// How the kernel reaches the device
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub(crate) via: Choice,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Lock the server's memory, so that it is never swapped out itself
    #[arg(long, value_enum, default_value_t = Mlock::Required)]
    pub(crate) mlock: Mlock,
    #[command(flatten)]
    pub(crate) oom: OomArg,
    /// Tell systemd when swap is on (Type=notify)
    #[arg(long)]
    pub(crate) notify: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// The swap area that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Area {
    /// Bytes: whole pages of the kernel's, for the area, and of the device's.
    pub(crate) size: u64,
    pub(crate) tiers: Tiers,
    /// Bytes; 0 for no limit.
    pub(crate) mem_limit: u64,
    pub(crate) priority: u16,
}

impl SwapArgs {
    /// What the command line says goes before what the section says.
    ///
    /// # Errors
    /// One line: a size that is too large, a priority that cannot be had.
    pub(crate) fn area(&self, section: Option<&Section>) -> Result<Area, String> {
        let page = (rustix::param::page_size() as u64).max(PAGE_SIZE);
        let size = self.size.map(|bytes| bytes as u64);
        let size = size.or(section.map(|section| section.size)).unwrap_or(0);
        let size = size
            .checked_next_multiple_of(page)
            .ok_or("the size is too large; name a smaller one")?;
        let limit = self.mem_limit.map(|bytes| bytes as u64);
        let lz4 = AnyCodec::Lz4(compress::Lz4);
        let priority = match (self.priority, section.map(|section| section.swap_priority)) {
            (Some(priority), _) => priority,
            (None, None) => PRIORITY,
            (None, Some(said)) => u16::try_from(said).map_err(|_| {
                format!("swap-priority = {said} is not supported; name one with --priority")
            })?,
        };
        Ok(Area {
            size,
            tiers: self.server.tiers.tiers(
                self.codec
                    .or(section.map(|section| section.codec))
                    .unwrap_or(lz4),
                section,
            )?,
            mem_limit: limit
                .or(section.map(|section| section.mem_limit))
                .unwrap_or(0),
            priority,
        })
    }
}
