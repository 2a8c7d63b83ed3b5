//! Cold pages of a served device: memory for half of what is written, and a file for the rest; zram's
//! attributes over the control socket; and a server with nothing to do.
#![cfg(feature = "nbd")]

mod common;
#[path = "common/serving.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod serving;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use common::assert_fails;
use nix::sys::signal::Signal;
use serde_json::Value;
use serving::{Device, client, has, serve, write};

impl Device {
    #[track_caller]
    fn json(&self, attribute: &str) -> Value {
        let text = self.ctl(&[attribute, "--json"]);
        let name = attribute.split('=').next().unwrap();
        serde_json::from_str::<Value>(&text).unwrap()[name].take()
    }

    #[track_caller]
    fn count(&self, name: &str) -> u64 {
        self.json("tiers")[name].as_u64().unwrap()
    }

    /// User and system time of all threads, in clock ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.served.pid())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

/// Words in a random order, no page like another: what LZ4 makes half as long, and zstd a third. A page
/// in eight is noise.
fn pages(path: &Path, count: usize) -> Vec<u8> {
    let words: Vec<String> = (0..512u32)
        .map(|nth| format!("word{:x} ", nth.wrapping_mul(2_654_435_761)))
        .collect();
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        (state >> 40) as usize
    };
    let mut bytes = Vec::with_capacity(count * 4096);
    for page in 0..count {
        let end = (page + 1) * 4096;
        while bytes.len() < end {
            match page % 8 {
                0 => bytes.push(random() as u8),
                _ => bytes.extend_from_slice(words[random() % words.len()].as_bytes()),
            }
        }
        bytes.truncate(end);
    }
    std::fs::write(path, &bytes).unwrap();
    bytes
}

fn read_back(device: &Device, to: &Path) -> Vec<u8> {
    client("nbdcopy", &[&device.served.uri(), to.to_str().unwrap()]);
    std::fs::read(to).unwrap()
}

#[test]
fn half_the_memory_and_a_file_lose_nothing() {
    if !has("nbdcopy") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let bytes = pages(&source, 12_288);
    // What it takes without help.
    let plain = Device::start(&["--size", "48M", "--no-tiers"]);
    client("nbdcopy", &[source.to_str().unwrap(), &plain.served.uri()]);
    let needed = plain.json("mm_stat")[2].as_u64().unwrap();
    assert_eq!(plain.json("mm_stat")[3], 0);
    plain.served.stop(Signal::SIGTERM);

    let limit = (needed / 2).to_string();
    let store = dir.path().join("store");
    let device = Device::start(&[
        "--size",
        "48M",
        "--mem-limit",
        &limit,
        "--backing",
        store.to_str().unwrap(),
        "--idle-time",
        "1",
    ]);
    client("nbdcopy", &[source.to_str().unwrap(), &device.served.uri()]);
    let written = device.json("tiers");
    assert!(written["written_back"].as_u64().unwrap() > 0, "{written}");
    let mm = device.json("mm_stat");
    let number = |nth: usize| mm[nth].as_u64().unwrap();
    assert!(number(2) <= number(3) && number(4) <= number(3), "{mm}");
    assert_eq!(mm[3].to_string(), limit);
    assert!(read_back(&device, &dir.path().join("a")) == bytes);
    // Parts of pages that are in the file; what is overwritten is not remembered.
    let mut bytes = bytes;
    let mut nbd = device.served.connect();
    for page in (0..12_288).step_by(41) {
        let at = page * 4096 + 1024;
        let sector = [page as u8; 512];
        bytes[at..at + 512].copy_from_slice(&sector);
        write(&mut nbd, at as u64, &sector);
    }
    drop(nbd);
    assert!(read_back(&device, &dir.path().join("b")) == bytes);
    let found = device.json("tiers");
    assert_eq!(found["backing_errors"], 0, "{found}");
    assert_eq!(found["pages"], 12_288);

    // Packed, and no text in it.
    let (live, blocks) = (
        found["backed_bytes"].as_u64().unwrap(),
        std::fs::metadata(&store).unwrap().blocks() * 512,
    );
    assert!(blocks > 0 && live > 0);
    let file = std::fs::read(&store).unwrap();
    let text = bytes[4096..8192].windows(16).step_by(16);
    for run in text {
        assert!(!file.windows(16).any(|window| window == run));
    }
    device.served.stop(Signal::SIGTERM);
}

#[test]
fn the_store_is_full_and_the_writer_is_told() {
    if !has("nbdcopy") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    pages(&source, 8192);
    let device = Device::start(&[
        "--size",
        "32M",
        "--mem-limit",
        "4M",
        "--backing",
        dir.path().to_str().unwrap(),
        "--backing-size",
        "3M",
    ]);
    let uri = device.served.uri();
    let full = serving::client_output("nbdcopy", &[source.to_str().unwrap(), &uri]);
    assert!(!full.status.success());
    let said = serving::text(&full.stderr);
    assert!(said.contains("No space left"), "{said}");
    // What was acknowledged can be read.
    client(
        "nbdcopy",
        &[&uri, dir.path().join("back").to_str().unwrap()],
    );
    assert_eq!(device.count("backing_errors"), 0);
    device.served.stop(Signal::SIGTERM);
}

