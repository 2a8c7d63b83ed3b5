//! Under overwrites and deletes the file stays within 1.05 times its records' bytes, once it has
//! been cleaned.

mod common;

use common::{Book, Random, record};
use compcache_backing::{Backing, FileStore, MemoryStore, Options, Store, WriteError};
use std::sync::Arc;

const KEYS: u64 = 50_000;

fn size(random: &mut Random) -> usize {
    60 + random.below(4041) as usize
}

struct Simulation<S: Store + 'static> {
    store: Arc<S>,
    log: Backing,
    book: Book,
    random: Random,
    version: u64,
}

impl<S: Store + 'static> Simulation<S> {
    fn new(store: S, seed: u64) -> Self {
        let store = Arc::new(store);
        let log = Backing::new(Box::new(Arc::clone(&store)), Options::default()).unwrap();
        Self {
            store,
            log,
            book: Book::default(),
            random: Random(seed),
            version: 0,
        }
    }

    fn write(&mut self, keys: &[u64]) -> Result<(), WriteError> {
        self.version += 1;
        let batch: Vec<_> = keys
            .iter()
            .map(|&key| (key, self.version, size(&mut self.random)))
            .collect();
        self.book.write(&self.log, &batch)
    }

    fn clean(&mut self) {
        let mut calls = 0;
        while !self.book.clean(&self.log, 1 << 20).done {
            calls += 1;
            assert!(
                calls < 10_000,
                "cleaning does not end: {:?}",
                self.log.stats()
            );
        }
    }

    fn verify(&self) {
        let mut bytes = Vec::new();
        for (&key, held) in &self.book.held {
            self.log.read(key, held.token, &mut bytes).unwrap();
            assert!(bytes == record(key, held.version, held.len));
        }
    }
}

/// 50,000 records of 60 to 4100 bytes; then rounds in which a part of them is overwritten or
/// deleted. `churn` of them between two cleanings, in batches of `batch`.
fn overwrites(store: FileStore, churn: u64, batch: usize, rounds: u32) {
    let mut it = Simulation::new(store, 5);
    let keys: Vec<u64> = (0..KEYS).collect();
    for keys in keys.chunks(batch) {
        it.write(keys).unwrap();
    }
    let ratio = |it: &Simulation<FileStore>| {
        let file = it.store.allocated_bytes().unwrap();
        assert!(
            file.abs_diff(it.log.allocated_bytes()) < 1 << 20,
            "the log's book of blocks is wrong"
        );
        file as f64 / it.book.payload as f64
    };
    it.clean();
    let filled = ratio(&it);
    let (before, mut worst) = (it.log.stats(), filled);
    let mut wrote = 0;
    for round in 0..rounds {
        let mut done = 0;
        while done < churn {
            let keys: Vec<u64> = (0..batch).map(|_| it.random.below(KEYS)).collect();
            done += keys.len() as u64;
            if round % 4 == 3 {
                // A round of deletes and few writes.
                for key in &keys {
                    it.book.remove(*key);
                }
                it.write(&keys[..1]).unwrap();
            } else {
                it.write(&keys).unwrap();
            }
        }
        it.clean();
        worst = worst.max(ratio(&it));
    }
    let after = it.log.stats();
    wrote += after.payload_written - before.payload_written;
    let moved = after.bytes_written - before.bytes_written;
    let records = after.records_written - before.records_written;
    let by_owner = records - (after.records_moved - before.records_moved);
    println!(
        "churn {churn} batch {batch}: file/records {filled:.4} filled, worst {worst:.4}; \
         {by_owner} records by the owner, {} moved: write amplification {:.2}; \
         {:.2} store bytes per record byte",
        records - by_owner,
        records as f64 / by_owner as f64,
        moved as f64 / (wrote as f64 * by_owner as f64 / records as f64),
    );
    assert!(worst <= 1.05, "{worst}");
    it.verify();
}

fn file() -> (tempfile::TempDir, FileStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), 1 << 30).unwrap();
    if store.block_len() == 0 {
        panic!("the folder for temporary files cannot punch holes; set TMPDIR");
    }
    (dir, store)
}

#[test]
fn overwrites_of_a_tenth_between_two_cleanings() {
    overwrites(file().1, KEYS / 10, 64, 6);
}

#[test]
fn overwrites_of_a_hundredth_between_two_cleanings() {
    overwrites(file().1, KEYS / 100, 16, 30);
}

#[test]
fn single_records() {
    overwrites(file().1, KEYS / 5, 1, 3);
}

/// A device has no blocks to give back: segments are won when they run short, and the log goes on
/// at 90 % full.
#[test]
fn a_full_device_goes_on() {
    let mut it = Simulation::new(MemoryStore::dense(24 << 20), 9);
    // 2080 bytes each on average, with 25 more.
    let keys = (24u64 << 20) * 9 / 10 / 2105;
    for key in 0..keys {
        it.write(&[key]).unwrap();
    }
    let before = it.log.stats();
    let mut full = 0;
    for _ in 0..keys * 4 {
        let key = it.random.below(keys);
        match it.write(&[key]) {
            Ok(()) => {}
            Err(WriteError::Full) => {
                full += 1;
                it.book.clean(&it.log, 1 << 20);
            }
            Err(error) => panic!("{error}"),
        }
        it.book.clean(&it.log, 8 << 10);
    }
    let after = it.log.stats();
    let all = after.records_written - before.records_written;
    let moved = after.records_moved - before.records_moved;
    println!("device 90 % full: {moved} of {all} records moved, {full} times full");
    assert!(full * 100 < keys * 4, "{full}");
    it.verify();
    // And it can be filled no further than it is large; what is in it stays.
    let mut key = keys;
    loop {
        match it.write(&[key]) {
            Ok(()) => key += 1,
            Err(WriteError::Full) if it.book.clean(&it.log, u64::MAX).done => break,
            Err(WriteError::Full) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(key < keys * 2);
    }
    it.verify();
}

/// Everything deleted: everything is given back.
#[test]
fn nothing_live_takes_nothing() {
    let mut it = Simulation::new(MemoryStore::new(64 << 20), 3);
    for key in 0..2000 {
        it.write(&[key, key + 5000]).unwrap();
    }
    for key in 0..10_000 {
        it.book.remove(key);
    }
    it.clean();
    // The open segment is not looked at.
    assert!(it.store.allocated_bytes() <= 256 << 10);
    assert!(it.log.stats().segments_used <= 1);
}

/// One call does what it may, and no more.
#[test]
fn a_call_keeps_to_its_budget() {
    let mut it = Simulation::new(MemoryStore::new(256 << 20), 4);
    for key in 0..10_000 {
        it.write(&[key]).unwrap();
    }
    for key in (0..10_000).step_by(2) {
        it.book.remove(key);
    }
    let mut calls = 0;
    loop {
        let cleaned = it.book.clean(&it.log, 100 << 10);
        assert!(cleaned.bytes_read + cleaned.bytes_written <= (100 << 10) + (512 << 10));
        if cleaned.done {
            break;
        }
        calls += 1;
    }
    assert!(calls > 10);
    it.verify();
}

/// An owner that does not take the new place keeps the old one.
#[test]
fn moves_that_are_refused_lose_nothing() {
    let mut it = Simulation::new(MemoryStore::new(64 << 20), 6);
    it.book.refuse_moves = true;
    for round in 0..20 {
        for key in 0..2000 {
            if it.random.below(4) == 0 || round == 0 {
                it.write(&[key]).unwrap();
            }
        }
        for _ in 0..200 {
            it.book.clean(&it.log, 1 << 20);
        }
    }
    assert!(it.book.moves > 100);
    it.verify();
}
