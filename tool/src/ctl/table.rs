//! Tables as util-linux draws them.

use serde_json::{Map, Value};

use super::Mounts;
use super::columns::Column;
use crate::control::Status;

/// Columns as wide as their widest cell, a space between; no space ends a line.
pub(crate) fn aligned(columns: &[Column], rows: &[Vec<String>], headings: bool) -> String {
    let heads: Vec<String> = columns
        .iter()
        .map(|column| column.heading().to_owned())
        .collect();
    let lines: Vec<&Vec<String>> = headings.then_some(&heads).into_iter().chain(rows).collect();
    let width = |nth: usize| {
        let cells = lines.iter().filter_map(|line| line.get(nth));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = columns
            .iter()
            .zip(&widths)
            .zip(line)
            .map(|((column, &width), cell)| match column.is_right() {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
        let joined = cells.collect::<Vec<_>>().join(" ");
        text.push_str(joined.trim_end());
        text.push('\n');
    }
    text
}

/// A space between cells; spaces within them as `\x20`.
pub(crate) fn raw(columns: &[Column], rows: &[Vec<String>], headings: bool) -> String {
    let heads: Vec<String> = columns
        .iter()
        .map(|column| column.heading().to_owned())
        .collect();
    let lines = headings.then_some(&heads).into_iter().chain(rows);
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().map(|cell| escape(cell)).collect();
        text.push_str(&cells.join(" "));
        text.push('\n');
    }
    text
}

fn escape(cell: &str) -> String {
    let escaped = cell.chars().map(|c| match c {
        ' ' | '\\' | '\t' | '\n' => format!("\\x{:02x}", u32::from(c)),
        c => c.to_string(),
    });
    escaped.collect()
}

/// `{"compcache": [{"name": ...}]}`: keys are the headings in lower case, sizes are bytes.
///
/// # Errors
/// What serde says; no table makes it fail.
pub(crate) fn json(
    columns: &[Column],
    devices: &[Status],
    mounts: &Mounts,
) -> Result<String, String> {
    let device = |status: &Status| {
        let cells = columns.iter().map(|column| {
            let key = column.heading().to_ascii_lowercase();
            (key, column.json(status, mounts))
        });
        Value::Object(cells.collect::<Map<_, _>>())
    };
    let devices: Vec<Value> = devices.iter().map(device).collect();
    let document = serde_json::json!({ "compcache": devices });
    serde_json::to_string_pretty(&document)
        .map(|text| text + "\n")
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::columns::{COLUMNS, DEFAULT};
    use super::*;

    fn devices() -> Vec<Status> {
        let status = Status {
            name: "compcache0".to_owned(),
            disksize: 4 << 30,
            algorithm: "lz4".to_owned(),
            streams: 2,
            places: vec!["ublk /dev/ublkb0".to_owned()],
            orig_data_size: 123_456_789,
            compr_data_size: 45_678_901,
            mem_used_total: 46_000_000,
            mem_limit: 1 << 30,
            mem_used_max: 50_000_000,
            same_pages: 1234,
            pages_compacted: 56,
            ..Status::default()
        };
        let empty = Status {
            name: "db".to_owned(),
            disksize: 1 << 20,
            algorithm: "zstd:3".to_owned(),
            streams: 2,
            ..Status::default()
        };
        vec![status, empty]
    }

    fn rows(columns: &[Column], bytes: bool) -> Vec<Vec<String>> {
        let mounts = Mounts(vec![("/dev/ublkb0".to_owned(), "[SWAP]".to_owned())]);
        let row = |status: &Status| {
            let cells = columns
                .iter()
                .map(|column| column.text(status, bytes, &mounts));
            cells.collect()
        };
        devices().iter().map(row).collect()
    }

    #[test]
    fn tables_look_like_zramctls() {
        let all = COLUMNS.map(|row| row.0);
        assert_eq!(
            aligned(&DEFAULT, &rows(&DEFAULT, false), true),
            "\
NAME       ALGORITHM DISKSIZE   DATA COMPR TOTAL STREAMS MOUNTPOINT
compcache0 lz4             4G 117.7M 43.6M 43.9M       2 [SWAP]
db         zstd:3          1M     0B    0B    0B       2
"
        );
        assert_eq!(
            aligned(&all, &rows(&all, false), true),
            "\
NAME       DISKSIZE   DATA COMPR ALGORITHM STREAMS ZERO-PAGES TOTAL MEM-LIMIT MEM-USED MIGRATED COMP-RATIO MOUNTPOINT
compcache0       4G 117.7M 43.6M lz4             2       1234 43.9M        1G    47.7M       56     2.6838 [SWAP]
db               1M     0B    0B zstd:3          2          0    0B        0B       0B        0
"
        );
        let two = [Column::Name, Column::Data];
        assert_eq!(
            aligned(&two, &rows(&two, true), false),
            "compcache0 123456789\ndb                 0\n"
        );
    }

    #[test]
    fn raw_cells_have_no_spaces() {
        let columns = [Column::Name, Column::Total];
        assert_eq!(
            raw(&columns, &rows(&columns, true), true),
            "NAME TOTAL\ncompcache0 46000000\ndb 0\n"
        );
        assert_eq!(escape("a b\\c"), "a\\x20b\\x5cc");
    }

    #[test]
    fn json_is_bytes_and_lower_case() {
        let mounts = Mounts::default();
        let columns = [
            Column::Name,
            Column::Total,
            Column::CompRatio,
            Column::Mountpoint,
        ];
        let text = json(&columns, &devices(), &mounts).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"compcache": [
                {"name": "compcache0", "total": 46_000_000, "comp-ratio": 2.6838, "mountpoint": null},
                {"name": "db", "total": 0, "comp-ratio": null, "mountpoint": null},
            ]})
        );
        assert_eq!(
            json(&columns, &[], &mounts).unwrap(),
            "{\n  \"compcache\": []\n}\n"
        );
    }
}
