//! Its part of the command line.

use std::str::FromStr;

use super::columns::{COLUMNS, Column, DEFAULT};
use crate::control::{Attribute, Value};

/// Show running devices, read and set their attributes: what zramctl is for zram.
///
/// Without a device, all of this user's are shown. An attribute has the name and the format of its file in
/// /sys/block/zram0: mm_stat, io_stat, debug_stat, disksize, comp_algorithm, max_comp_streams, initstate, mem_limit,
/// mem_used_max; compact and reset do something. A reset is refused while clients are connected.
#[derive(clap::Args)]
#[command(after_help = columns_help(), after_long_help = columns_help())]
pub(crate) struct CtlArgs {
    /// A device, as --name of 'compcache serve' or compcache0; or the path of a control socket
    #[arg(value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// An attribute to read, or ATTRIBUTE=VALUE to set it
    #[arg(value_name = "ATTRIBUTE[=VALUE]", conflicts_with_all = ["bytes", "noheadings", "output", "output_all", "raw", "json"])]
    pub(crate) what: Option<Do>,
    /// Print sizes in bytes rather than in human readable format
    #[arg(short, long)]
    pub(crate) bytes: bool,
    /// Don't print headings
    #[arg(short, long)]
    pub(crate) noheadings: bool,
    /// Columns to use for status output
    #[arg(short, long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) output: Vec<Column>,
    /// Output all columns
    #[arg(long, conflicts_with = "output")]
    pub(crate) output_all: bool,
    /// Use raw status output format
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Use JSON output format; sizes are bytes
    #[arg(short = 'J', long)]
    pub(crate) json: bool,
}

impl CtlArgs {
    pub(crate) fn columns(&self) -> Vec<Column> {
        match (self.output_all, self.output.is_empty()) {
            (true, _) => COLUMNS.map(|row| row.0).to_vec(),
            (_, true) => DEFAULT.to_vec(),
            (_, false) => self.output.clone(),
        }
    }
}

/// What is done with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Read(Attribute),
    Set(Attribute, Value),
}

impl FromStr for Do {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let attribute: Attribute = name.parse()?;
        let value: Value = match value {
            Some(value) => attribute.settable().and_then(|()| value.parse())?,
            None if attribute.acts() => Value(1),
            None => return Ok(Self::Read(attribute)),
        };
        attribute.check(value)?;
        Ok(Self::Set(attribute, value))
    }
}

fn columns_help() -> String {
    let mut text = "\
Examples:
  compcache ctl                                  all devices, as zramctl shows them
  compcache ctl --output-all --bytes
  compcache ctl --json | jq '.compcache[].total'
  compcache ctl compcache0 mm_stat               as /sys/block/zram0/mm_stat
  compcache ctl compcache0 mem_limit=1G
  compcache ctl compcache0 compact

Columns:
"
    .to_owned();
    for (_, name, help) in COLUMNS {
        text.push_str(&format!("  {name:<10}  {help}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_set_or_done() {
        let limit = Do::Set(Attribute::MemLimit, Value(1 << 30));
        for (text, what) in [
            ("mm_stat", Do::Read(Attribute::MmStat)),
            ("mem_limit", Do::Read(Attribute::MemLimit)),
            ("mem_limit=1G", limit),
            ("mem_limit=0", Do::Set(Attribute::MemLimit, Value(0))),
            ("mem_used_max=0", Do::Set(Attribute::MemUsedMax, Value(0))),
            ("compact", Do::Set(Attribute::Compact, Value(1))),
            ("reset=1", Do::Set(Attribute::Reset, Value(1))),
        ] {
            assert_eq!(text.parse(), Ok(what), "{text}");
        }
        for text in [
            "",
            "x",
            "bd_stat",
            "mem_limit=",
            "mem_limit=x",
            "mem_used_max=1",
            "mm_stat=0",
            "reset=0",
            "=1",
        ] {
            assert!(text.parse::<Do>().is_err(), "{text}");
        }
    }
}
