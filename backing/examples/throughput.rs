//! How fast records are written and read back: `throughput PATH [MIB]`. A file in a folder for
//! temporary files in memory shows what the log itself takes, one on a disk the rest.

use compcache_backing::{Backing, FileStore, Options, Owner, Token};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const RECORD_LEN: usize = 1400;
const BATCH: usize = 180;

struct Keeps;

impl Owner for Keeps {
    fn wanted(&mut self, _: u64, _: Token) -> bool {
        true
    }
    fn moved(&mut self, _: u64, _: Token, _: Token) -> bool {
        false
    }
}

fn speed(what: &str, count: usize, took: Duration) {
    let micros = took.as_secs_f64() * 1e6;
    let (each, rate) = (micros / count as f64, (count * RECORD_LEN) as f64 / micros);
    let _ = writeln!(
        std::io::stdout(),
        "{what:32} {each:8.2} us a record {rate:8.0} MB/s"
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: throughput PATH [MIB]")?;
    let mib: usize = arguments.next().map_or(Ok(256), |it| it.parse())?;
    let store = std::sync::Arc::new(FileStore::open(Path::new(&path), (mib as u64) << 22)?);
    let log = Backing::new(Box::new(std::sync::Arc::clone(&store)), Options::default())?;
    let count = (mib << 20) / RECORD_LEN;
    let bytes: Vec<u8> = (0..RECORD_LEN * 64).map(|at| (at * at / 7) as u8).collect();
    let record = |key: usize| &bytes[key % 64 * RECORD_LEN..][..RECORD_LEN];

    let mut tokens = Vec::with_capacity(count);
    let mut some = Vec::new();
    let begun = Instant::now();
    for first in (0..count).step_by(BATCH) {
        let batch: Vec<_> = (first..count.min(first + BATCH))
            .map(|key| (key as u64, record(key)))
            .collect();
        drop(log.write(&batch, &mut some)?);
        tokens.extend_from_slice(&some);
    }
    speed("write, batches of 180", count, begun.elapsed());

    let mut out = Vec::new();
    let begun = Instant::now();
    for (key, &token) in tokens.iter().enumerate() {
        log.read(key as u64, token, &mut out)?;
    }
    speed("read, in order", count, begun.elapsed());
    let scattered = |step: usize| (step * 7919) % count;
    let reads = count.min(40_000);
    let begun = Instant::now();
    for key in (0..reads).map(scattered) {
        log.read(key as u64, tokens[key], &mut out)?;
        if out != record(key) {
            return Err("other bytes".into());
        }
    }
    speed("read, scattered", reads, begun.elapsed());

    let begun = Instant::now();
    for key in 0..count.min(40_000) {
        drop(log.write(&[(key as u64, record(key))], &mut some)?);
    }
    speed("write, one by one", count.min(40_000), begun.elapsed());

    let mut live = vec![0u64; 1 << 20];
    for token in &tokens {
        live[token.segment() as usize] += u64::from(token.units());
    }
    let cleaned = log.clean(&mut |segment| live[segment as usize], &mut Keeps, u64::MAX);
    let file = store.allocated_bytes()? as f64 / (count * RECORD_LEN) as f64;
    let _ = writeln!(
        std::io::stdout(),
        "file/records {file:.4} after {} segments of dead records were given back",
        cleaned.segments_freed
    );
    Ok(())
}
