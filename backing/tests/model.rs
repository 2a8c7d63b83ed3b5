//! Beside a map from key to bytes, over a store that fails, lies and forgets: no wrong bytes, and
//! what was written well before something failed is still there.

mod common;

use common::{Book, Random, record};
use compcache_backing::{
    Backing, Failing, Faults, MemoryStore, Options, ReadError, Token, WriteError,
};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<(u64, usize)>),
    Remove(u64),
    Read(u64),
    ReadStale(usize),
    Clean(u64),
    Faults(Faults),
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1usize..4100,
        2 => 1usize..40,
        1 => 4096usize..65_601,
    ]
}

fn faults() -> impl Strategy<Value = Faults> {
    let chance = || prop_oneof![3 => Just(0u16), 1 => 1u16..300];
    (
        chance(),
        chance(),
        chance(),
        chance(),
        chance(),
        chance(),
        chance(),
    )
        .prop_map(
            |(read_error, short_read, bit_flip, write_error, no_space, lie, discard_error)| {
                Faults {
                    read_error,
                    short_read,
                    bit_flip,
                    write_error,
                    no_space,
                    lie,
                    discard_error,
                    ..Faults::default()
                }
            },
        )
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0u64..60;
    prop_oneof![
        8 => prop::collection::vec((key(), length()), 1..40).prop_map(Op::Write),
        3 => key().prop_map(Op::Remove),
        4 => key().prop_map(Op::Read),
        1 => any::<usize>().prop_map(Op::ReadStale),
        4 => (0u64..1 << 20).prop_map(Op::Clean),
        2 => faults().prop_map(Op::Faults),
    ]
}

struct Model {
    store: Arc<Failing<MemoryStore>>,
    log: Backing,
    book: Book,
    stale: Vec<(u64, Token)>,
    version: u64,
    /// No write has lied yet.
    honest: bool,
}

impl Model {
    fn new(store: MemoryStore, seed: u64) -> Self {
        let store = Arc::new(Failing::new(store, seed, Faults::default()));
        let log = Backing::new(Box::new(Arc::clone(&store)), Options::default()).unwrap();
        Self {
            store,
            log,
            book: Book::default(),
            stale: Vec::new(),
            version: 0,
            honest: true,
        }
    }

