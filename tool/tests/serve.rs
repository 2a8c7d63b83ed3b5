//! `serve`: bad clients, many clients, slow clients; starting, stopping and starting again.
#![cfg(feature = "nbd")]

mod common;
#[path = "common/serving.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod serving;

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use common::{assert_fails, compcache, run};
use compcache_nbd::probe::{Ask, Client, command, option_bytes, request_bytes};
use nix::sys::signal::Signal;
use serving::Served;

const ENOSPC: u32 = 28;
const EINVAL: u32 = 22;

fn ask(command: u16, offset: u64, len: u32) -> Ask {
    Ask {
        command,
        offset,
        len,
        ..Ask::default()
    }
}

/// A page that tells its number and does not compress to nothing.
fn page(number: u64) -> Vec<u8> {
    let words = (0..512u64).map(|nth| match nth % 3 {
        0 => number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ nth << 40,
        _ => number,
    });
    words.flat_map(u64::to_le_bytes).collect()
}

#[track_caller]
fn assert_serves(served: &Served) {
    let mut client = served.connect();
    let write = client
        .call(ask(command::WRITE, 4096, 4096), &page(1))
        .unwrap();
    assert_eq!(write.error, 0);
    let read = client.call(ask(command::READ, 4096, 4096), &[]).unwrap();
    assert!(read.data == page(1));
}

#[test]
fn a_client_killed_within_a_request_hurts_nobody() {
    let served = Served::start(&["--size", "64M"]);
    let mut other = served.connect();
    let old = page(9);
    other.call(ask(command::WRITE, 0, 4096), &old).unwrap();
    for cut in [1, 27, 28, 29, 28 + 4095] {
        let mut client = served.connect();
        let mut bytes = request_bytes(ask(command::WRITE, 0, 4096), 1);
        bytes.extend(page(2));
        client.stream.write_all(&bytes[..cut]).unwrap();
        drop(client);
    }
    // With its answers not taken.
    let mut client = served.connect();
    for _ in 0..64 {
        client.send(ask(command::READ, 0, 1 << 20), 1, &[]).unwrap();
    }
    drop(client);
    assert!(other.call(ask(command::READ, 0, 4096), &[]).unwrap().data == old);
    drop(other);
    served.stop(Signal::SIGTERM);
}

#[test]
fn garbage_at_every_stage_ends_that_client_only() {
    let served = Served::start(&["--size", "1M"]);
    let mut garbage = vec![0xa5; 5000];
    for stage in 0..4 {
        for first in [0, b'I', 0x25, 0xff] {
            garbage[0] = first;
            let mut bytes = match stage {
                0 => served.stream(),
                1 => Client::greet(served.stream()).unwrap().stream,
                2 => {
                    let mut client = Client::greet(served.stream()).unwrap();
                    client.stream.write_all(&option_bytes(7, &garbage)).unwrap();
                    client.stream
                }
                _ => served.connect().stream,
            };
            // It may have hung up before everything was written.
            let _ = bytes.write_all(&garbage);
            let _ = bytes.shutdown(std::net::Shutdown::Write);
            let _ = bytes.read_to_end(&mut Vec::new());
        }
    }
    assert_serves(&served);
    served.stop(Signal::SIGTERM);
}

