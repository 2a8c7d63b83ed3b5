//! Percentiles of times: a row an operation, a mark a percentile, on a logarithmic scale.

use compcache_bench::result::Latency;

use super::style::{
    Anchor, FAINT_INK, GRID, HIGHLIGHT, INK, OTHERS, OURS, Scale, WIDTH, canvas, dot, filled,
    heading, line, text,
};
use crate::units::nanoseconds;

const TOP: i32 = 112;
const ROW: i32 = 26;
const LEFT: i32 = 250;
const RIGHT: i32 = WIDTH - 40;

/// One row of the plot.
pub(super) struct Row {
    /// What was timed, and how.
    pub(super) label: String,
    pub(super) latency: Latency,
    /// Drawn in our colour, on a tinted ground.
    pub(super) ours: bool,
}

/// Rows of marks at p50, p99, p99.9 and the maximum.
pub(super) fn plot(title: &str, subtitle: &str, rows: &[Row]) -> Result<String, String> {
    let timed: Vec<&Row> = rows.iter().filter(|row| row.latency.max > 0).collect();
    let low = timed.iter().map(|row| row.latency.p50).min().unwrap_or(1);
    let high = timed
        .iter()
        .map(|row| row.latency.max)
        .max()
        .unwrap_or(1000);
    let scale = Scale::logarithmic((low as f64, high as f64), (LEFT, RIGHT));
    let bottom = TOP + ROW * timed.len() as i32;
    canvas(bottom + 60, |area| {
        heading(area, title, subtitle)?;
        legend(area)?;
        for (nth, row) in timed.iter().enumerate().filter(|(_, row)| row.ours) {
            let top = TOP + ROW * nth as i32;
            filled(area, (16, top), (WIDTH - 12, top + ROW), HIGHLIGHT)?;
            text(
                area,
                (LEFT - 20, top + ROW / 2),
                Anchor::Right,
                13,
                OURS,
                true,
                &row.label,
            )?;
        }
        for tick in scale.ticks() {
            let x = scale.pixel(tick);
            line(area, &[(x, TOP - 4), (x, bottom + 4)], GRID, 1)?;
            text(
                area,
                (x, bottom + 18),
                Anchor::Centre,
                12,
                FAINT_INK,
                false,
                &nanoseconds(tick),
            )?;
        }
        for (nth, row) in timed.iter().enumerate() {
            let y = TOP + ROW * nth as i32 + ROW / 2;
            if !row.ours {
                text(
                    area,
                    (LEFT - 20, y),
                    Anchor::Right,
                    13,
                    INK,
                    false,
                    &row.label,
                )?;
            }
            marks(area, &scale, y, row)?;
        }
        text(
            area,
            ((LEFT + RIGHT) / 2, bottom + 42),
            Anchor::Centre,
            13,
            FAINT_INK,
            false,
            "time of one operation (log scale)",
        )
    })
}

fn marks(area: &super::style::Area<'_>, scale: &Scale, y: i32, row: &Row) -> Result<(), String> {
    let colour = if row.ours { OURS } else { OTHERS };
    let at = |value: u64| (scale.pixel(value as f64), y);
    let latency = &row.latency;
    line(area, &[at(latency.p50), at(latency.max)], colour, 2)?;
    tick(area, at(latency.max), colour)?;
    dot(area, at(latency.p999), 3, colour, false)?;
    dot(area, at(latency.p99), 5, colour, true)?;
    dot(area, at(latency.p50), 6, colour, false)
}

fn tick(
    area: &super::style::Area<'_>,
    at: (i32, i32),
    colour: plotters::style::RGBColor,
) -> Result<(), String> {
    line(area, &[(at.0, at.1 - 6), (at.0, at.1 + 6)], colour, 2)
}

fn legend(area: &super::style::Area<'_>) -> Result<(), String> {
    let y = TOP - 26;
    for (nth, name) in ["p50", "p99", "p99.9", "maximum"].iter().enumerate() {
        let x = LEFT + 8 + 90 * nth as i32;
        match nth {
            0 => dot(area, (x, y), 6, FAINT_INK, false)?,
            1 => dot(area, (x, y), 5, FAINT_INK, true)?,
            2 => dot(area, (x, y), 3, FAINT_INK, false)?,
            _ => tick(area, (x, y), FAINT_INK)?,
        }
        text(area, (x + 12, y), Anchor::Left, 12, FAINT_INK, false, name)?;
    }
    Ok(())
}
