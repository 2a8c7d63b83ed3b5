//! The built-in pages: the same for the same seed, whatever surrounds them, and like real ones.

mod common;

use std::path::Path;

use common::{assert_succeeds, compcache, run};
use serde_json::Value;

/// Fewer pages than the default, enough for all kinds of data.
const SIZE: &str = "32M";

fn generate(dir: &Path, name: &str, seed: &str) -> Vec<u8> {
    let file = dir.join(name);
    assert_succeeds(&run(&[
        "generate",
        "--seed",
        seed,
        "--size",
        SIZE,
        "-o",
        file.to_str().unwrap(),
    ]));
    std::fs::read(file).unwrap()
}

#[test]
fn a_seed_gives_the_same_bytes_every_time_and_another_seed_others() {
    let dir = tempfile::tempdir().unwrap();
    let first = generate(dir.path(), "first", "1");
    assert_eq!(first.len(), 32 << 20);
    assert!(
        first == generate(dir.path(), "again", "1"),
        "two runs differ"
    );
    assert!(first != generate(dir.path(), "other", "2"));
}

/// Stacks, libraries and the program lie elsewhere here; nothing of that may be in the pages.
#[test]
fn the_bytes_do_not_depend_on_where_the_program_lies() {
    let dir = tempfile::tempdir().unwrap();
    let first = generate(dir.path(), "first", "1");
    let mut runs = Vec::new();
    for padding in [1, 4000] {
        // The child alone, with address space randomisation on and an environment of another size.
        let mut child = compcache()
            .args(["build-heap", "1", "8192"])
            .env("PADDING", "x".repeat(padding))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.as_mut().unwrap()),
            &mut line,
        )
        .unwrap();
        let fields: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .map(|field| field.parse().unwrap())
            .collect();
        let mut bytes = vec![0; fields[1] as usize];
        let memory = std::fs::File::open(format!("/proc/{}/mem", child.id())).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, fields[0]).unwrap();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        runs.push(bytes);
    }
    assert!(
        runs[0] == runs[1],
        "the place of the program shows in the pages"
    );
    assert!(
        runs[0][..4096 * 16] == first[..4096 * 16],
        "the capture starts elsewhere"
    );
}

#[test]
fn the_pages_are_like_those_of_real_heaps() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path(), "pages", "3");
    let pages = dir.path().join("pages");
    let text = assert_succeeds(&run(&[
        "analyze",
        "--codec",
        "lz4",
        "--json",
        "-",
        "--pages",
        pages.to_str().unwrap(),
    ]));
    let found: Value = serde_json::from_str(&text).unwrap();
    let count = found["pages"]["count"].as_f64().unwrap();
    let share = |value: &Value| value.as_f64().unwrap() / count;
    let codec = &found["codecs"][0];
    let mean = share(&codec["compr_data_size"]);
    assert!((1500.0..2000.0).contains(&mean), "mean {mean}");
    assert!((0.01..0.03).contains(&share(&found["pages"]["same_filled"])));
    assert!((0.01..0.05).contains(&share(&found["pages"]["duplicates"])));
    // Some per cent, of which the codec has its part: pages at the edge of what it finds.
    let incompressible = share(&codec["incompressible"]);
    assert!((0.01..0.06).contains(&incompressible), "{incompressible}");
    // Wide: no sixteenth of the range holds a quarter of the pages, and all but the widest have some.
    let histogram: Vec<f64> = codec["size_histogram"]
        .as_array()
        .unwrap()
        .iter()
        .map(share)
        .collect();
    for (nth, part) in histogram[..64].chunks(4).enumerate() {
        let held: f64 = part.iter().sum();
        assert!(held < 0.25, "{held} of the pages in part {nth}");
        assert!(
            nth >= 12 || held > 0.01,
            "{held} of the pages in part {nth}"
        );
    }
}

#[test]
fn small_and_odd_sizes_work() {
    let dir = tempfile::tempdir().unwrap();
    for (size, bytes) in [("1", 4096), ("4097", 8192), ("100K", 100 << 10)] {
        let file = dir.path().join(size);
        assert_succeeds(&run(&[
            "generate",
            "--size",
            size,
            "-o",
            file.to_str().unwrap(),
        ]));
        assert_eq!(file.metadata().unwrap().len(), bytes);
    }
}
