//! `compcache bench` from the pages to the documents it writes.

mod common;

use common::{assert_fails, assert_succeeds, names, run, write_pages};
use serde_json::Value;

const ALLOCATORS: [&str; 8] = [
    "alloc_xv",
    "slab",
    "buddy",
    "first_fit",
    "xvmalloc",
    "zsmalloc",
    "tlsf",
    "malloc",
];
const PHASES: [&str; 5] = ["fill", "churn", "discard", "compact", "drain"];

#[test]
fn a_run_writes_its_result_and_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let (json, report) = (dir.path().join("out.json"), dir.path().join("report"));
    let tables = assert_succeeds(&run(&[
        "bench",
        "--quick",
        "--size",
        "8M",
        "--json",
        json.to_str().unwrap(),
        "--report",
        report.to_str().unwrap(),
    ]));
    for part in ["Page cache: memory", "Allocators", "alloc_xv", "zsmalloc"] {
        assert!(tables.contains(part), "{part:?} is not in {tables}");
    }
    assert_eq!(names(dir.path()), ["out.json", "report"]);

    let result: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(result["version"], 1);
    let pages = &result["pages"];
    assert_eq!(pages["count"], 2048);
    assert!(pages["source"].is_string());
    assert!(count(pages, "same_filled") > 0);
    count(pages, "duplicates");
    let cache = list(&result, "cache");
    assert_eq!(cache.len(), 1);
    check_cache(&cache[0], "lz4", 1);
    let stored = count(pages, "count") - count(pages, "same_filled");
    check_allocators(&result, stored);

    let figures = [
        "index.html",
        "latency-allocators.svg",
        "latency-cache.svg",
        "memory.svg",
        "scaling.svg",
        "sizes.svg",
    ];
    assert_eq!(names(&report), figures);
    let page = std::fs::read_to_string(report.join("index.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
}

#[test]
fn with_a_dash_standard_output_is_json_alone() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("pages");
    write_pages(&pages, 300);
    let output = run(&[
        "bench",
        "--quick",
        "--pages",
        pages.to_str().unwrap(),
        "--threads",
        "2",
        "--codec",
        "zstd:1,raw",
        "--json",
        "-",
    ]);
    let text = assert_succeeds(&output);
    assert!(output.stderr.is_empty(), "no terminal, no progress");
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["pages"]["count"], 302);
    assert_eq!(result["pages"]["same_filled"], 1);
    assert_eq!(result["pages"]["duplicates"], 1);
    let cache = list(&result, "cache");
    // One thread is measured too, for comparison.
    let expected = [("zstd:1", 1), ("zstd:1", 2), ("raw", 1), ("raw", 2)];
    assert_eq!(cache.len(), expected.len());
    for (run, (codec, threads)) in cache.iter().zip(expected) {
        check_cache(run, codec, threads);
    }
    assert_eq!(names(dir.path()), ["pages"]);
}

#[test]
fn tiers_are_compared_with_one_codec_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (json, report) = (dir.path().join("out.json"), dir.path().join("report"));
    let backing = dir.path().join("backing");
    let tables = assert_succeeds(&run(&[
        "bench",
        "--tiers",
        "--quick",
        "--size",
        "4M",
        "--operations",
        "20000",
        "--backing",
        backing.to_str().unwrap(),
        "--json",
        json.to_str().unwrap(),
        "--report",
        report.to_str().unwrap(),
    ]));
    for part in [
        "Tiers, cold80",
        "Tiers, cold95",
        "Tiers, copies",
        "Tiers, writeback",
        "Tiers, long run",
    ] {
        assert!(tables.contains(part), "{part:?} is not in {tables}");
    }
    // The backing file is gone.
    assert_eq!(names(dir.path()), ["out.json", "report"]);
    assert_eq!(
        names(&report),
        [
            "index.html",
            "tiers-latency.svg",
            "tiers-long.svg",
            "tiers-ratio.svg"
        ]
    );

    let result: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(result["version"], 1);
    assert_eq!(result["pages"]["count"], 1024);
    let tiers = &result["tiers"];
    for setting in ["cold80", "cold95"] {
        let found = &tiers[setting];
        for key in [
            "effective_ratio",
            "lz4_effective_ratio",
            "zstd1_effective_ratio",
            "hot_get_p50_vs_lz4",
            "mean_get_vs_lz4",
            "put_vs_lz4",
        ] {
            let value = found[key].as_f64();
            assert!(value.is_some_and(|value| value > 0.0), "{setting}.{key}");
        }
        assert_eq!(found["mismatches"], 0, "{setting}");
        let stores = list(found, "stores");
        let stores: Vec<&str> = stores
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert_eq!(stores, ["lz4", "zstd1", "tiered"]);
        for store in list(found, "stores") {
            for key in [
                "get_ns",
                "hot_get_ns",
                "cold_get_ns",
                "put_ns",
                "fill_put_ns",
            ] {
                check_latency(&store[key]);
            }
        }
    }
    let back = &tiers["writeback"];
    assert_eq!(count(back, "pages_held"), 1024);
    for key in ["mismatches", "unreadable", "text_runs_found"] {
        assert_eq!(count(back, key), 0, "{key}");
    }
    assert!(count(back, "text_runs") > 0 && count(&back["counters"], "written_back") > 0);
    assert!(count(back, "mem_used_max") <= count(back, "mem_limit"));
    assert_eq!(list(&tiers["long"], "stores").len(), 2);

    // And drawn again from the result.
    let again = dir.path().join("again");
    assert_succeeds(&run(&[
        "report",
        json.to_str().unwrap(),
        again.to_str().unwrap(),
    ]));
    assert_eq!(names(&again), names(&report));
}

