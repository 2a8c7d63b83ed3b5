//! `ctl` beside a served device: what it shows, what it sets, and sockets that are left or taken.
#![cfg(feature = "nbd")]

mod common;
#[path = "common/serving.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod serving;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use common::{assert_fails, assert_succeeds, compcache, run};
use nix::sys::signal::Signal;
use serving::{Device, Served, serve, write};

/// A served device of 64 MiB.
fn start(more: &[&str]) -> Device {
    Device::start(&[&["--size", "64M"], more].concat())
}

impl Device {
    /// A page of text, one of zeroes, one of noise; and nobody connected afterwards.
    fn fill(&self) {
        let mut client = self.served.connect();
        let text: Vec<u8> = b"the same words "
            .iter()
            .copied()
            .cycle()
            .take(4096)
            .collect();
        let mut state = 1u64;
        let mut byte = || {
            state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            (state >> 56) as u8
        };
        let noise: Vec<u8> = (0..4096).map(|_| byte()).collect();
        for (nth, page) in [text, vec![0; 4096], noise].iter().enumerate() {
            write(&mut client, nth as u64 * 4096, page);
        }
        drop(client);
        self.wait_until_alone();
    }

    fn wait_until_alone(&self) {
        for _ in 0..1000 {
            if self.status()["clients"] == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the client is still there");
    }

    fn status(&self) -> serde_json::Value {
        let answer = ask(&self.control, r#"{"version":1,"status":{}}"#);
        answer["status"].clone()
    }
}

fn connect(control: &Path) -> UnixStream {
    let stream = UnixStream::connect(control).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// The answer to one line.
fn ask(control: &Path, line: &str) -> serde_json::Value {
    let mut stream = connect(control);
    // It may hang up before all of a line that is too long is written.
    let _ = stream.write_all(format!("{line}\n").as_bytes());
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[cfg(feature = "vhost-user")]
#[test]
fn virtual_machines_are_clients() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| dir.path().join(name).display().to_string());
    let device = start(&["--vhost-user", &paths[0], "--vhost-user", &paths[1]]);
    let places = device.status()["places"].to_string();
    for path in &paths {
        assert!(places.contains(&format!("vhost-user {path}")), "{places}");
    }
    let streams = [&paths[0], &paths[1]].map(|path| UnixStream::connect(path).unwrap());
    for _ in 0..1000 {
        if device.status()["clients"] == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(device.status()["clients"], 2);
    let reset = device.ctl_output(&["reset"]);
    assert_fails(&reset, 1, &["2 clients"]);
    drop(streams);
    device.wait_until_alone();

    let second = run(&[
        "serve",
        "--size",
        "1M",
        "--mlock",
        "off",
        "--vhost-user",
        &paths[0],
    ]);
    assert_fails(&second, 1, &[&paths[0], "another server is listening"]);
    device.served.stop(Signal::SIGTERM);
    for path in &paths {
        assert!(!Path::new(path).exists(), "{path} is left");
    }
}

#[test]
fn tables_are_zramctls() {
    let device = start(&["--mem-limit", "32M", "--codec", "zstd:3"]);
    device.fill();
    let status = device.status();
    let streams = status["streams"].to_string();
    let (total, used) = (&status["mem_used_total"], &status["mem_used_max"]);
    let compressed = &status["compr_data_size"];

    let table = device.ctl(&[
        "--bytes",
        "-o",
        "name,DISKSIZE,DATA,ALGORITHM,ZERO-PAGES,MEM-LIMIT",
    ]);
    assert_eq!(
        table,
        "\
NAME DISKSIZE  DATA ALGORITHM ZERO-PAGES MEM-LIMIT
test 67108864 12288 zstd:3             1  33554432
"
    );
    let table = device.ctl(&["-n", "-o", "NAME,DISKSIZE,DATA,MEM-LIMIT,MOUNTPOINT"]);
    assert_eq!(table, "test 64M 12K 32M\n");
    let table = device.ctl(&[]);
    let heading = table.lines().next().unwrap();
    let words: Vec<&str> = heading.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "NAME",
            "ALGORITHM",
            "DISKSIZE",
            "DATA",
            "COMPR",
            "TOTAL",
            "STREAMS",
            "MOUNTPOINT"
        ]
    );
    let raw = device.ctl(&["--raw", "--bytes", "--noheadings", "--output-all"]);
    let ratio = 12_288.0 / total.as_f64().unwrap();
    assert_eq!(
        raw,
        format!(
            "test 67108864 12288 {compressed} zstd:3 {streams} 1 {total} 33554432 {used} 0 {ratio:.4} \n"
        )
    );
    let json: serde_json::Value =
        serde_json::from_str(&device.ctl(&["--json", "-o", "NAME,DATA,TOTAL"])).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"compcache": [{"name": "test", "data": 12288, "total": total}]})
    );
    device.served.stop(Signal::SIGTERM);
    assert!(!device.control.exists(), "the control socket is left");
}

