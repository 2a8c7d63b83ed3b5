//! Memory of each allocator in each phase: a panel a phase, a bar an allocator.

use compcache_bench::result::{AllocatorResult, PhaseResult};

use super::style::{
    Anchor, Area, FAINT_INK, GRID, HIGHLIGHT, INK, OTHERS, OUR_NAME, OURS, Scale, WIDTH, canvas,
    filled, heading, line, text,
};
use crate::tables::ratio;
use crate::units::bytes;

const TOP: i32 = 128;
const ROW: i32 = 34;
const NAMES: i32 = 116;
/// Space at the right of a panel for the value of its longest bar.
const VALUES: i32 = 66;
/// Bars longer than this are cut, with an arrow: one wasteful engine must not flatten the rest.
const RATIO_MAX: f64 = 2.5;

/// What the bars of a panel are long by.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    /// Footprint for each byte of payload, from 1.0, where memory would hold payload alone.
    Ratio,
    /// What is kept of the memory that the filled allocator had; there is no payload to divide by.
    Kept,
}

/// A phase.
struct Panel<'a> {
    phase: &'a str,
    measure: Measure,
}

impl Panel<'_> {
    /// Length of an allocator's bar, and what is written beside it.
    fn bar(&self, allocator: &AllocatorResult) -> Option<(f64, String)> {
        let phase = allocator
            .phases
            .iter()
            .find(|one| one.phase == self.phase)?;
        match self.measure {
            Measure::Ratio => {
                let value = ratio(phase)?;
                let cut = if value > RATIO_MAX { "▸ " } else { "" };
                Some((value, format!("{cut}{value:.3}")))
            }
            Measure::Kept => {
                let filled = allocator.phases.first()?.footprint_bytes.max(1);
                let kept = phase.footprint_bytes;
                Some((kept as f64 / filled as f64, bytes(kept)))
            }
        }
    }

    /// The words above the panel.
    fn subtitle(&self) -> &'static str {
        match self.measure {
            Measure::Ratio => "bytes per byte",
            Measure::Kept => "still held, of fill",
        }
    }

    fn tick(&self, value: f64) -> String {
        match self.measure {
            Measure::Ratio => format!("{value:.1}"),
            Measure::Kept => format!("{:.0} %", value * 100.0),
        }
    }
}

/// Bars of memory for each byte of payload, and of what is kept where no payload is left.
pub(super) fn plot(allocators: &[AllocatorResult]) -> Result<String, String> {
    let first = allocators.first().ok_or("no allocators in the result")?;
    let panels: Vec<Panel<'_>> = first.phases.iter().map(panel).collect();
    let largest = allocators
        .iter()
        .flat_map(|one| &one.phases)
        .filter_map(ratio)
        .fold(1.1, f64::max);
    let bottom = TOP + ROW * allocators.len() as i32;
    let width = (WIDTH - NAMES - 24) / panels.len().max(1) as i32;

    canvas(bottom + 40, |area| {
        heading(
            area,
            "Memory for each byte of payload",
            "pages and all metadata, divided by the bytes stored; 1.0 would be payload alone; shorter is better",
        )?;
        names(area, allocators)?;
        for (nth, panel) in panels.iter().enumerate() {
            let left = NAMES + width * nth as i32;
            let ends = match panel.measure {
                Measure::Ratio => (1.0, largest.min(RATIO_MAX)),
                Measure::Kept => (0.0, 1.0),
            };
            let scale = Scale::linear(ends, (left, left + width - VALUES));
            axis(area, panel, &scale, left, bottom)?;
            for (nth, allocator) in allocators.iter().enumerate() {
                if let Some((value, label)) = panel.bar(allocator) {
                    let end = scale.pixel(value).max(left + 1);
                    let top = TOP + ROW * nth as i32;
                    bar(area, (left, end), top, &label, allocator.name == OUR_NAME)?;
                }
            }
            line(area, &[(left, TOP - 4), (left, bottom + 4)], INK, 2)?;
        }
        Ok(())
    })
}

fn panel(phase: &PhaseResult) -> Panel<'_> {
    let measure = if phase.payload_bytes > 0 {
        Measure::Ratio
    } else {
        Measure::Kept
    };
    Panel {
        phase: &phase.phase,
        measure,
    }
}

/// The allocators' names at the left; ours on a tinted ground.
fn names(area: &Area<'_>, allocators: &[AllocatorResult]) -> Result<(), String> {
    for (nth, allocator) in allocators.iter().enumerate() {
        let (top, ours) = (TOP + ROW * nth as i32, allocator.name == OUR_NAME);
        if ours {
            filled(area, (16, top), (WIDTH - 12, top + ROW), HIGHLIGHT)?;
        }
        let colour = if ours { OURS } else { INK };
        let at = (NAMES - 12, top + ROW / 2);
        text(area, at, Anchor::Right, 15, colour, ours, &allocator.name)?;
    }
    Ok(())
}

fn axis(
    area: &Area<'_>,
    panel: &Panel<'_>,
    scale: &Scale,
    left: i32,
    bottom: i32,
) -> Result<(), String> {
    let title = (left, TOP - 38);
    text(area, title, Anchor::Left, 16, INK, true, panel.phase)?;
    let below = (left, TOP - 18);
    let subtitle = panel.subtitle();
    text(area, below, Anchor::Left, 12, FAINT_INK, false, subtitle)?;
    for tick in scale.ticks_about(3) {
        let x = scale.pixel(tick);
        line(area, &[(x, TOP - 4), (x, bottom + 4)], GRID, 1)?;
        let (at, label) = ((x, bottom + 18), panel.tick(tick));
        text(area, at, Anchor::Centre, 12, FAINT_INK, false, &label)?;
    }
    Ok(())
}

fn bar(
    area: &Area<'_>,
    (left, end): (i32, i32),
    top: i32,
    label: &str,
    ours: bool,
) -> Result<(), String> {
    let (fill, ink) = if ours { (OURS, OURS) } else { (OTHERS, INK) };
    filled(area, (left, top + 8), (end, top + ROW - 8), fill)?;
    let at = (end + 6, top + ROW / 2);
    text(area, at, Anchor::Left, 13, ink, ours, label)
}