    fn write(&mut self, mut batch: Vec<(u64, usize)>) {
        batch.sort_unstable();
        batch.dedup_by_key(|(key, _)| *key);
        self.version += 1;
        let batch: Vec<_> = batch
            .into_iter()
            .map(|(key, len)| (key, self.version, len))
            .collect();
        let old: Vec<_> = batch
            .iter()
            .filter_map(|(key, ..)| Some((*key, self.book.held.get(key)?.token)))
            .collect();
        match self.book.write(&self.log, &batch) {
            Ok(()) => self.stale.extend(old),
            Err(WriteError::Io(_) | WriteError::Full) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The right bytes or an error, whatever goes wrong.
    fn read(&self, key: u64) {
        let Some(held) = self.book.held.get(&key) else {
            return;
        };
        let mut bytes = vec![1];
        match self.log.read(key, held.token, &mut bytes) {
            Ok(()) => assert!(bytes == record(key, held.version, held.len), "wrong bytes"),
            Err(_) => assert!(bytes.is_empty(), "bytes beside an error"),
        }
    }

    /// A token that was given up: the bytes it had, or an error.
    fn read_stale(&self, key: u64, token: Token) {
        let mut bytes = Vec::new();
        if self.log.read(key, token, &mut bytes).is_ok() {
            let held = self.book.held.get(&key);
            let old = (0..=self.version).any(|version| bytes == record(key, version, bytes.len()));
            assert!(old, "{token:?} of {key}, now {held:?}");
        }
    }

    /// With a store that is well again, everything that was written well is there.
    fn verify_all(&mut self) {
        self.store.set(Faults::default());
        for (&key, held) in &self.book.held {
            let mut bytes = Vec::new();
            match self.log.read(key, held.token, &mut bytes) {
                Ok(()) => assert!(bytes == record(key, held.version, held.len), "wrong bytes"),
                Err(ReadError::Damaged) => assert!(!self.honest, "{held:?} of {key} is lost"),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Write(batch) => self.write(batch),
            Op::Remove(key) => {
                if let Some(held) = self.book.held.get(&key) {
                    self.stale.push((key, held.token));
                }
                self.book.remove(key);
            }
            Op::Read(key) => self.read(key),
            Op::ReadStale(choice) => {
                if let Some(&(key, token)) = self.stale.get(choice % self.stale.len().max(1)) {
                    self.read_stale(key, token);
                }
            }
            Op::Clean(budget) => {
                self.book.clean(&self.log, budget);
            }
            Op::Faults(faults) => self.store.set(faults),
        }
        self.honest &= self.store.injected().lies == 0;
    }
}

fn run(mut model: Model, ops: Vec<Op>) {
    for op in ops {
        model.run(op);
    }
    model.verify_all();
    // Nor has cleaning without faults lost anything.
    for _ in 0..100 {
        if model.book.clean(&model.log, 1 << 20).done {
            break;
        }
    }
    model.verify_all();
    // The log's own book of blocks agrees with the store's.
    let stats = model.log.stats();
    assert!(model.store.inner().allocated_bytes() <= stats.allocated);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn sparse(seed in any::<u64>(), ops in prop::collection::vec(op(), 1..120)) {
        run(Model::new(MemoryStore::new(4 << 20), seed), ops);
    }

    #[test]
    fn dense(seed in any::<u64>(), ops in prop::collection::vec(op(), 1..120)) {
        run(Model::new(MemoryStore::dense(2 << 20), seed), ops);
    }
}

/// Long, with everything failing now and then, and a check that it did.
#[test]
fn everything_fails_now_and_then() {
    let mut model = Model::new(MemoryStore::new(8 << 20), 1);
    let mut random = Random(2);
    for round in 0..3000u32 {
        let batch = (0..1 + random.below(12))
            .map(|_| (random.below(2000), 1 + random.below(4100) as usize))
            .collect();
        // A while of everything, a while of nothing.
        let chance = if round / 50 % 2 == 0 { 30 } else { 0 };
        model.store.set(Faults::all(chance));
        model.run(Op::Write(batch));
        for _ in 0..4 {
            model.run(Op::Read(random.below(2000)));
        }
        model.run(Op::Remove(random.below(2000)));
        model.run(Op::Clean(64 << 10));
    }
    let injected = model.store.injected();
    assert!(injected.read_errors > 50 && injected.short_reads > 50 && injected.bit_flips > 50);
    assert!(injected.write_errors > 20 && injected.no_space > 20 && injected.lies > 20);
    assert!(injected.discard_errors > 5 && injected.stalls > 50);
    model.verify_all();
    let stats = model.log.stats();
    assert!(stats.damaged > 0 && stats.read_errors > 0 && stats.write_errors > 0);
}

/// After each failed write all earlier records read back, and the next write succeeds.
#[test]
fn a_failed_write_harms_nothing_before_it() {
    for how in [
        Faults {
            write_error: 1000,
            ..Faults::default()
        },
        Faults {
            no_space: 1000,
            ..Faults::default()
        },
    ] {
        let mut model = Model::new(MemoryStore::new(16 << 20), 7);
        for round in 0..120 {
            model.write((0..3).map(|n| (round * 3 + n, 1400 + n as usize)).collect());
            let held = model.book.held.len();
            model.store.set(how);
            // Up to several segments long.
            model.write((0..1 + round * 3).map(|n| (10_000 + n, 1400)).collect());
            assert_eq!(model.book.held.len(), held, "a failed write counts");
            model.verify_all();
        }
        assert!(model.log.stats().write_errors >= 120);
        for _ in 0..100 {
            model.book.clean(&model.log, 1 << 20);
        }
        model.verify_all();
    }
}

/// A batch that is larger than what is left: an error, and nothing changed.
#[test]
fn a_batch_too_large_for_the_store_is_refused() {
    for store in [MemoryStore::new(4 << 20), MemoryStore::dense(4 << 20)] {
        let mut model = Model::new(store, 8);
        model.write((0..500).map(|key| (key, 4000)).collect());
        assert_eq!(model.book.held.len(), 500);
        let before = model.log.stats();
        model.write((500..1500).map(|key| (key, 4000)).collect());
        assert_eq!(model.book.held.len(), 500);
        assert_eq!(model.log.stats().write_errors, before.write_errors);
        while !model.book.clean(&model.log, 1 << 20).done {}
        model.verify_all();
        model.write((500..600).map(|key| (key, 4000)).collect());
        assert_eq!(model.book.held.len(), 600);
        model.verify_all();
    }
}

#[test]
fn lengths_out_of_range_are_refused() {
    let model = Model::new(MemoryStore::new(4 << 20), 9);
    let mut tokens = vec![Token::new(1, 1, 1).unwrap()];
    for len in [0, 65_601, 1 << 20] {
        let bytes = vec![1; len];
        let error = model
            .log
            .write(&[(1, b"good"), (2, &bytes)], &mut tokens)
            .unwrap_err();
        assert!(matches!(error, WriteError::BadLength { len: told } if told == len));
        assert!(tokens.is_empty());
    }
    assert!(model.log.write(&[], &mut tokens).is_ok());
    assert_eq!(model.store.inner().allocated_bytes(), 0);
}

/// Tokens out of the air, and of other keys.
#[test]
fn forged_tokens_are_damaged() {
    let mut model = Model::new(MemoryStore::new(4 << 20), 10);
    model.write((0..50).map(|key| (key, 1000)).collect());
    let mut bytes = Vec::new();
    let mut random = Random(11);
    for _ in 0..20_000 {
        let Some(token) = Token::from_bits(random.next() >> (8 + random.below(40))) else {
            continue;
        };
        let key = random.below(50);
        if model.book.held[&key].token != token {
            assert!(matches!(
                model.log.read(key, token, &mut bytes),
                Err(ReadError::Damaged)
            ));
        }
    }
    for key in 0..50 {
        let token = model.book.held[&((key + 1) % 50)].token;
        assert!(matches!(
            model.log.read(key, token, &mut bytes),
            Err(ReadError::Damaged)
        ));
    }
}