#[test]
fn attributes_are_zrams() {
    let device = start(&[]);
    device.fill();
    let mm_stat = device.ctl(&["mm_stat"]);
    let numbers: Vec<u64> = mm_stat
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    let &[
        data,
        compressed,
        total,
        limit,
        max,
        same,
        compacted,
        huge,
        huge_since,
    ] = numbers.as_slice()
    else {
        panic!("{mm_stat}")
    };
    assert_eq!((data, limit, same, compacted), (12_288, 0, 1, 0));
    assert_eq!((huge, huge_since), (1, 1));
    assert!(
        compressed > 4096 && compressed < total && total <= max,
        "{mm_stat}"
    );
    assert_eq!(mm_stat.len(), 9 * 9);
    for (attribute, text) in [
        ("io_stat", "       0        0        0        0\n"),
        ("debug_stat", "version: 1\n       0        0\n"),
        ("disksize", "67108864\n"),
        ("comp_algorithm", "[lz4] lz4hc zstd raw\n"),
        ("recomp_algorithm", "#1: lz4hc [zstd:6]\n"),
        ("bd_stat", "       0        0        0\n"),
        ("backing_dev", "none\n"),
        ("initstate", "1\n"),
        ("mem_limit", "0\n"),
    ] {
        assert_eq!(device.ctl(&[attribute]), text);
    }
    assert_eq!(device.ctl(&["mem_limit=1M"]), "");
    assert_eq!(device.ctl(&["mem_limit"]), "1048576\n");
    assert_eq!(device.ctl(&["mem_limit=0"]), "");
    assert_eq!(device.ctl(&["mem_used_max=0"]), "");
    assert_eq!(device.ctl(&["compact"]), "");

    let client = device.served.connect();
    let refused = device.ctl_output(&["reset"]);
    assert_fails(
        &refused,
        1,
        &["Device or resource busy (1 client connected; disconnect it first)"],
    );
    drop(client);
    device.wait_until_alone();
    assert_eq!(device.ctl(&["reset"]), "");
    assert_eq!(device.status()["orig_data_size"], 0);
    device.served.stop(Signal::SIGTERM);
}

#[test]
fn the_socket_is_its_owners_and_a_live_one_is_not_taken() {
    let mut device = start(&[]);
    assert_eq!(device.control.metadata().unwrap().mode() & 0o777, 0o600);
    let other = tempfile::tempdir().unwrap();
    let socket = other.path().join("s");
    let control = device.control.to_str().unwrap().to_owned();
    let second = || {
        serve(&socket, &["--size", "1M", "--control", &control])
            .output()
            .unwrap()
    };
    assert_fails(&second(), 1, &["another server listens there", "--name"]);
    assert!(!socket.exists());
    // Of a server that was killed, it is replaced.
    device.served.kill();
    assert!(device.control.exists());
    let gone = device.ctl_output(&["mm_stat"]);
    assert_fails(&gone, 1, &["was killed"]);
    let again = Served::start(&["--size", "64M", "--control", &control]);
    assert!(device.ctl(&[]).contains("test"));
    again.stop(Signal::SIGINT);
    let gone = device.ctl_output(&[]);
    assert_fails(&gone, 1, &["no such device"]);
    // What is no socket stays.
    std::fs::write(&device.control, "x").unwrap();
    assert_fails(&second(), 1, &["no socket"]);
}

