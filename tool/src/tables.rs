//! Results as text tables.

mod tiers;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, Table};
use compcache_bench::result::{
    AllocatorResult, BenchResult, CacheResult, Latency, PagesInfo, PhaseResult,
};

use crate::analyze::Analysis;
use crate::units::{bytes, grouped, nanoseconds, percent};

/// Everything `compcache bench` found.
pub(crate) fn bench(result: &BenchResult) -> String {
    let mut text = pages(&result.pages);
    if !result.cache.is_empty() {
        text.push_str("\nPage cache: memory\n");
        text.push_str(&cache_memory(&result.cache));
        text.push_str("\nPage cache: time of one page\n");
        text.push_str(&cache_times(&result.cache));
    }
    if !result.allocators.is_empty() {
        text.push_str(
            "\nAllocators: bytes of memory, metadata included, for each byte of payload\n",
        );
        text.push_str(&footprints(&result.allocators));
        text.push_str("\nAllocators: time of one operation while overwriting at random\n");
        text.push_str(&churn_times(&result.allocators));
    }
    if let Some(tiers) = &result.tiers {
        text.push_str(&tiers::tiers(tiers));
    }
    if let Some(zram) = &result.zram {
        text.push_str(&format!(
            "\nThe kernel's zram ({}, {}) took {} and a slot table of {} for the same pages.\n",
            zram.kernel,
            zram.codec,
            bytes(zram.mem_used_total),
            bytes(zram.slot_table_bytes)
        ));
    }
    text
}

/// Everything `compcache analyze` found.
pub(crate) fn analysis(found: &Analysis) -> String {
    let mut table = table(&[
        "codec",
        "compressed",
        "this cache",
        "saved",
        "ratio",
        "slab",
        "incompressible",
    ]);
    for codec in &found.codecs {
        row(
            &mut table,
            vec![
                codec.codec.clone(),
                bytes(codec.compr_data_size),
                bytes(codec.cache_bytes),
                percent(
                    found.orig_data_size.saturating_sub(codec.cache_bytes),
                    found.orig_data_size,
                ),
                format!("{:.2}", codec.ratio),
                bytes(codec.slab_bytes),
                percent(codec.incompressible, found.pages.count),
            ],
        );
    }
    format!(
        "{}{table}\nthis cache, slab: estimated memory for all pages, metadata included; ratio: pages to this cache\n",
        pages(&found.pages),
    )
}

fn pages(pages: &PagesInfo) -> String {
    format!(
        "{}: {} pages, {}; same-filled {}, duplicate {}\n",
        pages.source,
        grouped(pages.count),
        bytes(pages.count * 4096),
        percent(pages.same_filled, pages.count),
        percent(pages.duplicates, pages.count),
    )
}

fn cache_memory(runs: &[CacheResult]) -> String {
    let mut table = table(&[
        "codec",
        "threads",
        "pages",
        "compressed",
        "memory used",
        "of it metadata",
        "ratio",
        "raw",
        "wrong",
    ]);
    for run in runs {
        row(
            &mut table,
            vec![
                run.codec.clone(),
                run.threads.to_string(),
                bytes(run.orig_data_size),
                bytes(run.compr_data_size),
                bytes(run.mem_used_total),
                bytes(run.metadata_bytes),
                format!(
                    "{:.2}",
                    run.orig_data_size as f64
                        / (run.mem_used_total + run.beside_bytes).max(1) as f64
                ),
                grouped(run.huge_pages),
                grouped(run.mismatches),
            ],
        );
    }
    format!("{table}\n")
}

fn cache_times(runs: &[CacheResult]) -> String {
    let mut table = table(&[
        "codec",
        "threads",
        "operation",
        "mean",
        "p50",
        "p99",
        "p99.9",
        "max",
        "pages/s",
    ]);
    for run in runs {
        let operations = [
            ("put", &run.put_ns, Some(run.put_pages_per_s)),
            ("get", &run.get_ns, Some(run.get_pages_per_s)),
            ("codec compress", &run.codec_compress_ns, None),
            ("codec decompress", &run.codec_decompress_ns, None),
        ];
        for (operation, latency, rate) in operations {
            let mut cells = vec![
                run.codec.clone(),
                run.threads.to_string(),
                operation.to_owned(),
            ];
            cells.extend(percentiles(latency));
            cells.push(rate.map_or(String::new(), |rate| grouped(rate as u64)));
            row(&mut table, cells);
        }
    }
    format!("{table}\n")
}

fn percentiles(latency: &Latency) -> Vec<String> {
    [
        latency.mean,
        latency.p50 as f64,
        latency.p99 as f64,
        latency.p999 as f64,
        latency.max as f64,
    ]
    .map(nanoseconds)
    .to_vec()
}

fn footprints(allocators: &[AllocatorResult]) -> String {
    let phases: Vec<&str> = allocators.first().map_or(Vec::new(), |one| {
        one.phases.iter().map(|p| p.phase.as_str()).collect()
    });
    let mut table = table(&[&["allocator"], phases.as_slice()].concat());
    for allocator in allocators {
        let mut cells = vec![allocator.name.clone()];
        cells.extend(allocator.phases.iter().map(|phase| match ratio(phase) {
            Some(ratio) => format!("{ratio:.3}"),
            None => bytes(phase.footprint_bytes),
        }));
        row(&mut table, cells);
    }
    format!("{table}\n")
}

/// Footprint for each byte of payload; nothing where there is no payload.
pub(crate) fn ratio(phase: &PhaseResult) -> Option<f64> {
    (phase.payload_bytes > 0).then(|| phase.footprint_bytes as f64 / phase.payload_bytes as f64)
}

fn churn_times(allocators: &[AllocatorResult]) -> String {
    let mut table = table(&[
        "allocator",
        "operation",
        "mean",
        "p50",
        "p99",
        "p99.9",
        "max",
    ]);
    for allocator in allocators {
        let Some(churn) = allocator.phases.iter().find(|phase| phase.phase == "churn") else {
            continue;
        };
        for (operation, latency) in [("alloc", &churn.alloc_ns), ("free", &churn.free_ns)] {
            let mut cells = vec![allocator.name.clone(), operation.to_owned()];
            cells.extend(percentiles(latency));
            row(&mut table, cells);
        }
    }
    format!("{table}\n")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(header.iter().map(Cell::new));
    table
}

/// Adds a row; what starts with a digit is a number and stands to the right.
fn row(table: &mut Table, cells: Vec<String>) {
    let cells = cells.into_iter().map(|text| {
        let number = text.starts_with(|c: char| c.is_ascii_digit());
        Cell::new(text).set_alignment(if number {
            CellAlignment::Right
        } else {
            CellAlignment::Left
        })
    });
    table.add_row(cells);
}
