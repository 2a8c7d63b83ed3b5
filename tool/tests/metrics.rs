//! `--metrics`: a scrape that a strict reader of the text format takes, and bad HTTP.
#![cfg(feature = "nbd")]

mod common;
#[path = "common/exposition.rs"]
mod exposition;
#[path = "common/serving.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod serving;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::assert_fails;
use exposition::Exposition;
use nix::sys::signal::Signal;
use serving::{Served, serve, write};

/// A port that nobody has at this moment.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// What comes back for these bytes, until the end of the connection.
fn talk(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    // A connection that is closed with bytes unread may end in a reset.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn scrape(address: &str) -> Exposition {
    let answer = talk(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{head}"
    );
    Exposition::read(body).unwrap_or_else(|error| panic!("{error}\n{body}"))
}

#[test]
fn a_scrape_says_what_the_device_holds() {
    let address = free_address();
    let served = Served::start(&["--size", "64M", "--metrics", &address, "--name", "web"]);
    let mut client = served.connect();
    for nth in 0..10u64 {
        let page: Vec<u8> = b"words and words "
            .iter()
            .copied()
            .cycle()
            .take(4096)
            .collect();
        write(&mut client, nth * 4096, &page);
    }
    let page = scrape(&address);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = [&[("device", "web")], labels].concat();
        page.value(name, &labels)
            .unwrap_or_else(|| panic!("no {name} {labels:?}"))
    };
    assert_eq!(value("compcache_disksize_bytes", &[]), 67_108_864.0);
    assert_eq!(value("compcache_orig_data_size_bytes", &[]), 40_960.0);
    assert_eq!(value("compcache_clients", &[]), 1.0);
    assert!(value("compcache_mem_used_total_bytes", &[]) > 4096.0);
    assert_eq!(value("compcache_pages_written_total", &[]), 10.0);
    assert_eq!(value("compcache_stored_pages", &[("le", "256")]), 10.0);
    let write = [("kind", "write")];
    assert_eq!(value("compcache_request_bytes_total", &write), 40_960.0);
    assert_eq!(
        value("compcache_request_duration_seconds_count", &write),
        10.0
    );
    // What the documentation lists is there, and nothing else.
    let documented = include_str!("../../docs/metrics.md");
    for name in page.families() {
        assert!(
            documented.contains(&format!("`{name}`")),
            "{name} is not documented"
        );
    }
    for name in documented
        .split('`')
        .filter(|word| word.starts_with("compcache_") && !word.contains(['{', ' ', '(']))
    {
        assert!(
            page.families().any(|family| family == name),
            "{name} is not there"
        );
    }
    drop(client);
    served.stop(Signal::SIGTERM);
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn bad_http_is_refused_and_hurts_nobody() {
    let address = free_address();
    let served = Served::start(&["--size", "1M", "--metrics", &address]);
    let long = [b"GET /metrics HTTP/1.1\r\nX: ", [b'x'; 9000].as_slice()].concat();
    for (request, status) in [
        (b"POST /metrics HTTP/1.1\r\n\r\n".as_slice(), "405 "),
        (b"GET / HTTP/1.1\r\n\r\n", "404 "),
        (b"\x16\x03\x01\x02\r\n\r\n", "400 "),
        (b"GET /metrics HTTP/9.9\r\n\r\n", "400 "),
        (&long, "431 "),
    ] {
        let answer = talk(&address, request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    let head = talk(&address, b"HEAD /metrics HTTP/1.0\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    // Half a request, and none: neither keeps others waiting, or the server from stopping.
    let mut half = TcpStream::connect(&address).unwrap();
    half.write_all(b"GET /met").unwrap();
    let silent = TcpStream::connect(&address).unwrap();
    scrape(&address);
    served.stop(Signal::SIGTERM);
    drop((half, silent));
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let output = serve(&socket, &["--size", "1M", "--metrics", &address])
        .output()
        .unwrap();
    assert_fails(&output, 1, &["--metrics", "another address"]);
    assert!(!socket.exists());
}
