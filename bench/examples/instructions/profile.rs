//! Reads callgrind's files.
//!
//! ```text
//! desc: Trigger: Client Request: slots random 0 1000 alloc 20000
//! fl=FILE  fn=FUNCTION            the lines below are instructions of this function
//! fi=FILE, fe=FILE                ... inlined from, and no longer inlined from, another file
//! LINE COUNT                      executed at this line of the file
//! cfn=FUNCTION                    the function that is called next
//! calls=...                       and the line below holds all that it and what it calls
//! LINE COUNT                      execute
//! ```

use crate::source::APART_NAME;
use crate::valgrind::TOGGLE_NAME;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Counts of one kind of operation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) face: String,
    pub(crate) history: String,
    pub(crate) inline_moves: u32,
    #[serde(rename = "live_objects")]
    pub(crate) live: usize,
    pub(crate) operation: String,
    /// Operations counted.
    pub(crate) operations: u64,
    /// Instructions an operation, copying of bytes excluded.
    pub(crate) mean: f64,
    /// The part of them in the page source.
    pub(crate) source_mean: f64,
    /// Instructions an operation of copying and clearing, not part of `mean`.
    pub(crate) copy_mean: f64,
    /// `mean` by the function of the source text that it stands in, inlined or not.
    pub(crate) by_function: BTreeMap<String, f64>,
}

/// One file's counts.
#[derive(Default)]
struct Counts {
    copied: u64,
    /// Of switching the counting on and off.
    toggling: u64,
    source: u64,
    by_line: HashMap<(String, u64), u64>,
}

/// Adds what is in `text`, if it is a dump with a label, to the row of that label.
pub(crate) fn add_dumps(rows: &mut Vec<Row>, text: &str) -> Result<(), String> {
    const LABEL: &str = "desc: Trigger: Client Request: ";
    let Some(label) = text.lines().find_map(|line| line.strip_prefix(LABEL)) else {
        return Ok(());
    };
    let words: Vec<&str> = label.split(' ').collect();
    let bad = || format!("unexpected label {label:?}");
    let [face, history, inline_moves, live, operation, operations] = words[..] else {
        return Err(bad());
    };
    let inline_moves = inline_moves.parse().map_err(|_| bad())?;
    let live = live.parse().map_err(|_| bad())?;
    let operations: u64 = operations.parse().map_err(|_| bad())?;
    let mut row = Row {
        face: face.into(),
        history: history.into(),
        inline_moves,
        live,
        operation: operation.into(),
        operations,
        mean: 0.0,
        source_mean: 0.0,
        copy_mean: 0.0,
        by_function: BTreeMap::new(),
    };
    let counts = counts(text);
    let mean = |count: u64| count as f64 / operations as f64;
    let counted: u64 = counts.by_line.values().sum();
    if Some(counted + counts.copied + counts.toggling) != total(text) {
        return Err(format!(
            "the counts of {label:?} do not add up to their total"
        ));
    }
    row.mean = mean(counted);
    row.source_mean = mean(counts.source);
    row.copy_mean = mean(counts.copied);
    let mut sources = Sources::default();
    for ((file, line), count) in counts.by_line {
        *row.by_function
            .entry(sources.function(&file, line))
            .or_default() += mean(count);
    }
    match rows
        .iter_mut()
        .find(|other| other.live == live && other.operation == operation)
    {
        Some(other) => other.merge(&row),
        None => rows.push(row),
    }
    Ok(())
}

impl Row {
    fn merge(&mut self, other: &Self) {
        let total = self.operations + other.operations;
        let join = |a: f64, b: f64| {
            (a * self.operations as f64 + b * other.operations as f64) / total as f64
        };
        self.mean = join(self.mean, other.mean);
        self.source_mean = join(self.source_mean, other.source_mean);
        self.copy_mean = join(self.copy_mean, other.copy_mean);
        for name in other.by_function.keys() {
            self.by_function.entry(name.clone()).or_default();
        }
        for (name, mean) in &mut self.by_function {
            *mean = join(*mean, other.by_function.get(name).copied().unwrap_or(0.0));
        }
        self.operations = total;
    }
}

/// Copies and clears bytes, whatever the C library calls its version for this processor.
fn is_copy(function: &str) -> bool {
    ["memcpy", "memmove", "memset"]
        .iter()
        .any(|name| function.contains(name))
}

/// The sum of all counts by callgrind's own account.
fn total(text: &str) -> Option<u64> {
    let totals = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?;
    totals.trim().parse().ok()
}

fn counts(text: &str) -> Counts {
    let mut counts = Counts::default();
    let (mut file, mut function, mut callee) = ("", "", "");
    let mut after_calls = false;
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            let (Some(Ok(at)), Some(Ok(count))) = (numbers.next(), numbers.next()) else {
                continue;
            };
            if core::mem::take(&mut after_calls) {
                if callee.contains(APART_NAME) {
                    counts.source += count;
                }
            } else if is_copy(function) {
                counts.copied += count;
            } else if function.contains(TOGGLE_NAME) {
                counts.toggling += count;
            } else {
                *counts.by_line.entry((file.to_owned(), at)).or_default() += count;
            }
            continue;
        };
        match key {
            "fl" | "fi" | "fe" => file = value,
            "fn" => function = value,
            "cfn" => callee = value,
            "calls" => after_calls = true,
            _ => {}
        }
    }
    counts
}

/// Source files, to find the function that a line stands in.
#[derive(Default)]
struct Sources {
    files: HashMap<String, Vec<String>>,
}

impl Sources {
    fn function(&mut self, file: &str, line: u64) -> String {
        let short = match file.rsplit_once("/src/") {
            Some((before, name)) => {
                let package = before.rsplit('/').next().unwrap_or_default();
                format!("{package}/{name}")
            }
            None => file.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let lines = self.files.entry(file.to_owned()).or_insert_with(|| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        });
        let end = lines.len().min(line as usize);
        let name = lines[..end].iter().rev().find_map(|line| fn_name(line));
        format!("{short} {}", name.unwrap_or_default())
    }
}

/// The name, if a line of source text begins a function.
fn fn_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if rest.starts_with("//") {
        return None;
    }
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}
