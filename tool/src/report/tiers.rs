//! Plots of `bench --tiers`: effective ratios, times, memory over a long run.

use compcache_bench::tiers::{LongResult, TierStore, TiersResult};
use plotters::style::RGBColor;

use super::latency::Row;
use super::style::{
    Anchor, Area, FAINT_INK, GRID, HIGHLIGHT, INK, OTHERS, OURS, SECOND, Scale, WIDTH, canvas,
    filled, heading, line, text, tick_below,
};

/// The tiered store's name in the results.
const TIERED: &str = "tiered";

/// What each setting's plot may promise: the ratio of LZ4 alone, times this.
const AIMS: [(&str, f64); 2] = [("cold80", 1.45), ("cold95", 1.6)];

const TOP: i32 = 116;
const ROW: i32 = 34;
const NAMES: i32 = 116;
/// Space at the right of a panel for the bars' values.
const VALUES: i32 = 120;

/// A panel for each setting, a bar for each store.
pub(super) fn ratios(result: &TiersResult) -> Result<String, String> {
    let settings = result.settings();
    let rows = settings.map(|(_, setting)| setting.stores.len());
    let rows = rows.into_iter().max().unwrap_or(0) as i32;
    let bottom = TOP + ROW * rows;
    let stores = settings.iter().flat_map(|(_, setting)| &setting.stores);
    let longest = stores
        .map(|store| store.effective_ratio)
        .fold(1.0, f64::max);
    let aims = AIMS.iter().zip(&settings);
    let longest = aims
        .map(|((_, aim), (_, setting))| aim * setting.lz4_effective_ratio)
        .fold(longest, f64::max);
    let width = (WIDTH - NAMES - 24) / 2;
    canvas(bottom + 66, |area| {
        heading(
            area,
            "Pages for each byte of memory",
            "bytes of pages held, divided by all memory: pages taken, tables, workspaces; longer is better",
        )?;
        names(area, &settings[0].1.stores)?;
        for (nth, ((name, setting), (_, aim))) in settings.iter().zip(AIMS).enumerate() {
            let left = NAMES + width * nth as i32;
            let scale = Scale::linear((0.0, longest), (left, left + width - VALUES));
            let title = (left, TOP - 22);
            text(area, title, Anchor::Left, 16, INK, true, name)?;
            axis(area, &scale, bottom)?;
            for (nth, store) in setting.stores.iter().enumerate() {
                let label = format!(
                    "{:.2}  ({:.2}×)",
                    store.effective_ratio,
                    store.effective_ratio / setting.lz4_effective_ratio
                );
                let top = TOP + ROW * nth as i32;
                let end = scale.pixel(store.effective_ratio).max(left + 1);
                bar(area, (left, end), top, store.name == TIERED)?;
                let (ours, at) = (
                    store.name == TIERED,
                    (left + width - VALUES + 16, top + ROW / 2),
                );
                let ink = if ours { OURS } else { INK };
                text(area, at, Anchor::Left, 13, ink, ours, &label)?;
            }
            let x = scale.pixel(aim * setting.lz4_effective_ratio);
            line(area, &[(x, TOP - 4), (x, bottom + 4)], SECOND, 2)?;
            let (at, label) = ((x, bottom + 40), format!("aim: {aim}× lz4"));
            text(area, at, Anchor::Centre, 12, SECOND, false, &label)?;
            line(area, &[(left, TOP - 4), (left, bottom + 4)], INK, 2)?;
        }
        Ok(())
    })
}

fn names(area: &Area<'_>, stores: &[TierStore]) -> Result<(), String> {
    for (nth, store) in stores.iter().enumerate() {
        let (top, ours) = (TOP + ROW * nth as i32, store.name == TIERED);
        if ours {
            filled(area, (16, top), (WIDTH - 12, top + ROW), HIGHLIGHT)?;
        }
        let colour = if ours { OURS } else { INK };
        let at = (NAMES - 12, top + ROW / 2);
        text(area, at, Anchor::Right, 15, colour, ours, &store.name)?;
    }
    Ok(())
}

fn axis(area: &Area<'_>, scale: &Scale, bottom: i32) -> Result<(), String> {
    for tick in scale.ticks_about(4) {
        let x = scale.pixel(tick);
        line(area, &[(x, TOP - 4), (x, bottom + 4)], GRID, 1)?;
        let (at, label) = ((x, bottom + 18), format!("{tick:.0}"));
        text(area, at, Anchor::Centre, 12, FAINT_INK, false, &label)?;
    }
    Ok(())
}

