//! The table, the verdict, and the JSON document.

use crate::Options;
use crate::profile::Row;
use serde::Serialize;

/// Instructions that an operation may take on average.
pub(crate) const INSTRUCTIONS_MAX: f64 = 300.0;
/// How far the largest of the means at different pool sizes may be from the smallest.
pub(crate) const SPREAD_MAX: f64 = 1.15;
/// Functions shown of each row.
const SPLIT_LINES: usize = 24;

/// The means of one face, history and operation at all pool sizes.
#[derive(Serialize)]
struct Verdict {
    face: String,
    history: String,
    inline_moves: u32,
    operation: String,
    mean_max: f64,
    /// Largest of the means over the smallest.
    spread: f64,
    /// Whether limits apply: not with compaction beside frees.
    judged: bool,
    passed: bool,
}

#[derive(Serialize)]
struct Document<'r> {
    version: u32,
    instructions_max: f64,
    spread_max: f64,
    passed: bool,
    verdicts: &'r [Verdict],
    rows: &'r [Row],
}

fn same_case(a: &Row, b: &Row) -> bool {
    (&a.face, &a.history, a.inline_moves, &a.operation)
        == (&b.face, &b.history, b.inline_moves, &b.operation)
}

fn verdict(rows: &[&Row], limit: f64) -> Verdict {
    let means = rows.iter().map(|row| row.mean);
    let mean_max = means.clone().fold(0.0, f64::max);
    let spread = mean_max / means.fold(f64::INFINITY, f64::min);
    let judged = rows[0].inline_moves == 0;
    Verdict {
        face: rows[0].face.clone(),
        history: rows[0].history.clone(),
        inline_moves: rows[0].inline_moves,
        operation: rows[0].operation.clone(),
        mean_max,
        spread,
        judged,
        passed: !judged || (mean_max <= limit && spread <= SPREAD_MAX),
    }
}

/// Prints the table, writes the document if that is asked for, and says whether all limits hold.
pub(crate) fn publish(rows: &[Row], options: &Options) -> Result<bool, String> {
    let limit = options.limit.unwrap_or(INSTRUCTIONS_MAX);
    let mut verdicts: Vec<Verdict> = Vec::new();
    println!("Mean instructions (in brackets: in the page source); copying of bytes not counted.");
    let mut heading_of = None;
    for (i, first) in rows.iter().enumerate() {
        if rows[..i].iter().any(|row| same_case(row, first)) {
            continue;
        }
        let case: Vec<&Row> = rows.iter().filter(|row| same_case(row, first)).collect();
        if heading_of != Some(first.inline_moves) {
            heading_of = Some(first.inline_moves);
            heading(first.inline_moves, &case);
        }
        let verdict = verdict(&case, limit);
        print!("{:6}{:14}{:6}", first.face, first.history, first.operation);
        for row in case {
            let source = format!("({:.1})", row.source_mean);
            print!("{:>9.1} {source:7}", row.mean);
        }
        let remark = if verdict.passed { "" } else { "  TOO MUCH" };
        println!("{:>8.3}{remark}", verdict.spread);
        verdicts.push(verdict);
    }
    if options.split {
        rows.iter().for_each(split);
    }
    let passed = verdicts.iter().all(|verdict| verdict.passed);
    println!(
        "\n{}: means of at most {limit} (target {INSTRUCTIONS_MAX}), and within {SPREAD_MAX} of each other at all \
         pool sizes",
        if passed { "holds" } else { "DOES NOT HOLD" }
    );
    if let Some(path) = &options.json {
        let document = Document {
            version: 1,
            instructions_max: limit,
            spread_max: SPREAD_MAX,
            passed,
            verdicts: &verdicts,
            rows,
        };
        let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(passed)
}

fn heading(inline_moves: u32, case: &[&Row]) {
    match inline_moves {
        0 => println!("\nCompaction left to its own thread:"),
        moves => println!("\nUp to {moves} object moved beside a free (not judged):"),
    }
    print!("{:26}", "");
    for row in case {
        print!("{:>9} {:7}", row.live, "objects");
    }
    println!("{:>8}", "spread");
}

/// Where the instructions of a row are, by function of the source text.
fn split(row: &Row) {
    println!(
        "\n{} {} {} at {} objects, inline moves {}: {:.1}, and {:.1} of copying",
        row.face, row.history, row.operation, row.live, row.inline_moves, row.mean, row.copy_mean
    );
    let mut functions: Vec<_> = row.by_function.iter().collect();
    functions.sort_by(|a, b| b.1.total_cmp(a.1));
    for (name, mean) in functions.into_iter().take(SPLIT_LINES) {
        println!("{mean:>9.1}  {name}");
    }
}