#[test]
fn names_are_the_next_free_number() {
    let dir = tempfile::tempdir().unwrap();
    if nix::unistd::geteuid().is_root() {
        // Root's sockets are those of the whole machine: here only that they are listed, beside
        // `place`'s own tests.
        let output = compcache().arg("ctl").output().unwrap();
        assert_succeeds(&output);
        return;
    }
    let serve = |nth: usize| {
        let nbd = format!("unix:{}", dir.path().join(nth.to_string()).display());
        let mut child = compcache()
            .args(["serve", "--size", "1M", "--mlock", "off", "--nbd", &nbd])
            .env("XDG_RUNTIME_DIR", dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        child
    };
    let mut children: Vec<_> = (0..2).map(serve).collect();
    let list = compcache()
        .args(["ctl", "-n", "-o", "NAME"])
        .env("XDG_RUNTIME_DIR", dir.path())
        .output()
        .unwrap();
    assert_eq!(assert_succeeds(&list), "compcache0\ncompcache1\n");
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn bad_requests_are_answered_and_hurt_nobody() {
    let device = start(&[]);
    let long = format!("{{\"version\":1,\"get\":\"{}\"}}", "x".repeat(8000));
    for (line, kind, part) in [
        ("", "invalid", "not a request"),
        ("{}", "invalid", "version"),
        ("[1]", "invalid", "not a request"),
        ("\u{0}", "invalid", "not a request"),
        (r#"{"version":1}"#, "invalid", "not a request"),
        (r#"{"version":2,"get":"mm_stat"}"#, "version", "speaks 1"),
        (
            r#"{"version":1,"get":"bd_state"}"#,
            "invalid",
            "no such attribute",
        ),
        (
            r#"{"version":1,"set":"mem_limit","value":"x"}"#,
            "invalid",
            "such as 64M",
        ),
        (
            r#"{"version":1,"set":"disksize","value":"1"}"#,
            "invalid",
            "while the device",
        ),
        (
            r#"{"version":1,"get":"recompress"}"#,
            "invalid",
            "nothing to read",
        ),
        (
            r#"{"version":1,"set":"recompress","value":"type=cold"}"#,
            "invalid",
            "huge_idle",
        ),
        (
            r#"{"version":1,"set":"writeback","value":"idle","progress":true}"#,
            "io",
            "backing_dev",
        ),
        (&long, "invalid", "at most 4096 bytes"),
    ] {
        let answer = ask(&device.control, line);
        assert_eq!(answer["version"], 1);
        assert_eq!(answer["failure"]["kind"], kind, "{line}: {answer}");
        let message = answer["failure"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{line}: {message}");
    }
    // Two requests in one segment, one in many.
    let mut stream = connect(&device.control);
    let get = "{\"version\":1,\"get\":\"initstate\"}\n";
    stream.write_all(get.repeat(2).as_bytes()).unwrap();
    for byte in get.bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let lines = BufReader::new(&stream).lines().take(3);
    for line in lines {
        assert_eq!(line.unwrap(), r#"{"version":1,"text":"1\n"}"#);
    }
    // More clients than are served at once wait; silent ones do not keep the server from stopping.
    let idle: Vec<UnixStream> = (0..20).map(|_| connect(&device.control)).collect();
    drop(stream);
    device.served.stop(Signal::SIGTERM);
    for mut stream in idle {
        let _ = stream.read(&mut [0]);
    }
}

#[test]
fn a_server_of_another_kind_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("odd.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let answers = [
        "nonsense\n",
        "",
        "{\"version\":9,\"text\":\"1\"}\n",
        "{\"version\":1,\"text\":\"1\"}\n",
        "{\"version\":2,\"failure\":{\"kind\":\"version\",\"message\":\"speaks 2\"}}\n",
    ];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    for part in [
        "expected",
        "hung up",
        "another version",
        "another answer",
        "speaks 2",
    ] {
        assert_fails(
            &run(&["ctl", path.to_str().unwrap()]),
            1,
            &["odd.sock", part],
        );
    }
    server.join().unwrap();
}
