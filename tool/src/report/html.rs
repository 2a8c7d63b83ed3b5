//! The page around the plots.

use compcache_bench::result::{AllocatorResult, BenchResult, PhaseResult, TiersResult};

use super::Figure;
use super::style::OUR_NAME;
use crate::tables::ratio;
use crate::units::{bytes, grouped, nanoseconds, percent};

/// Plain type on white or on black, as the reader's system is set; the plots stay on white.
const STYLE: &str = "
:root{--ground:#fff;--ink:#22262b;--faint:#5c646e;--rule:#e3e6ea;--ours:#0072b2;--tint:#e6f1f8}
@media(prefers-color-scheme:dark){:root{--ground:#16191d;--ink:#e4e7eb;--faint:#a2abb5;--rule:#333a42;--ours:#6cb9ea;--tint:#1b2c38}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:1088px;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}
h1{font-size:1.7rem;margin:0 0 .25rem}h2{font-size:1.2rem;margin:2.5rem 0 .75rem}
p{margin:.25rem 0;color:var(--faint)}
.figures{display:flex;flex-wrap:wrap;gap:1rem;margin:1.5rem 0}
.figures div{flex:1 1 200px;border:1px solid var(--rule);border-radius:8px;padding:.75rem 1rem}
.figures b{display:block;font-size:1.6rem;color:var(--ours);font-variant-numeric:tabular-nums}
.figures span{color:var(--faint);font-size:.9rem}
figure{margin:1.5rem 0;background:#fff;border:1px solid var(--rule);border-radius:8px;overflow:hidden}
figure svg{display:block;width:100%;height:auto}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{text-align:right;padding:.35rem .6rem;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--faint);font-weight:600}th:first-child,td:first-child{text-align:left}
tr.ours td{background:var(--tint);font-weight:600}
";

/// The whole page.
pub(super) fn page(result: &BenchResult, figures: &[Figure]) -> String {
    let pages = &result.pages;
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>compcache bench</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>compcache bench</h1>\n\
         <p>{}: {} pages, {}; same-filled {}, duplicate {}</p>\n",
        escape(&pages.source),
        grouped(pages.count),
        bytes(pages.count * 4096),
        percent(pages.same_filled, pages.count),
        percent(pages.duplicates, pages.count),
    );
    html.push_str(&summary(result));
    for figure in figures {
        html.push_str(&format!(
            "<figure id=\"{}\" role=\"img\" aria-label=\"{}\">\n{}</figure>\n",
            figure.name,
            escape(figure.description),
            figure.svg
        ));
    }
    if !result.cache.is_empty() {
        html.push_str(&cache_table(result));
    }
    html.push_str(&memory_table(&result.allocators));
    if let Some(tiers) = &result.tiers {
        html.push_str(&tiers_tables(tiers));
    }
    html.push_str("</body>\n</html>\n");
    html
}

/// The few figures that answer the first question.
fn summary(result: &BenchResult) -> String {
    let mut boxes = Vec::new();
    if let Some(run) = result.cache.first() {
        let memory = (run.mem_used_total + run.beside_bytes).max(1);
        boxes.push((
            format!("{:.2}×", run.orig_data_size as f64 / memory as f64),
            format!("pages to memory used, {}", run.codec),
        ));
        boxes.push((
            nanoseconds(run.put_ns.mean),
            format!("mean put, {}", run.codec),
        ));
        boxes.push((
            nanoseconds(run.get_ns.mean),
            format!("mean get, {}", run.codec),
        ));
    }
    let churned = |name: &str| {
        let found = result.allocators.iter().find(|one| one.name == name)?;
        ratio(found.phases.iter().find(|phase| phase.phase == "churn")?)
    };
    if let (Some(ours), Some(slab)) = (churned(OUR_NAME), churned("slab")) {
        boxes.push((
            format!("{ours:.3}"),
            format!("memory per payload byte after churn; slab {slab:.3}"),
        ));
    }
    if let Some(tiers) = &result.tiers {
        for (name, setting) in tiers.settings() {
            boxes.push((
                format!("{:.2}×", setting.effective_ratio),
                format!(
                    "pages to memory, tiered, {name}: {:.2} times lz4's",
                    setting.effective_ratio_vs_lz4
                ),
            ));
        }
    }
    let boxes: Vec<String> = boxes
        .iter()
        .map(|(value, what)| {
            format!(
                "<div><b>{}</b><span>{}</span></div>",
                escape(value),
                escape(what)
            )
        })
        .collect();
    format!("<div class=\"figures\">{}</div>\n", boxes.join(""))
}

fn cache_table(result: &BenchResult) -> String {
    let header = [
        "codec",
        "threads",
        "pages",
        "compressed",
        "memory used",
        "metadata",
        "put pages/s",
        "get pages/s",
        "wrong",
    ];
    let mut rows: Vec<(bool, Vec<String>)> = Vec::new();
    for run in &result.cache {
        rows.push((
            false,
            vec![
                run.codec.clone(),
                run.threads.to_string(),
                bytes(run.orig_data_size),
                bytes(run.compr_data_size),
                bytes(run.mem_used_total),
                bytes(run.metadata_bytes),
                grouped(run.put_pages_per_s as u64),
                grouped(run.get_pages_per_s as u64),
                grouped(run.mismatches),
            ],
        ));
    }
    let mut html = table("Page cache", &header, &rows);
    if let Some(zram) = &result.zram {
        html.push_str(&format!(
            "<p>The kernel's zram ({}, {}): {} and a slot table of {} for the same pages.</p>\n",
            escape(&zram.kernel),
            escape(&zram.codec),
            bytes(zram.mem_used_total),
            bytes(zram.slot_table_bytes)
        ));
    }
    html
}

fn memory_table(allocators: &[AllocatorResult]) -> String {
    let Some(first) = allocators.first() else {
        return String::new();
    };
    let phases = first.phases.iter().map(|phase| phase.phase.as_str());
    let header: Vec<&str> = ["allocator"].into_iter().chain(phases).collect();
    let footprint = |phase: &PhaseResult| match ratio(phase) {
        Some(ratio) => format!("{} ({ratio:.3})", bytes(phase.footprint_bytes)),
        None => bytes(phase.footprint_bytes),
    };
    let rows: Vec<(bool, Vec<String>)> = allocators
        .iter()
        .map(|one| {
            let cells = [one.name.clone()]
                .into_iter()
                .chain(one.phases.iter().map(footprint))
                .collect();
            (one.name == OUR_NAME, cells)
        })
        .collect();
    table(
        "Memory of the allocators, and for each byte of payload",
        &header,
        &rows,
    )
}

fn tiers_tables(tiers: &TiersResult) -> String {
    let header = [
        "store",
        "pages",
        "memory",
        "ratio",
        "mean get",
        "p50 hot get",
        "mean put",
        "CPU",
        "recompressed",
        "clusters",
        "duplicates",
        "patches",
        "wrong",
    ];
    let codecs = escape(&tiers.codecs);
    let mut html = String::new();
    if !codecs.is_empty() {
        html = format!("<p>Codec of new pages and of cold ones: {codecs}.</p>\n");
    }
    for (name, setting) in tiers.settings() {
        let rows: Vec<(bool, Vec<String>)> = setting
            .stores
            .iter()
            .map(|store| {
                let counters = &store.counters;
                let cells = vec![
                    store.name.clone(),
                    grouped(store.memory.pages_held),
                    bytes(store.memory.total_bytes()),
                    format!("{:.3}", store.effective_ratio),
                    nanoseconds(store.get_ns.mean),
                    nanoseconds(store.hot_get_ns.p50 as f64),
                    nanoseconds(store.put_ns.mean),
                    format!("{:.2} s", store.cpu_s),
                    grouped(counters.recompressed),
                    grouped(counters.clusters),
                    grouped(counters.duplicates),
                    grouped(counters.patches),
                    grouped(store.mismatches),
                ];
                (store.name == "tiered", cells)
            })
            .collect();
        html.push_str(&table(&format!("Tiers, {name}"), &header, &rows));
    }
    let copies = &tiers.copies;
    html.push_str(&format!(
            "<h2>Tiers, copies</h2>\n<p>A second copy of {} pages, a third of them changed: {}, {:.3} of what lz4 takes for it. \
             On {} unrelated pages the search for copies takes {:.3} times the time of puts and {:.4} times the memory.</p>\n",
            grouped(copies.pages),
            bytes(copies.second_copy_bytes),
            copies.second_copy_vs_lz4,
            grouped(copies.unrelated.pages),
            copies.unrelated.put_on_vs_off,
            copies.unrelated.memory_on_vs_off,
        ));
    let back = &tiers.writeback;
    html.push_str(&format!(
            "<h2>Tiers, writeback</h2>\n<p>{} pages in {}, where {} are needed: {} in the file for {} of compressed bytes ({:.4}). \
             Of {} gets {} failed and {} were wrong; {} of {} runs of text are in the file.</p>\n",
            grouped(back.pages_held),
            bytes(back.mem_limit),
            bytes(back.needed_bytes),
            bytes(back.file_bytes),
            bytes(back.compressed_bytes),
            back.file_per_compressed,
            grouped(back.gets),
            grouped(back.unreadable),
            grouped(back.mismatches),
            grouped(back.text_runs_found),
            grouped(back.text_runs),
        ));
    html
}

fn table(title: &str, header: &[&str], rows: &[(bool, Vec<String>)]) -> String {
    let cells = |tag: &str, texts: &[String]| -> String {
        texts
            .iter()
            .map(|text| format!("<{tag}>{}</{tag}>", escape(text)))
            .collect()
    };
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let body: String = rows
        .iter()
        .map(|(ours, texts)| {
            let class = if *ours { " class=\"ours\"" } else { "" };
            format!("<tr{class}>{}</tr>\n", cells("td", texts))
        })
        .collect();
    format!(
        "<h2>{}</h2>\n<div class=\"scroll\"><table>\n<tr>{}</tr>\n{body}</table></div>\n",
        escape(title),
        cells("th", &header)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