#[test]
fn a_backing_file_with_something_in_it_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let backing = dir.path().join("mine");
    std::fs::write(&backing, "mine").unwrap();
    let output = run(&[
        "bench",
        "--tiers",
        "--quick",
        "--size",
        "1M",
        "--backing",
        backing.to_str().unwrap(),
    ]);
    assert_fails(&output, 1, &["mine", "--backing"]);
    assert_eq!(std::fs::read(&backing).unwrap(), b"mine");
}

/// Every key of a run of the cache, and what can be known of its value.
fn check_cache(run: &Value, codec: &str, threads: u64) {
    assert_eq!(run["codec"], codec);
    assert_eq!(run["threads"], threads);
    assert_eq!(run["mismatches"], 0);
    for key in ["same_pages", "huge_pages"] {
        count(run, key);
    }
    let (used, stored) = (count(run, "mem_used_total"), count(run, "compr_data_size"));
    assert!(used > stored && stored > 0, "{codec}: {used} for {stored}");
    assert!(stored < count(run, "orig_data_size"));
    assert!((1..used).contains(&count(run, "metadata_bytes")));
    for key in [
        "put_ns",
        "get_ns",
        "codec_compress_ns",
        "codec_decompress_ns",
    ] {
        check_latency(&run[key]);
    }
    for key in ["put_pages_per_s", "get_pages_per_s"] {
        assert!(run[key].as_f64().unwrap() > 0.0, "{codec}: {key}");
    }
}

/// Eight allocators with five phases each, on the same objects; ours takes the least memory in every phase.
fn check_allocators(result: &Value, stored: u64) {
    let allocators = list(result, "allocators");
    let found: Vec<&str> = allocators
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(found, ALLOCATORS);
    let ours = list(&allocators[0], "phases");
    for allocator in allocators {
        let name = &allocator["name"];
        let phases = list(allocator, "phases");
        assert_eq!(phases.len(), PHASES.len(), "{name}");
        for ((phase, ours), expected) in phases.iter().zip(ours).zip(PHASES) {
            assert_eq!(phase["phase"], expected, "{name}");
            // The same operations for all.
            assert_eq!(phase["payload_bytes"], ours["payload_bytes"], "{name}");
            let footprint = count(phase, "footprint_bytes");
            let least = count(ours, "footprint_bytes");
            let text = format!("{expected}: {least} bytes, {name} {footprint}");
            if expected == "drain" {
                assert_eq!(phase["payload_bytes"], 0, "{name}");
                assert!(least <= footprint, "{text}");
            } else {
                assert!(footprint > count(phase, "payload_bytes"), "{name}");
                assert!(name == "alloc_xv" || least < footprint, "{text}");
            }
            check_operations(phase, expected);
        }
        assert_eq!(phases[0]["objects"], stored, "{name}");
    }
}

/// Times are there where there were operations.
fn check_operations(phase: &Value, name: &str) {
    if ["fill", "churn"].contains(&name) {
        check_latency(&phase["alloc_ns"]);
    }
    if ["churn", "discard", "drain"].contains(&name) {
        check_latency(&phase["free_ns"]);
    }
    assert!(phase["alloc_ns"]["mean"].is_number() && phase["free_ns"]["mean"].is_number());
}

fn check_latency(latency: &Value) {
    assert!(latency["mean"].as_f64().unwrap() > 0.0);
    let percentiles = ["p50", "p99", "p999", "max"].map(|key| count(latency, key));
    assert!(percentiles.is_sorted(), "{percentiles:?}");
}

#[track_caller]
fn count(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} is {}", value[key]))
}

#[track_caller]
fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key]
        .as_array()
        .unwrap_or_else(|| panic!("{key} is {}", value[key]))
}
