//! Columns: zramctl's, under its names.

use std::str::FromStr;

use super::{Mounts, human};
use crate::control::Status;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    Disksize,
    Data,
    Compr,
    Algorithm,
    Streams,
    ZeroPages,
    Total,
    MemLimit,
    MemUsed,
    Migrated,
    CompRatio,
    Mountpoint,
}

/// Name and meaning, in the order of `--output-all`.
pub(crate) const COLUMNS: [(Column, &str, &str); 13] = [
    (Column::Name, "NAME", "name of the device"),
    (
        Column::Disksize,
        "DISKSIZE",
        "limit on the uncompressed amount of data",
    ),
    (Column::Data, "DATA", "uncompressed size of stored data"),
    (Column::Compr, "COMPR", "compressed size of stored data"),
    (
        Column::Algorithm,
        "ALGORITHM",
        "the selected compression algorithm",
    ),
    (
        Column::Streams,
        "STREAMS",
        "number of concurrent compress operations",
    ),
    (
        Column::ZeroPages,
        "ZERO-PAGES",
        "pages of one repeated word, with no allocated memory",
    ),
    (
        Column::Total,
        "TOTAL",
        "all memory including allocator fragmentation and metadata overhead",
    ),
    (
        Column::MemLimit,
        "MEM-LIMIT",
        "memory limit used to store compressed data",
    ),
    (
        Column::MemUsed,
        "MEM-USED",
        "the most memory ever taken to store compressed data",
    ),
    (
        Column::Migrated,
        "MIGRATED",
        "pages given back by compaction",
    ),
    (
        Column::CompRatio,
        "COMP-RATIO",
        "compression ratio: DATA/TOTAL",
    ),
    (
        Column::Mountpoint,
        "MOUNTPOINT",
        "where the device is mounted",
    ),
];

/// What is shown without `--output`.
pub(crate) const DEFAULT: [Column; 8] = [
    Column::Name,
    Column::Algorithm,
    Column::Disksize,
    Column::Data,
    Column::Compr,
    Column::Total,
    Column::Streams,
    Column::Mountpoint,
];

impl Column {
    pub(crate) fn heading(self) -> &'static str {
        COLUMNS
            .iter()
            .find(|row| row.0 == self)
            .map_or("", |row| row.1)
    }

    /// Numbers stand to the right.
    pub(crate) fn is_right(self) -> bool {
        !matches!(self, Self::Name | Self::Algorithm | Self::Mountpoint)
    }

    /// A cell; sizes in bytes, or as people read them.
    pub(crate) fn text(self, status: &Status, bytes: bool, mounts: &Mounts) -> String {
        match (self.cell(status, mounts), bytes) {
            (Cell::Size(size), false) => human::size(size),
            (Cell::Size(number) | Cell::Number(number), _) => number.to_string(),
            (Cell::Ratio(ratio), _) => format!("{ratio:.4}"),
            (Cell::Text(text), _) => text,
            (Cell::Nothing, _) => String::new(),
        }
    }

    pub(crate) fn json(self, status: &Status, mounts: &Mounts) -> serde_json::Value {
        match self.cell(status, mounts) {
            Cell::Size(number) | Cell::Number(number) => number.into(),
            Cell::Ratio(ratio) => ((ratio * 1e4).round() / 1e4).into(),
            Cell::Text(text) => text.into(),
            Cell::Nothing => serde_json::Value::Null,
        }
    }

    fn cell(self, status: &Status, mounts: &Mounts) -> Cell {
        match self {
            Self::Name => Cell::Text(status.name.clone()),
            Self::Disksize => Cell::Size(status.disksize),
            Self::Data => Cell::Size(status.orig_data_size),
            Self::Compr => Cell::Size(status.compr_data_size),
            Self::Algorithm => Cell::Text(status.algorithm.clone()),
            Self::Streams => Cell::Number(status.streams),
            Self::ZeroPages => Cell::Number(status.same_pages),
            Self::Total => Cell::Size(status.mem_used_total),
            Self::MemLimit => Cell::Size(status.mem_limit),
            Self::MemUsed => Cell::Size(status.mem_used_max),
            Self::Migrated => Cell::Number(status.pages_compacted),
            Self::CompRatio => match status.mem_used_total {
                0 => Cell::Nothing,
                total => Cell::Ratio(status.orig_data_size as f64 / total as f64),
            },
            Self::Mountpoint => {
                let place = mounts.of(&status.places);
                place.map_or(Cell::Nothing, |place| Cell::Text(place.to_owned()))
            }
        }
    }
}

enum Cell {
    Text(String),
    Size(u64),
    Number(u64),
    Ratio(f64),
    Nothing,
}

impl FromStr for Column {
    type Err = String;

    /// In letters of either case, as zramctl takes them.
    fn from_str(text: &str) -> Result<Self, String> {
        let found = COLUMNS.iter().find(|row| row.1.eq_ignore_ascii_case(text));
        found.map(|row| row.0).ok_or_else(|| {
            let names: Vec<&str> = COLUMNS.iter().map(|row| row.1).collect();
            format!("unknown column; expected some of {}", names.join(","))
        })
    }
}
