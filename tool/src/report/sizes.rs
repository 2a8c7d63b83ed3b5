//! The distribution of compressed sizes.

use super::style::{
    Anchor, FAINT_INK, GRID, INK, OURS, Scale, WIDTH, canvas, filled, heading, line, text,
    tick_below,
};

const TOP: i32 = 84;
const BOTTOM: i32 = 330;
const LEFT: i32 = 78;
/// Width of the result's buckets.
const BUCKET_BYTES: f64 = 64.0;

/// A histogram; the last bucket is of pages that did not shrink.
pub(super) fn plot(histogram: &[u64], subtitle: &str) -> Result<String, String> {
    let total = histogram.iter().sum::<u64>().max(1) as f64;
    let shares: Vec<f64> = histogram
        .iter()
        .map(|count| *count as f64 * 100.0 / total)
        .collect();
    let high = shares.iter().copied().fold(0.1, f64::max) * 1.05;
    let sizes = Scale::linear(
        (0.0, BUCKET_BYTES * histogram.len() as f64),
        (LEFT, WIDTH - 30),
    );
    let share = Scale::linear((0.0, high), (BOTTOM, TOP));
    canvas(BOTTOM + 66, |area| {
        heading(area, "Compressed sizes", subtitle)?;
        for tick in share.ticks() {
            let y = share.pixel(tick);
            line(area, &[(LEFT, y), (WIDTH - 30, y)], GRID, 1)?;
            text(
                area,
                (LEFT - 10, y),
                Anchor::Right,
                12,
                FAINT_INK,
                false,
                &percent(tick),
            )?;
        }
        for (nth, value) in shares.iter().enumerate() {
            let (left, right) = (
                sizes.pixel(nth as f64 * BUCKET_BYTES),
                sizes.pixel((nth + 1) as f64 * BUCKET_BYTES),
            );
            if *value > 0.0 {
                filled(
                    area,
                    (left + 1, share.pixel(*value)),
                    (right - 1, BOTTOM),
                    OURS,
                )?;
            }
        }
        line(area, &[(LEFT, BOTTOM), (WIDTH - 30, BOTTOM)], INK, 1)?;
        for tick in (0..=4096)
            .step_by(512)
            .filter(|tick| f64::from(*tick) <= BUCKET_BYTES * histogram.len() as f64)
        {
            let x = sizes.pixel(f64::from(tick));
            tick_below(area, (x, BOTTOM), &tick.to_string())?;
        }
        let axis = "compressed size of a 4096-byte page (bytes); up: share of the compressed pages";
        text(
            area,
            (WIDTH / 2, BOTTOM + 44),
            Anchor::Centre,
            13,
            FAINT_INK,
            false,
            axis,
        )
    })
}

/// Without digits that say nothing.
fn percent(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0} %")
    } else {
        format!("{value:.1} %")
    }
}
