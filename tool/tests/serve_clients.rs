//! `serve --nbd` with the clients that people use: libnbd, QEMU, fio.
#![cfg(feature = "nbd")]

mod common;
#[path = "common/serving.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod serving;

use nix::sys::signal::Signal;
use serde_json::Value;
use serving::{
    Served, client, client_output, fio, fio_verifies_mixed_sizes, has, mixed_file, text,
};

const MIB: usize = 1 << 20;

#[test]
fn nbdinfo_sees_what_is_served() {
    if !has("nbdinfo") {
        return;
    }
    let served = Served::start(&["--size", "64M", "--export", "scratch"]);
    let uri = served.uri().replace("///", "///scratch");
    let json = client("nbdinfo", &["--json", "--list", &uri]);
    let document: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["protocol"], "newstyle-fixed");
    assert_eq!(document["structured"], true);
    let export = &document["exports"][0];
    assert_eq!(export["export-name"], "scratch");
    assert_eq!(export["export-size"], 64 * MIB);
    assert_eq!(export["contexts"][0], "base:allocation");
    for (key, value) in [
        ("is_read_only", false),
        ("can_cache", true),
        ("can_df", true),
        ("can_fast_zero", true),
        ("can_flush", true),
        ("can_fua", true),
        ("can_multi_conn", true),
        ("can_trim", true),
        ("can_zero", true),
    ] {
        assert_eq!(export[key], value, "{key}");
    }
    assert_eq!(export["block_size_minimum"], 512);
    assert_eq!(export["block_size_preferred"], 4096);
    assert_eq!(export["block_size_maximum"], 32 * MIB);

    let map = client("nbdinfo", &["--map", "--json", &served.uri()]);
    let map: Value = serde_json::from_str(&map).unwrap();
    assert_eq!(map[0]["length"], 64 * MIB);
    assert_eq!(map[0]["description"], "hole,zero");

    let other = client_output("nbdinfo", &[&served.uri().replace("///", "///other")]);
    assert!(!other.status.success() && text(&other.stderr).contains("export: other"));
    served.stop(Signal::SIGTERM);
}

#[test]
fn read_only_is_told_and_kept() {
    if !has("nbdinfo") || !has("qemu-io") {
        return;
    }
    let served = Served::start(&["--size", "1M", "--read-only"]);
    client("nbdinfo", &["--is", "read-only", &served.uri()]);
    let written = client_output("qemu-io", &["-f", "raw", "-c", "write 0 4k", &served.uri()]);
    assert!(!written.status.success());
    served.stop(Signal::SIGINT);
}

#[test]
fn nbdcopy_brings_everything_back() {
    if !has("nbdcopy") {
        return;
    }
    let served = Served::start(&["--size", "48M", "--nbd", "tcp:127.0.0.1:0"]);
    let at = |name: &str| served.dir.path().join(name).display().to_string();
    let bytes = mixed_file(served.dir.path().join("in").as_path(), 48 * MIB);
    client("nbdcopy", &[&at("in"), &served.uri()]);
    client("nbdcopy", &[&served.uri(), &at("out")]);
    assert!(std::fs::read(at("out")).unwrap() == bytes);
    // The same over TCP, one connection, synchronous.
    let tcp = format!("nbd://{}", served.place(1).strip_prefix("tcp:").unwrap());
    client("nbdcopy", &["--synchronous", &tcp, &at("sync")]);
    assert!(std::fs::read(at("sync")).unwrap() == bytes);
    served.stop(Signal::SIGTERM);
}

#[test]
fn qemu_reads_writes_and_maps() {
    if !has("qemu-io") || !has("qemu-img") {
        return;
    }
    let served = Served::start(&["--size", "16M", "--codec", "zstd:1"]);
    let io = |commands: &[&str]| {
        let mut arguments = vec!["-f", "raw", "-d", "unmap"];
        for command in commands {
            arguments.extend(["-c", command]);
        }
        let uri = served.uri();
        arguments.push(&uri);
        let output = client("qemu-io", &arguments);
        assert!(!output.contains("failed"), "{output}");
        output
    };
    io(&[
        "write -P 0x5a 1M 2M",
        "write -P 0x33 512 1024",
        "write -z 2M 64k",
        "write -z -u 1M 64k",
        "discard 1088k 64k",
        "flush",
        "write -f -P 0x77 15M 1M",
    ]);
    io(&[
        "read -P 0 0 512",
        "read -P 0x33 512 1024",
        "read -P 0 1M 128k",
        "read -P 0x5a 1152k 896k",
        "read -P 0 2M 64k",
        "read -P 0x5a 2112k 960k",
        "read -P 0x77 15M 1M",
        "read -P 0 3M 12M",
    ]);
    let map = client(
        "qemu-img",
        &["map", "--output=json", "-f", "raw", &served.uri()],
    );
    let map: Value = serde_json::from_str(&map).unwrap();
    let data: Vec<(u64, u64)> = map
        .as_array()
        .unwrap()
        .iter()
        .filter(|extent| extent["data"] == true)
        .map(|extent| {
            let number = |key: &str| extent[key].as_u64().unwrap();
            (number("start"), number("length"))
        })
        .collect();
    // QEMU wants no hole where it writes zeroes without `-u`: they are stored.
    let mib = 1 << 20;
    assert_eq!(data[0], (0, 4096));
    assert_eq!(data[1], (mib + 128 * 1024, 2 * mib - 128 * 1024));
    assert_eq!(data[2], (15 * mib, mib));
    assert_eq!(data.len(), 3, "{data:?}");

    let file = served.dir.path().join("disk.raw").display().to_string();
    client(
        "qemu-img",
        &["convert", "-f", "raw", "-O", "raw", &served.uri(), &file],
    );
    let compared = client(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "raw", &served.uri(), &file],
    );
    assert!(compared.contains("identical"));
    let info = client(
        "qemu-img",
        &["info", "--output=json", "-f", "raw", &served.uri()],
    );
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["virtual-size"], 16 * MIB);
    served.stop(Signal::SIGTERM);
}

#[test]
fn fio_verifies_mixed_sizes_over_four_connections() {
    if !has("fio") {
        return;
    }
    let served = Served::start(&["--size", "128M"]);
    let uri = format!("--uri={}", served.uri());
    fio_verifies_mixed_sizes(served.dir.path(), &["--ioengine=nbd", &uri]);
    served.stop(Signal::SIGTERM);
}

#[test]
fn fio_verifies_while_others_trim() {
    if !has("fio") {
        return;
    }
    let served = Served::start(&["--size", "64M"]);
    let uri = format!("--uri={}", served.uri());
    fio(
        served.dir.path(),
        &[
            "--ioengine=nbd",
            &uri,
            "--name=trims",
            "--rw=randtrim",
            "--bs=64k",
            "--iodepth=32",
            "--numjobs=2",
            "--size=16M",
            "--time_based",
            "--runtime=4",
            "--name=verifies",
            "--rw=randrw",
            "--bs=4k",
            "--iodepth=32",
            "--numjobs=2",
            "--size=16M",
            "--offset=32M",
            "--offset_increment=16M",
            "--verify=crc32c",
            "--verify_fatal=1",
            "--verify_state_save=0",
            "--buffer_compress_percentage=50",
            "--refill_buffers",
            "--time_based",
            "--runtime=4",
        ],
    );
    served.stop(Signal::SIGTERM);
}
