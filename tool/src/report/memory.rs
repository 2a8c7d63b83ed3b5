//! Memory of each allocator in each phase: a panel a phase, a bar an allocator.

use compcache_bench::result::AllocatorResult;

use super::style::{
    Anchor, FAINT_INK, GRID, HIGHLIGHT, INK, OTHERS, OUR_NAME, OURS, Scale, WIDTH, canvas, filled,
    heading, line, text,
};
use crate::tables::ratio;

const TOP: i32 = 118;
const ROW: i32 = 34;
const NAMES: i32 = 120;
/// Bars longer than this are cut, with an arrow: one wasteful engine must not flatten the rest.
const RATIO_MAX: f64 = 2.5;

/// Bars of footprint for each byte of payload, from 1.0, where memory would hold payload alone.
pub(super) fn plot(allocators: &[AllocatorResult]) -> Result<String, String> {
    // Phases with something to divide by: not the drained one.
    let first = allocators.first().ok_or("no allocators in the result")?;
    let phases: Vec<&str> = first
        .phases
        .iter()
        .filter(|phase| phase.payload_bytes > 0)
        .map(|phase| phase.phase.as_str())
        .collect();
    let largest = allocators
        .iter()
        .flat_map(|one| &one.phases)
        .filter_map(ratio)
        .fold(1.1, f64::max);
    let high = largest.min(RATIO_MAX);
    let bottom = TOP + ROW * allocators.len() as i32;
    let panel = (WIDTH - NAMES - 24) / phases.len().max(1) as i32;

    canvas(bottom + 64, |area| {
        heading(
            area,
            "Memory for each byte of payload",
            "pages and all metadata, divided by the bytes stored; 1.0 would be payload alone; shorter is better",
        )?;
        for (nth, allocator) in allocators.iter().enumerate() {
            let (top, ours) = (TOP + ROW * nth as i32, allocator.name == OUR_NAME);
            if ours {
                filled(area, (16, top), (WIDTH - 12, top + ROW), HIGHLIGHT)?;
            }
            let colour = if ours { OURS } else { INK };
            text(
                area,
                (NAMES - 12, top + ROW / 2),
                Anchor::Right,
                14,
                colour,
                ours,
                &allocator.name,
            )?;
        }
        for (nth, phase) in phases.iter().enumerate() {
            let left = NAMES + panel * nth as i32;
            // Room at the right for the value of the longest bar.
            let scale = Scale::linear((1.0, high), (left, left + panel - 62));
            text(area, (left, TOP - 24), Anchor::Left, 15, INK, true, phase)?;
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
                    &format!("{tick:.1}"),
                )?;
            }
            for (nth, allocator) in allocators.iter().enumerate() {
                let Some(value) = allocator
                    .phases
                    .iter()
                    .find(|one| one.phase == *phase)
                    .and_then(ratio)
                else {
                    continue;
                };
                let (top, ours) = (TOP + ROW * nth as i32 + 8, allocator.name == OUR_NAME);
                let (end, colour) = (scale.pixel(value), if ours { OURS } else { OTHERS });
                filled(
                    area,
                    (left, top),
                    (end.max(left + 1), top + ROW - 16),
                    colour,
                )?;
                let cut = if value > RATIO_MAX { "▸ " } else { "" };
                let label = format!("{cut}{value:.3}");
                text(
                    area,
                    (end + 6, top + (ROW - 16) / 2),
                    Anchor::Left,
                    12,
                    if ours { OURS } else { INK },
                    ours,
                    &label,
                )?;
            }
            line(area, &[(left, TOP - 4), (left, bottom + 4)], INK, 2)?;
        }
        text(
            area,
            (WIDTH / 2, bottom + 44),
            Anchor::Centre,
            13,
            FAINT_INK,
            false,
            "footprint / payload (bytes per byte)",
        )
    })
}
