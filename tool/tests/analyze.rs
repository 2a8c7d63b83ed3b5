//! `compcache analyze` on files and on a live process.

mod common;

use common::{assert_succeeds, run, write_pages};
use serde_json::Value;

#[test]
fn the_json_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("pages");
    write_pages(&pages, 500);
    let pages = pages.to_str().unwrap();
    let text = assert_succeeds(&run(&[
        "analyze", "--pages", pages, pages, "--codec", "lz4,raw", "--codec", "lz4", "--json", "-",
    ]));
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["version"], 1);
    // Each file has 500 pages, a zero page and one copy; the second file is a copy of the first.
    assert_eq!(found["pages"]["count"], 1004);
    assert_eq!(found["pages"]["same_filled"], 2);
    assert_eq!(found["pages"]["duplicates"], 502);
    let codecs = found["codecs"].as_array().unwrap();
    assert_eq!(codecs.len(), 2, "each codec once");
    assert_eq!(codecs[0]["codec"], "lz4");
    assert!(codecs[0]["ratio"].as_f64().unwrap() > 10.0);
    assert_eq!(codecs[1]["incompressible"], 1002);
    assert_eq!(codecs[1]["compr_data_size"], 1002 * 4096);
    for codec in codecs {
        for memory in ["cache_bytes", "slab_bytes"] {
            assert!(codec[memory].as_u64() > codec["compr_data_size"].as_u64());
        }
        let counted: u64 = codec["size_histogram"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_u64)
            .sum();
        assert_eq!(counted, 1002);
    }
}

#[test]
fn tables_and_a_file_of_json_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let (pages, json) = (dir.path().join("pages"), dir.path().join("out.json"));
    write_pages(&pages, 5);
    let text = assert_succeeds(&run(&[
        "analyze",
        "--pages",
        pages.to_str().unwrap(),
        "--json",
        json.to_str().unwrap(),
    ]));
    assert!(text.contains("lz4") && text.contains("zstd:3") && text.contains("incompressible"));
    let found: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(found["codecs"].as_array().unwrap().len(), 3);
}