#[test]
fn attributes_for_cold_pages_are_zrams() {
    if !has("nbdcopy") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let mut bytes = pages(&source, 2048);
    // The third quarter is the first once more.
    bytes.copy_within(..512 * 4096, 1024 * 4096);
    std::fs::write(&source, &bytes).unwrap();
    let device = Device::start(&["--size", "8M", "--no-tiers", "--recompress", "lz4hc,zstd:6"]);
    client("nbdcopy", &[source.to_str().unwrap(), &device.served.uri()]);
    assert_eq!(
        device.ctl(&["recomp_algorithm"]),
        "#1: [lz4hc] zstd\n#2: lz4hc [zstd:6]\n"
    );
    assert_eq!(device.ctl(&["comp_algorithm"]), "[lz4] lz4hc zstd raw\n");
    assert_eq!(device.ctl(&["recomp_algorithm=algo=zstd priority=2"]), "");
    assert_fails(
        &device.ctl_output(&["recomp_algorithm=algo=zstd:9 priority=1"]),
        1,
        &["once the device is up", "--recompress zstd:9"],
    );

    // Nothing is idle yet.
    let done = device.json("recompress=type=idle");
    assert_eq!(done["pages_changed"], 0);
    device.ctl(&["idle=all"]);
    let before = device.json("mm_stat")[1].as_u64().unwrap();
    let done = device.json("recompress=type=idle max_pages=10");
    assert_eq!(done["pages_tried"], 10);
    let done = device.json("recompress=type=idle algo=zstd threshold=1000");
    assert!(done["pages_changed"].as_u64().unwrap() > 1500, "{done}");
    let after = device.json("mm_stat")[1].as_u64().unwrap();
    assert!(after * 10 < before * 9, "{before} to {after}");
    assert_fails(
        &device.ctl_output(&["recompress=priority=3"]),
        1,
        &["no such codec", "lz4 lz4hc zstd:6"],
    );
    // Errors of the command line.
    for (change, part) in [
        ("recompress=type=cold", "huge_idle"),
        ("writeback=all", "page_index"),
        ("policy=cold_rung=7", "0 to 3"),
        ("backing_dev=none", "as long as the device"),
    ] {
        assert_fails(&device.ctl_output(&[change]), 2, &[part]);
    }
    assert_fails(
        &device.ctl_output(&["policy=cold_rung=3"]),
        1,
        &["2 denser codecs"],
    );
    assert_fails(&device.ctl_output(&["idle=60"]), 1, &["use all"]);

    let done = device.json("merge");
    assert!(done["pages_changed"].as_u64().unwrap() >= 512, "{done}");
    assert!(device.count("shared_pages") >= 1000);

    // Writing back.
    assert_eq!(device.ctl(&["backing_dev"]), "none\n");
    assert_eq!(device.ctl(&["bd_stat"]), "       0        0        0\n");
    assert_fails(&device.ctl_output(&["writeback=idle"]), 1, &["backing_dev"]);
    let store = dir.path().join("a store");
    let change = format!("backing_dev={} size=64M", store.display());
    assert_eq!(device.ctl(&[&change]), "");
    assert_eq!(
        device.ctl(&["backing_dev"]),
        format!("{}\n", store.display())
    );
    assert_fails(&device.ctl_output(&[&change]), 1, &["which stays with it"]);
    assert_eq!(device.ctl(&["writeback_limit=2"]), "");
    assert_eq!(device.ctl(&["writeback_limit_enable"]), "0\n");
    assert_eq!(device.ctl(&["writeback_limit_enable=1"]), "");
    assert_eq!(device.ctl(&["writeback_limit"]), "2\n");
    device.ctl(&["idle=all"]);
    // As far as it goes, then no further: a page that did not shrink counts as one.
    assert_eq!(device.json("writeback=huge_idle")["records_written"], 2);
    assert_fails(
        &device.ctl_output(&["writeback=huge_idle"]),
        1,
        &["writeback_limit is used up"],
    );
    assert_eq!(device.ctl(&["writeback_limit"]), "0\n");
    assert_eq!(device.ctl(&["writeback_limit_enable=0"]), "");
    let done = device.json("writeback=type=huge");
    assert!(done["records_written"].as_u64().unwrap() > 100, "{done}");
    let stat = device.json("bd_stat");
    assert!(
        stat[0].as_u64().unwrap() > 100 && stat[2].as_u64().unwrap() > 100,
        "{stat}"
    );
    assert_fails(
        &device.ctl_output(&["writeback=page_index=2048"]),
        1,
        &["2048 pages"],
    );
    device.ctl(&["writeback=page_indexes=0-2047"]);
    assert!(read_back(&device, &dir.path().join("back")) == bytes);
    assert!(device.json("bd_stat")[1].as_u64().unwrap() > 100);
    device.served.stop(Signal::SIGTERM);
}