#[test]
fn a_slow_client_holds_up_nobody() {
    let served = Served::start(&["--size", "64M"]);
    // Asks for 64 MiB and takes nothing.
    let mut slow = served.connect();
    for _ in 0..64 {
        slow.send(ask(command::READ, 0, 1 << 20), 1, &[]).unwrap();
    }
    // Says nothing; sends half an option, byte by byte.
    let silent = served.stream();
    let mut dripping = Client::greet(served.stream()).unwrap();
    for byte in &option_bytes(7, b"")[..10] {
        dripping.stream.write_all(&[*byte]).unwrap();
    }
    let mut quick = served.connect();
    for nth in 0..2000 {
        let read = quick.call(ask(command::READ, nth % 64 * 4096, 4096), &[]);
        assert_eq!(read.unwrap().error, 0);
    }
    drop((quick, silent, dripping));
    // It takes its answers after all.
    for _ in 0..64 {
        assert_eq!(
            slow.answer(ask(command::READ, 0, 1 << 20)).unwrap().error,
            0
        );
    }
    drop(slow);
    served.stop(Signal::SIGTERM);
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_at_the_end() {
    let served = Served::start(&["--size", "64M"]);
    let mut slow = served.connect();
    for _ in 0..64 {
        slow.send(ask(command::READ, 0, 1 << 20), 1, &[]).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    let mut served = served;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(served.pid()), Signal::SIGTERM).unwrap();
    let output = served.finish();
    assert_eq!(output.0, Some(0));
    assert!(output.1.contains("1 clients did not take"), "{}", output.1);
    assert!(!served.socket().exists());
}

#[test]
fn a_hundred_clients_at_once_and_no_more_than_allowed() {
    let served = Served::start(&["--size", "64M", "--connections", "100"]);
    std::thread::scope(|scope| {
        for number in 0..100u64 {
            let mut client = served.connect();
            scope.spawn(move || {
                for round in 0..20 {
                    let at = (number * 20 + round) * 4096;
                    let data = page(at);
                    let write = client.call(ask(command::WRITE, at, 4096), &data).unwrap();
                    let read = client.call(ask(command::READ, at, 4096), &[]).unwrap();
                    assert!(write.error == 0 && read.data == data);
                }
                client
            });
        }
    });
    let clients: Vec<_> = (0..100).map(|_| connect_patiently(&served)).collect();
    // The one too many is disconnected before the greeting.
    let mut more = served.stream();
    let mut greeting = Vec::new();
    let _ = more.read_to_end(&mut greeting);
    assert!(greeting.is_empty());
    drop(clients);
    connect_patiently(&served);
    served.stop(Signal::SIGTERM);
}

/// Places are free again a moment after a client has gone.
fn connect_patiently(served: &Served) -> Client<UnixStream> {
    for _ in 0..200 {
        if let Ok(client) = Client::connect(served.stream(), "", true) {
            return client;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no place is free");
}

#[test]
fn odd_requests_are_refused_and_the_connection_goes_on() {
    let served = Served::start(&["--size", "16M"]);
    let mut client = served.connect();
    let size = 16 << 20;
    let huge = u32::MAX - 511;
    for (request, error) in [
        (ask(command::READ, size, 512), EINVAL),
        (ask(command::READ, u64::MAX - 511, 512), EINVAL),
        (ask(command::READ, 0, huge), EINVAL),
        (ask(command::TRIM, 0, huge), EINVAL),
        (ask(command::WRITE_ZEROES, 0, huge), ENOSPC),
        (ask(command::BLOCK_STATUS, 0, huge), EINVAL),
        (ask(command::READ, 0, 0), 0),
        (ask(command::TRIM, 0, 0), 0),
        (ask(command::WRITE_ZEROES, size, 0), 0),
        (ask(command::FLUSH, 0, 0), 0),
    ] {
        assert_eq!(
            client.call(request, &[]).unwrap().error,
            error,
            "{request:?}"
        );
    }
    let past = client
        .call(ask(command::WRITE, size, 4096), &page(1))
        .unwrap();
    assert_eq!(past.error, ENOSPC);
    // A write of nearly 4 GiB that never comes: the server waits for it, and for nothing else.
    client
        .send(ask(command::WRITE, 0, huge), 1, &page(1))
        .unwrap();
    assert_serves(&served);
    drop(client);
    served.stop(Signal::SIGTERM);
}

#[test]
fn four_gigabytes_of_trim_and_zeroes() {
    let served = Served::start(&["--size", "5G"]);
    let mut client = served.connect();
    let most = u32::MAX - 4095;
    client
        .call(ask(command::WRITE, 4096, 4096), &page(1))
        .unwrap();
    let read = ask(command::READ, 4096, 4096);
    for command in [command::TRIM, command::WRITE_ZEROES] {
        assert_eq!(client.call(ask(command, 0, most), &[]).unwrap().error, 0);
        assert!(client.call(read, &[]).unwrap().data == [0; 4096]);
    }
    let status = client
        .call(ask(command::BLOCK_STATUS, 0, most), &[])
        .unwrap();
    assert_eq!(status.extents, [(1 << 30, 3)]);
    served.stop(Signal::SIGTERM);
}

#[test]
fn at_the_memory_limit_old_pages_stay() {
    let served = Served::start(&["--size", "64M", "--mem-limit", "2M", "--codec", "raw"]);
    let mut client = served.connect();
    let mut stored = 0;
    let error = loop {
        let write = ask(command::WRITE, stored * 4096, 4096);
        match client.call(write, &page(stored)).unwrap().error {
            0 => stored += 1,
            error => break error,
        }
    };
    assert_eq!(error, ENOSPC);
    assert!((400..=512).contains(&stored), "{stored}");
    for number in 0..stored {
        let read = client.call(ask(command::READ, number * 4096, 4096), &[]);
        assert!(read.unwrap().data == page(number), "{number}");
    }
    client.call(ask(command::TRIM, 0, 1 << 20), &[]).unwrap();
    let again = ask(command::WRITE, stored * 4096, 4096);
    assert_eq!(client.call(again, &page(stored)).unwrap().error, 0);
    drop(client);
    served.stop(Signal::SIGTERM);
}

#[test]
fn memory_comes_back_also_where_it_is_locked() {
    let served = Served::start(&["--size", "1G", "--mlock", "auto"]);
    let before = served.resident();
    let mut client = served.connect();
    let pages: Vec<u8> = (0..64).flat_map(page).collect();
    for nth in 0..256u64 {
        let write = ask(command::WRITE, nth << 18, 1 << 18);
        assert_eq!(client.call(write, &pages).unwrap().error, 0);
    }
    let full = served.resident();
    assert!(full > before + (16 << 20), "{before} {full}");
    client.call(ask(command::TRIM, 0, 1 << 30), &[]).unwrap();
    let after = served.resident();
    assert!(after < before + (8 << 20), "{before} {full} {after}");
}

#[test]
fn a_killed_server_is_followed_by_the_next() {
    let mut first = Served::start(&["--size", "1M"]);
    let socket = format!("unix:{}", first.socket().display());
    let second = run(&["serve", "--size", "1M", "--mlock", "off", "--nbd", &socket]);
    assert_fails(&second, 1, &[&socket, "another server is listening"]);
    first.kill();
    assert!(first.socket().exists());
    let mut next = compcache()
        .args(["serve", "--size", "1M", "--mlock", "off", "--nbd", &socket])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 4];
    next.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_serves(&first);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(next.id().cast_signed()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(next.wait().unwrap().code(), Some(0));
    assert!(!first.socket().exists());
}

#[test]
fn places_that_cannot_be_served_are_status_1() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("unix:{}", dir.path().join(name).display());
    std::fs::write(dir.path().join("file"), "precious").unwrap();
    let serve = |arguments: &[&str]| {
        let fixed = ["serve", "--size", "1M", "--mlock", "off"];
        run(&[&fixed, arguments].concat())
    };
    let (file, missing) = (at("file"), at("no/s"));
    assert_fails(&serve(&["--nbd", &file]), 1, &["no socket"]);
    assert_fails(&serve(&["--nbd", &missing]), 1, &["no such directory"]);
    // One that can be served does not stay behind when the next cannot.
    let good = at("good");
    assert_fails(&serve(&["--nbd", &good, "--nbd", &file]), 1, &["no socket"]);
    assert!(!dir.path().join("good").exists());
    let long = "x".repeat(5000);
    assert_fails(&serve(&["--nbd", &good, "--export", &long]), 1, &["4096"]);
}

#[test]
fn systemd_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut child = compcache()
        .args(["serve", "--size", "1M", "--mlock", "off", "--notify"])
        .args(["--nbd", &format!("unix:{}", dir.path().join("s").display())])
        .env("NOTIFY_SOCKET", &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let hear = |expected: &str| {
        let mut message = [0; 100];
        let len = manager.recv(&mut message).unwrap();
        assert!(message[..len].starts_with(expected.as_bytes()));
    };
    hear("READY=1");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().cast_signed()),
        Signal::SIGTERM,
    )
    .unwrap();
    hear("STOPPING=1");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
