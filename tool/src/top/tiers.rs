//! What became of cold pages, what is done to them and why, in words.

use super::sample::Device;
use crate::control::Tiers;
use crate::units;

/// Columns of the narrowest terminal that shows everything.
const WIDTH: usize = 80;
/// Lines for each of the three: more would be taken from what stands below.
const LINES: usize = 2;

/// Nothing for a device that does nothing to them.
pub(super) fn lines(device: &Device) -> Vec<String> {
    let (now, before) = (&device.now.tiers, device.tiers_before());
    if !now.are_on() {
        return Vec::new();
    }
    let activity = activity(now, before, device.now.mem_limit);
    let all = [
        ("pages", forms(now)),
        ("policy", rule(now)),
        ("now", activity),
    ];
    let lines = all.into_iter();
    lines
        .flat_map(|(name, parts)| wrapped(name, &parts))
        .collect()
}

/// Parts behind a name, as many on a line as go into it; what does not go into two is left out.
fn wrapped(name: &str, parts: &[String]) -> Vec<String> {
    let mut lines = vec![format!("{name:<8}")];
    for (nth, part) in parts.iter().enumerate() {
        let comma = if nth + 1 < parts.len() { ", " } else { "" };
        let line = lines.last().map_or(0, |line| line.chars().count());
        let len = line + part.chars().count() + comma.trim_end().len();
        if len > WIDTH && line > 8 {
            lines.push(" ".repeat(8));
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(part);
            line.push_str(comma);
        }
    }
    lines.truncate(LINES);
    lines
}

/// `12 345 alone, 6 789 in 500 clusters, 345 same (67 patches), 1.2 GiB written back`
fn forms(tiers: &Tiers) -> Vec<String> {
    let mut parts = vec![format!("{} alone", short(tiers.own_pages))];
    if tiers.cluster_pages > 0 {
        let (pages, clusters) = (tiers.cluster_pages, tiers.clusters + tiers.backed_clusters);
        parts.push(format!("{} in {} clusters", short(pages), short(clusters)));
    }
    if tiers.shared_pages > 0 {
        let patches = match tiers.patches {
            0 => String::new(),
            patches => format!(" ({} patches)", short(patches)),
        };
        parts.push(format!("{} same{patches}", short(tiers.shared_pages)));
    }
    if tiers.backing_dev.is_some() {
        parts.push(format!("{} written back", units::bytes(tiers.backed_bytes)));
    }
    parts
}

/// `after 1 min: zstd:6 with neighbours, same pages once, similar as patches`
fn rule(tiers: &Tiers) -> Vec<String> {
    let codec = |rung: u64| {
        let nth = usize::try_from(rung).ok()?.checked_sub(1)?;
        tiers.recompress.get(nth)
    };
    let time = |turns: u64| seconds(tiers.turn_ms * turns);
    let mut parts = Vec::new();
    if let Some(codec) = codec(tiers.cool_rung) {
        parts.push(format!("after {}: {codec}", time(1)));
    }
    if let Some(codec) = codec(tiers.cold_rung) {
        let neighbours = if tiers.clusters_on {
            " with neighbours"
        } else {
            ""
        };
        parts.push(format!(
            "after {}: {codec}{neighbours}",
            time(tiers.cold_age)
        ));
        if tiers.dictionary_bytes > 0 {
            let bytes = units::bytes(tiers.dictionary_bytes);
            parts.push(format!("with a dictionary of {bytes}"));
        }
    }
    if tiers.same_on {
        parts.push("same pages once".to_owned());
        if tiers.patches_on {
            parts.push("similar as patches".to_owned());
        }
    }
    if parts.is_empty() {
        parts.push("pages stay as they are written".to_owned());
    }
    if tiers.backing_dev.is_some() {
        parts.push("oldest to the store when memory is short".to_owned());
    }
    parts
}

/// What was done between two looks, and why.
fn activity(now: &Tiers, before: &Tiers, limit: u64) -> Vec<String> {
    let since = |count: fn(&Tiers) -> u64| count(now).saturating_sub(count(before));
    let mut parts = Vec::new();
    let mut say = |count: u64, text: &str| {
        if count > 0 {
            parts.push(format!("{} {text}", short(count)));
        }
    };
    say(since(|tiers| tiers.squeezed), "writes waited for memory");
    say(since(|tiers| tiers.written_back), "records written back");
    say(since(|tiers| tiers.read_back), "read back");
    say(since(|tiers| tiers.recompressed), "cold pages made denser");
    say(
        since(|tiers| tiers.clustered),
        "put together with neighbours",
    );
    say(since(|tiers| tiers.deduplicated), "found twice");
    say(since(|tiers| tiers.patched), "made patches");
    say(since(|tiers| tiers.promoted), "used again");
    if since(|tiers| tiers.backing_errors) + since(|tiers| tiers.write_errors) > 0 {
        parts.insert(0, "the backing store fails".to_owned());
    } else if now.writeback_limit == Some(0) {
        parts.push("writeback_limit is used up".to_owned());
    }
    if parts.is_empty() {
        let full = limit > 0 && now.mem_used_total + limit / 16 >= limit;
        parts.push(match (full, now.backing_dev.is_some()) {
            (true, true) => "nothing: memory is nearly full, and all is done that helps".to_owned(),
            (true, false) => "nothing: memory is nearly full, and there is no store".to_owned(),
            (false, _) => "nothing: no page is cold that could be denser".to_owned(),
        });
    }
    parts
}

fn seconds(ms: u64) -> String {
    match ms {
        ms if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms => format!("{} s", ms as f64 / 1000.0),
    }
}

fn short(count: u64) -> String {
    match count {
        0..100_000 => units::grouped(count),
        100_000..10_000_000 => format!("{}k", units::grouped(count / 1000)),
        _ => format!("{}M", units::grouped(count / 1_000_000)),
    }
}