#[test]
fn the_policy_is_set_and_does_what_it_says() {
    if !has("nbdcopy") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let bytes = pages(&source, 2048);
    let device = Device::start(&["--size", "8M"]);
    assert_eq!(
        device.ctl(&["policy"]),
        "turn=30 cold_age=2 cold_rung=1 cool_rung=0 clusters=1 same=1 patches=1 dictionary=1\n"
    );
    client("nbdcopy", &[source.to_str().unwrap(), &device.served.uri()]);
    let before = device.json("mm_stat")[2].as_u64().unwrap();
    assert_eq!(device.ctl(&["policy=turn=0.2 patches=0"]), "");
    let policy = device.json("policy");
    assert_eq!(
        (&policy["turn"], &policy["patches"]),
        (&0.2.into(), &0.into())
    );
    let until = Instant::now() + Duration::from_secs(60);
    while device.count("cluster_pages") < 1500 {
        assert!(Instant::now() < until, "{}", device.ctl(&["tiers"]));
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = device.json("mm_stat")[2].as_u64().unwrap();
    assert!(after * 10 < before * 8, "{before} to {after}");
    assert!(read_back(&device, &dir.path().join("back")) == bytes);
    device.served.stop(Signal::SIGTERM);
}

/// Progress is told to who asks for it, and who goes away ends the work.
#[test]
fn long_work_says_how_far_it_is_and_ends_when_nobody_listens() {
    if !has("nbdcopy") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    pages(&source, 16_384);
    let device = Device::start(&["--size", "64M", "--no-tiers", "--recompress", "zstd:19"]);
    client("nbdcopy", &[source.to_str().unwrap(), &device.served.uri()]);
    let mut stream = UnixStream::connect(&device.control).unwrap();
    stream
        .write_all(
            b"{\"version\":1,\"set\":\"recompress\",\"value\":\"priority=1\",\"progress\":true}\n",
        )
        .unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answer["progress"]["of"], 16_384, "{answer}");
    drop(stream);
    let mut last = device.count("recompressed");
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        std::thread::sleep(Duration::from_millis(1000));
        let now = device.count("recompressed");
        if now == last {
            break;
        }
        assert!(Instant::now() < until, "still at it");
        last = now;
    }
    assert!(
        last < 14_000,
        "{last}: it was done before anybody could end it"
    );
    device.served.stop(Signal::SIGTERM);
}

#[test]
fn a_server_with_nothing_to_do_costs_no_processor_time() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::start(&[
        "--size",
        "1G",
        "--mem-limit",
        "256M",
        "--backing",
        dir.path().to_str().unwrap(),
    ]);
    if has("nbdcopy") {
        let source = dir.path().join("source");
        pages(&source, 4096);
        let qemu = ["--destination-is-zero", source.to_str().unwrap()];
        client("nbdcopy", &[&qemu[..], &[&device.served.uri()]].concat());
    }
    std::thread::sleep(Duration::from_millis(500));
    let before = device.ticks();
    std::thread::sleep(Duration::from_secs(10));
    let idle = device.ticks() - before;
    assert!(
        idle < 5,
        "{idle} ticks of 1000 while nobody asked for anything"
    );
    device.served.stop(Signal::SIGTERM);
}

#[test]
fn memory_beside_the_pages_is_bounded() {
    let device = Device::start(&["--size", "16G"]);
    let stat = device.json("mm_stat");
    let used = stat[2].as_u64().unwrap();
    assert!(used <= (16 << 30) * 15 / 10_000, "{stat}");
    let resident = device.served.resident();
    assert!(
        resident <= used + (32 << 20),
        "{resident} resident, {used} used"
    );
    if has("nbdcopy") {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        pages(&source, 16_384);
        let source = source.to_str().unwrap();
        client(
            "nbdcopy",
            &["--destination-is-zero", source, &device.served.uri()],
        );
        device.ctl(&["policy=turn=0.2"]);
        std::thread::sleep(Duration::from_secs(3));
        let used = device.json("mm_stat")[2].as_u64().unwrap();
        let resident = device.served.resident();
        assert!(
            resident <= used + (32 << 20),
            "{resident} resident, {used} used"
        );
    }
    device.served.stop(Signal::SIGTERM);
}

#[test]
fn a_store_that_cannot_be_had_is_said_before_serving() {
    let dir = tempfile::tempdir().unwrap();
    let serve = |more: &[&str]| {
        let arguments = [&["--size", "1M"], more].concat();
        serve(&dir.path().join("s"), &arguments).output().unwrap()
    };
    assert_fails(
        &serve(&["--backing", "/dev/null"]),
        1,
        &["--backing /dev/null", "block device"],
    );
    assert_fails(&serve(&["--backing", "/nowhere/x"]), 1, &["/nowhere/x"]);
    let small = dir.path().join("small");
    let small = small.to_str().unwrap();
    assert_fails(
        &serve(&["--backing", small, "--backing-size", "1M"]),
        1,
        &["it needs 2097152"],
    );
    assert_fails(&serve(&["--backing-size", "1M"]), 1, &["need --backing"]);
    assert_fails(&serve(&["--recompress", "lz4"]), 1, &["--recompress"]);
    assert_fails(&serve(&["--idle-time", "0"]), 2, &["such as 30, 5m or 1h"]);
}
