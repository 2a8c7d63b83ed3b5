//! The report: one page that works offline, and each plot as an SVG file of its own.

mod html;
mod latency;
mod memory;
mod scaling;
mod sizes;
mod style;
mod tiers;

use std::fs;
use std::io::Write;
use std::path::Path;

use compcache_bench::result::BenchResult;
use nix::unistd::{AccessFlags, access};

use self::latency::Row;
use crate::output::{OutputFile, cannot_write};

/// One plot: the name of its file without `.svg`, what it shows for those who cannot see it, and its text.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) svg: String,
}

/// Whether a report can be written into `dir`, which may not exist yet. Changes nothing.
///
/// # Errors
/// Where something else has the name, or the place cannot be written.
pub(crate) fn check_directory(dir: &Path) -> Result<(), String> {
    let there = dir
        .ancestors()
        .find(|one| one.exists())
        .unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Err(format!(
            "{}: is not a directory; name another for the report",
            there.display()
        ));
    }
    access(there, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|error| cannot_write(dir, &error.into()))
}

/// Writes `index.html` and its plots into `dir`, each file whole or not at all.
///
/// # Errors
/// Where a plot cannot be drawn or a file not be written.
pub(crate) fn write_report(dir: &Path, result: &BenchResult) -> Result<(), String> {
    // All of it is drawn before any of it is written.
    let figures = figures(result)?;
    let page = html::page(result, &figures);
    fs::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))?;
    for figure in &figures {
        write(&dir.join(format!("{}.svg", figure.name)), &figure.svg)?;
    }
    write(&dir.join("index.html"), &page)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let mut file = OutputFile::create(path, 0o666)?;
    file.write_all(text.as_bytes())
        .map_err(|error| cannot_write(path, &error))?;
    file.publish()
}

/// All plots that the result has data for.
fn figures(result: &BenchResult) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    let mut add = |name, description, svg| {
        figures.push(Figure {
            name,
            description,
            svg,
        })
    };
    if !result.allocators.is_empty() {
        add(
            "memory",
            "Bars: memory for each byte of payload, of each allocator in each phase, and memory still held when drained",
            memory::plot(&result.allocators)?,
        );
    }
    if result.size_histogram.iter().any(|count| *count > 0) {
        let subtitle = format!(
            "lz4, {}; the last bar is of pages that did not shrink",
            result.pages.source
        );
        add(
            "sizes",
            "Histogram of compressed page sizes",
            sizes::plot(&result.size_histogram, &subtitle)?,
        );
    }
    if !result.cache.is_empty() {
        let svg = latency::plot(
            "Time of one page in the cache",
            "put and get through the cache, beside the codec alone on the same bytes; further left is better",
            &cache_rows(result),
        )?;
        add(
            "latency-cache",
            "Percentiles of the time of a put, a get, and the codec alone",
            svg,
        );
    }
    if !result.allocators.is_empty() {
        let svg = latency::plot(
            "Time of one allocation and one free",
            "while overwriting at random; copying of the payload excluded; further left is better",
            &allocator_rows(result),
        )?;
        add(
            "latency-allocators",
            "Percentiles of the time of alloc and free, of each allocator",
            svg,
        );
    }
    if result.scaling.len() > 1 {
        add(
            "scaling",
            "Memory and time of alloc_xv against the number of objects",
            scaling::plot(&result.scaling)?,
        );
    }
    if let Some(result) = &result.tiers {
        add(
            "tiers-ratio",
            "Bars: bytes of pages for each byte of memory, of each store, with 80 and with 95 % of the pages cold",
            tiers::ratios(result)?,
        );
        let svg = latency::plot(
            "Time of one page, by store",
            "gets of hot, cold and all pages, and puts, in the access pattern; further left is better",
            &tiers::rows(result),
        )?;
        add(
            "tiers-latency",
            "Percentiles of the time of gets and puts of each store in the access pattern",
            svg,
        );
        if let Some(long) = &result.long {
            add(
                "tiers-long",
                "Lines: memory for each compressed byte over logical hours",
                tiers::long(long)?,
            );
        }
    }
    Ok(figures)
}

fn cache_rows(result: &BenchResult) -> Vec<Row> {
    let mut rows = Vec::new();
    for run in &result.cache {
        let threads = if run.threads == 1 {
            String::new()
        } else {
            format!(", {} threads", run.threads)
        };
        let mut add = |what, latency, ours| {
            rows.push(Row {
                label: format!("{}{threads}: {what}", run.codec),
                latency,
                ours,
            });
        };
        add("put", run.put_ns, true);
        add("codec compress", run.codec_compress_ns, false);
        add("get", run.get_ns, true);
        add("codec decompress", run.codec_decompress_ns, false);
    }
    rows
}

fn allocator_rows(result: &BenchResult) -> Vec<Row> {
    let mut rows = Vec::new();
    for allocator in &result.allocators {
        let Some(churn) = allocator.phases.iter().find(|phase| phase.phase == "churn") else {
            continue;
        };
        let ours = allocator.name == style::OUR_NAME;
        rows.push(Row {
            label: format!("{} alloc", allocator.name),
            latency: churn.alloc_ns,
            ours,
        });
        rows.push(Row {
            label: format!("{} free", allocator.name),
            latency: churn.free_ns,
            ours,
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> BenchResult {
        serde_json::from_str(include_str!("../../tests/fixture_result.json")).unwrap()
    }

    #[test]
    fn every_plot_is_drawn_and_in_the_page() {
        let dir = tempfile::tempdir().unwrap();
        write_report(&dir.path().join("new"), &fixture()).unwrap();
        let page = fs::read_to_string(dir.path().join("new/index.html")).unwrap();
        for name in [
            "memory",
            "sizes",
            "latency-cache",
            "latency-allocators",
            "scaling",
        ] {
            let svg = fs::read_to_string(dir.path().join(format!("new/{name}.svg"))).unwrap();
            assert!(
                svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
                "{name}"
            );
            assert!(page.contains(&format!("id=\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_escapes_names() {
        let result = fixture();
        let page = html::page(&result, &figures(&result).unwrap());
        let elsewhere = ["src=\"http", "href=\"http", "@import", "url(", "<script"];
        assert!(elsewhere.iter().all(|part| !page.contains(part)));
        assert!(
            page.contains("&lt;not a measurement&gt;") && !page.contains("<not a measurement>")
        );
    }

    #[test]
    fn a_result_with_little_in_it_still_makes_a_page() {
        let mut result = fixture();
        result.allocators.clear();
        result.scaling.clear();
        result.size_histogram.clear();
        result.zram = None;
        let figures = figures(&result).unwrap();
        assert_eq!(figures.len(), 1);
        html::page(&result, &figures);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(check_directory(&file).is_err_and(|text| text.contains("is not a directory")));
        let below = check_directory(&file.join("below"));
        assert!(below.is_err_and(|text| text.contains("file: is not a directory")));
        assert_eq!(check_directory(&dir.path().join("a/b/c")), Ok(()));
        assert!(!dir.path().join("a").exists());
    }
}
