//! Readers, a writer and a cleaner at once: the right bytes, or `Damaged` where the record has
//! been moved since.

mod common;

use common::{Random, record};
use compcache_backing::{Backing, Failing, Faults, MemoryStore, Options, Owner, ReadError, Token};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const KEYS: usize = 400;

/// A slot: token and version.
type Slot = Mutex<Option<(Token, u64)>>;

struct Table {
    slots: Vec<Slot>,
    live: Mutex<HashMap<u32, u64>>,
}

impl Table {
    fn link(&self, slot: &mut Option<(Token, u64)>, new: Option<(Token, u64)>) {
        let mut live = self.live.lock().unwrap();
        if let Some((token, _)) = new {
            *live.entry(token.segment()).or_default() += u64::from(token.units());
        }
        if let Some((token, _)) = *slot {
            *live.get_mut(&token.segment()).unwrap() -= u64::from(token.units());
        }
        *slot = new;
    }
}

struct Links<'a>(&'a Table);

impl Owner for Links<'_> {
    fn wanted(&mut self, key: u64, token: Token) -> bool {
        let slot = self.0.slots[key as usize].lock().unwrap();
        slot.is_some_and(|(now, _)| now == token)
    }

    fn moved(&mut self, key: u64, old: Token, new: Token) -> bool {
        let mut slot = self.0.slots[key as usize].lock().unwrap();
        match *slot {
            Some((now, version)) if now == old => {
                self.0.link(&mut slot, Some((new, version)));
                true
            }
            _ => false,
        }
    }
}

fn length(key: usize, version: u64) -> usize {
    100 + (key * 37 + version as usize * 911) % 4000
}

#[test]
fn readers_beside_writes_and_cleaning() {
    let log = Backing::new(Box::new(MemoryStore::new(4 << 20)), Options::default()).unwrap();
    let table = Table {
        slots: (0..KEYS).map(|_| Slot::default()).collect(),
        live: Mutex::default(),
    };
    let stop = AtomicBool::new(false);
    let (reads, again, moved) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (log, table, stop) = (&log, &table, &stop);
            scope.spawn(move || {
                let mut random = Random(writer);
                let mut version = writer;
                let mut tokens = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    version += 2;
                    let first = random.below(KEYS as u64 - 8) as usize;
                    let batch: Vec<_> = (first..first + 8)
                        .map(|key| {
                            (
                                key as u64,
                                record(key as u64, version, length(key, version)),
                            )
                        })
                        .collect();
                    let records: Vec<_> = batch
                        .iter()
                        .map(|(key, it)| (*key, it.as_slice()))
                        .collect();
                    // Full: the cleaner is behind.
                    let Ok(pinned) = log.write(&records, &mut tokens) else {
                        std::thread::yield_now();
                        continue;
                    };
                    for (&(key, _), &token) in records.iter().zip(&tokens) {
                        let mut slot = table.slots[key as usize].lock().unwrap();
                        table.link(&mut slot, Some((token, version)));
                    }
                    drop(pinned);
                }
            });
        }
        for reader in 0..2 {
            let (log, table, stop, reads, again) = (&log, &table, &stop, &reads, &again);
            scope.spawn(move || {
                let mut random = Random(100 + reader);
                let mut bytes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let key = random.below(KEYS as u64);
                    let look = || *table.slots[key as usize].lock().unwrap();
                    let Some((token, version)) = look() else {
                        continue;
                    };
                    match log.read(key, token, &mut bytes) {
                        Ok(()) => {
                            assert!(bytes == record(key, version, length(key as usize, version)));
                            reads.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(ReadError::Damaged) => {
                            assert_ne!(look(), Some((token, version)), "a live record is gone");
                            again.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            let live = |segment: u32| {
                table
                    .live
                    .lock()
                    .unwrap()
                    .get(&segment)
                    .copied()
                    .unwrap_or(0)
            };
            let cleaned = log.clean(&mut { live }, &mut Links(&table), 256 << 10);
            moved.fetch_add(cleaned.records_moved, Ordering::Relaxed);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let figures = [reads, again, moved].map(AtomicU64::into_inner);
    println!(
        "reads {}, overtaken {}, moved {}",
        figures[0], figures[1], figures[2]
    );
    assert!(figures[0] > 1000 && figures[2] > 100);
}

/// A write that stands still for a second keeps no reader waiting.
#[test]
fn a_stalled_write_does_not_stop_reads() {
    let store = Arc::new(Failing::new(
        MemoryStore::new(4 << 20),
        1,
        Faults::default(),
    ));
    let log = Backing::new(Box::new(SlowWrites(Arc::clone(&store))), Options::default()).unwrap();
    let mut tokens = Vec::new();
    drop(log.write(&[(1, b"one")], &mut tokens).unwrap());
    let token = tokens[0];
    store.set(Faults {
        stall: 1000,
        stall_time: Duration::from_secs(1),
        ..Faults::default()
    });
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let writing = scope.spawn(|| {
            let mut tokens = Vec::new();
            drop(log.write(&[(2, b"two")], &mut tokens).unwrap());
        });
        std::thread::sleep(Duration::from_millis(100));
        let mut bytes = Vec::new();
        let mut reads = 0;
        while !writing.is_finished() {
            log.read(1, token, &mut bytes).unwrap();
            assert_eq!(bytes, b"one");
            let _ = log.stats();
            reads += 1;
        }
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert!(reads > 1000, "{reads}");
    });
}

/// Writes go through the failing store, reads past it.
struct SlowWrites(Arc<Failing<MemoryStore>>);

impl compcache_backing::Store for SlowWrites {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.inner().read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn discard(&self, offset: u64, len: u64) -> std::io::Result<()> {
        self.0.inner().discard(offset, len)
    }
    fn len(&self) -> u64 {
        self.0.len()
    }
    fn span(&self) -> u64 {
        self.0.span()
    }
    fn block_len(&self) -> u64 {
        self.0.block_len()
    }
}
