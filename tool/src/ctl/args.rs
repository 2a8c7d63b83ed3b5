//! Its part of the command line.

use std::str::FromStr;

use super::columns::{COLUMNS, Column, DEFAULT};
use crate::control::{Attribute, Change};

/// Show running devices, read and set their attributes: what zramctl is for zram.
///
/// Without a device, all of this user's are shown. An attribute has the name and the format of its file in
/// /sys/block/zram0: mm_stat, io_stat, debug_stat, disksize, comp_algorithm, max_comp_streams, initstate, mem_limit,
/// mem_used_max, recomp_algorithm, recompress, idle, writeback, writeback_limit, writeback_limit_enable, backing_dev,
/// bd_stat; compact and reset do something. A reset is refused while clients are connected. Beside zram's: tiers says in
/// which forms pages are and what was done, policy what is done by itself (it can be set, some or all of it), merge
/// keeps same and similar pages once, now. What takes long shows how far it is; Ctrl-C ends it, and what is done by
/// then stays done.
#[derive(clap::Args)]
#[command(after_help = columns_help(), after_long_help = columns_help())]
pub(crate) struct CtlArgs {
    /// A device, as --name of 'compcache serve' or compcache0; or the path of a control socket
    #[arg(value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// An attribute to read, or ATTRIBUTE=VALUE to set it; a value with spaces in quotes
    #[arg(value_name = "ATTRIBUTE[=VALUE]", conflicts_with_all = ["bytes", "noheadings", "output", "output_all", "raw"])]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Read(Attribute),
    /// The value as the server is told.
    Set(Attribute, String),
}

impl FromStr for Do {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let attribute: Attribute = name.parse()?;
        let value = match value {
            // The server may have another working directory.
            Some(path) if attribute == Attribute::BackingDev => absolute(path)?,
            Some(value) => value.to_owned(),
            None if attribute.acts() => "1".to_owned(),
            None if attribute.is_readable() => return Ok(Self::Read(attribute)),
            None => {
                let expected = Change::parse(attribute, "").err().unwrap_or_default();
                return Err(format!("{attribute}=VALUE: {expected}"));
            }
        };
        Change::parse(attribute, &value)?;
        Ok(Self::Set(attribute, value))
    }
}

/// A path, and perhaps more behind it, that begins with a slash.
fn absolute(text: &str) -> Result<String, String> {
    if text.is_empty() || text == "none" || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let path = std::path::absolute(text).map_err(|error| format!("{text}: {error}"))?;
    let path = path.into_os_string().into_string();
    path.map_err(|_| format!("{text}: in a directory whose name is no UTF-8"))
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
  compcache ctl compcache0 tiers --json
  compcache ctl compcache0 recompress='type=idle threshold=2000'
  compcache ctl compcache0 idle=all && compcache ctl compcache0 writeback=idle
  compcache ctl compcache0 policy='turn=60 same=0 patches=0'

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
        let set = |attribute, value: &str| Do::Set(attribute, value.to_owned());
        for (text, what) in [
            ("mm_stat", Do::Read(Attribute::MmStat)),
            ("mem_limit", Do::Read(Attribute::MemLimit)),
            ("mem_limit=1G", set(Attribute::MemLimit, "1G")),
            ("mem_limit=0", set(Attribute::MemLimit, "0")),
            ("mem_used_max=0", set(Attribute::MemUsedMax, "0")),
            ("compact", set(Attribute::Compact, "1")),
            ("reset=1", set(Attribute::Reset, "1")),
            ("merge", set(Attribute::Merge, "1")),
            ("bd_stat", Do::Read(Attribute::BdStat)),
            (
                "recompress=type=idle threshold=3",
                set(Attribute::Recompress, "type=idle threshold=3"),
            ),
            ("backing_dev=/x", set(Attribute::BackingDev, "/x")),
        ] {
            assert_eq!(text.parse(), Ok(what), "{text}");
        }
        let Ok(Do::Set(_, path)) = "backing_dev=a/b size=1G".parse() else {
            panic!("not set")
        };
        assert!(
            path.starts_with('/') && path.ends_with("a/b size=1G"),
            "{path}"
        );
        for text in [
            "",
            "x",
            "bd_state",
            "recompress",
            "writeback",
            "idle",
            "idle=",
            "backing_dev=none",
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