fn bar(area: &Area<'_>, (left, end): (i32, i32), top: i32, ours: bool) -> Result<(), String> {
    let fill = if ours { OURS } else { OTHERS };
    filled(area, (left, top + 8), (end, top + ROW - 8), fill)
}

/// Rows for the plot of times: of each setting and operation, all stores.
pub(super) fn rows(result: &TiersResult) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, setting) in result.settings() {
        for (at, operation) in ["hot get", "cold get", "any get", "put"].iter().enumerate() {
            for store in &setting.stores {
                let times = [
                    store.hot_get_ns,
                    store.cold_get_ns,
                    store.get_ns,
                    store.put_ns,
                ];
                rows.push(Row {
                    label: format!("{name} {operation}: {}", store.name),
                    latency: times[at],
                    ours: store.name == TIERED,
                });
            }
        }
    }
    rows
}

const LONG_TOP: i32 = 100;
const LONG_BOTTOM: i32 = 380;
const LONG_LEFT: i32 = 84;
const LONG_RIGHT: i32 = WIDTH - 120;
/// What memory for each compressed byte is to stay under.
const USED_AIM: f64 = 1.05;

/// Lines of memory for each compressed byte over logical hours.
pub(super) fn long(result: &LongResult) -> Result<String, String> {
    let all = || result.stores.iter().flat_map(|store| &store.samples);
    let highest = all()
        .map(|sample| sample.used_per_compressed)
        .fold(USED_AIM, f64::max);
    let end = all().map(|sample| sample.hours).fold(0.0, f64::max);
    let values = Scale::linear(
        (1.0, highest + (highest - 1.0) * 0.12),
        (LONG_BOTTOM, LONG_TOP),
    );
    let hours = Scale::linear((0.0, end.max(0.001)), (LONG_LEFT, LONG_RIGHT));
    canvas(LONG_BOTTOM + 66, |area| {
        heading(
            area,
            "Memory for each compressed byte, over time",
            "pages taken divided by compressed bytes, the most since the point before; the hot set moves each hour; lower is better",
        )?;
        for tick in values.ticks() {
            let y = values.pixel(tick);
            line(area, &[(LONG_LEFT, y), (LONG_RIGHT, y)], GRID, 1)?;
            let (at, label) = ((LONG_LEFT - 8, y), format!("{tick:.2}"));
            text(area, at, Anchor::Right, 12, FAINT_INK, false, &label)?;
        }
        for tick in hours.ticks_about(8) {
            let x = hours.pixel(tick);
            let label = if end < 4.0 {
                format!("{tick:.2}")
            } else {
                format!("{tick:.0}")
            };
            tick_below(area, (x, LONG_BOTTOM), &label)?;
        }
        let below = ((LONG_LEFT + LONG_RIGHT) / 2, LONG_BOTTOM + 44);
        let axis = "logical hours (4.2 million operations each)";
        text(area, below, Anchor::Centre, 13, FAINT_INK, false, axis)?;
        line(
            area,
            &[(LONG_LEFT, LONG_BOTTOM), (LONG_RIGHT, LONG_BOTTOM)],
            INK,
            1,
        )?;
        let y = values.pixel(USED_AIM);
        line(area, &[(LONG_LEFT, y), (LONG_RIGHT, y)], SECOND, 2)?;
        let mut ends = vec![(y, "aim: 1.05", SECOND)];
        for store in &result.stores {
            let colour: RGBColor = if store.name == TIERED { OURS } else { OTHERS };
            let path: Vec<(i32, i32)> = store
                .samples
                .iter()
                .map(|sample| {
                    (
                        hours.pixel(sample.hours),
                        values.pixel(sample.used_per_compressed),
                    )
                })
                .collect();
            line(area, &path, colour, 2)?;
            ends.extend(path.last().map(|end| (end.1, store.name.as_str(), colour)));
        }
        // Names beside the ends of their lines, pushed apart where lines end close together.
        ends.sort_by_key(|(y, ..)| *y);
        let mut free_from = i32::MIN;
        for (y, name, colour) in ends {
            let y = y.max(free_from);
            free_from = y + 16;
            let at = (LONG_RIGHT + 12, y);
            text(area, at, Anchor::Left, 13, colour, false, name)?;
        }
        Ok(())
    })
}
