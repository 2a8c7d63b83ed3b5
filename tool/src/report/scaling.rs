//! Memory and time of our allocator against the number of objects in the pool.

use compcache_bench::result::ScalingPoint;
use plotters::style::RGBColor;

use super::style::{
    Anchor, Area, FAINT_INK, GRID, INK, OURS, SECOND, Scale, WIDTH, canvas, dot, heading, line,
    text, tick_below,
};
use crate::units::{grouped, nanoseconds};

const TOP: i32 = 118;
const BOTTOM: i32 = 340;
/// Space at the right of a panel for the names of its lines.
const NAMES: i32 = 112;

/// A line of a panel.
struct Series {
    name: &'static str,
    colour: RGBColor,
    hollow: bool,
    value: fn(&ScalingPoint) -> f64,
}

/// Two panels: memory at the left, time at the right.
pub(super) fn plot(points: &[ScalingPoint]) -> Result<String, String> {
    let memory = [
        Series {
            name: "after churn",
            colour: SECOND,
            hollow: true,
            value: |point| point.churn_ratio,
        },
        Series {
            name: "after fill",
            colour: OURS,
            hollow: false,
            value: |point| point.fill_ratio,
        },
    ];
    let time = [
        Series {
            name: "alloc p99",
            colour: OURS,
            hollow: true,
            value: |point| point.alloc_ns.p99 as f64,
        },
        Series {
            name: "free p99",
            colour: SECOND,
            hollow: true,
            value: |point| point.free_ns.p99 as f64,
        },
        Series {
            name: "alloc mean",
            colour: OURS,
            hollow: false,
            value: |point| point.alloc_ns.mean,
        },
        Series {
            name: "free mean",
            colour: SECOND,
            hollow: false,
            value: |point| point.free_ns.mean,
        },
    ];
    canvas(BOTTOM + 66, |area| {
        heading(
            area,
            "Cost against pool size",
            "alloc_xv alone, pools from small to large, overwritten at random; copying of the payload excluded",
        )?;
        let middle = WIDTH / 2;
        panel(
            area,
            points,
            (72, middle - 20),
            "memory for each byte of payload",
            &memory,
            1.0,
            &|value| format!("{value:.3}"),
        )?;
        panel(
            area,
            points,
            (middle + 72, WIDTH - 20),
            "time of one operation",
            &time,
            0.0,
            &nanoseconds,
        )
    })
}

fn panel(
    area: &Area<'_>,
    points: &[ScalingPoint],
    (left, right): (i32, i32),
    title: &str,
    series: &[Series],
    floor: f64,
    label: &dyn Fn(f64) -> String,
) -> Result<(), String> {
    let right = right - NAMES;
    let highest = points
        .iter()
        .flat_map(|point| series.iter().map(|one| (one.value)(point)))
        .fold(floor + 0.01, f64::max);
    let values = Scale::linear((floor, highest + (highest - floor) * 0.08), (BOTTOM, TOP));
    let ends = points.iter().map(|point| point.objects as f64);
    let objects = Scale::logarithmic_between(
        (
            ends.clone().fold(f64::MAX, f64::min),
            ends.fold(1.0, f64::max),
        ),
        (left, right),
    );
    text(area, (left, TOP - 28), Anchor::Left, 15, INK, true, title)?;
    for tick in values.ticks() {
        let y = values.pixel(tick);
        line(area, &[(left, y), (right, y)], GRID, 1)?;
        text(
            area,
            (left - 8, y),
            Anchor::Right,
            12,
            FAINT_INK,
            false,
            &label(tick),
        )?;
    }
    line(area, &[(left, BOTTOM), (right, BOTTOM)], INK, 1)?;
    for point in points {
        let x = objects.pixel(point.objects as f64);
        tick_below(area, (x, BOTTOM), &grouped(point.objects))?;
    }
    text(
        area,
        ((left + right) / 2, BOTTOM + 44),
        Anchor::Centre,
        13,
        FAINT_INK,
        false,
        "live objects (log scale)",
    )?;

    let mut names: Vec<(i32, &Series)> = Vec::new();
    for one in series {
        let path: Vec<(i32, i32)> = points
            .iter()
            .map(|point| {
                (
                    objects.pixel(point.objects as f64),
                    values.pixel((one.value)(point)),
                )
            })
            .collect();
        line(area, &path, one.colour, 2)?;
        for at in &path {
            dot(area, *at, 4, one.colour, one.hollow)?;
        }
        names.extend(path.last().map(|end| (end.1, one)));
    }
    // Names beside the ends of their lines, pushed apart where lines end close together.
    names.sort_by_key(|(y, _)| *y);
    let mut free_from = i32::MIN;
    for (y, one) in names {
        let y = y.max(free_from);
        free_from = y + 16;
        text(
            area,
            (right + 12, y),
            Anchor::Left,
            13,
            one.colour,
            false,
            one.name,
        )?;
    }
    Ok(())
}
