//! The backing log beside a map, over a store that fails, lies and forgets: no wrong bytes, no
//! loss of what was written before something failed.
#![no_main]

mod model_common;

use compcache_backing::{
    Backing, Failing, Faults, MemoryStore, Options, Owner, ReadError, Token, WriteError,
};
use libfuzzer_sys::fuzz_target;
use model_common::{Input, OPS_MAX, pattern};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Bytes of all records that one input writes.
const BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy)]
struct Held {
    token: Token,
    seed: u64,
    len: usize,
}

#[derive(Default)]
struct Book {
    held: BTreeMap<u64, Held>,
    live: HashMap<u32, u64>,
    refuses: bool,
}

impl Book {
    fn link(&mut self, key: u64, new: Option<Held>) -> Option<Held> {
        let old = match new {
            Some(new) => {
                *self.live.entry(new.token.segment()).or_default() += u64::from(new.token.units());
                self.held.insert(key, new)
            }
            None => self.held.remove(&key),
        };
        if let Some(old) = old {
            let live = self.live.get_mut(&old.token.segment()).unwrap();
            *live -= u64::from(old.token.units());
        }
        old
    }
}

struct Shared<'a>(&'a RefCell<Book>);

impl Owner for Shared<'_> {
    fn wanted(&mut self, key: u64, token: Token) -> bool {
        let book = self.0.borrow();
        book.held.get(&key).is_some_and(|held| held.token == token)
    }

    fn keep(&mut self, key: u64, token: Token, bytes: &[u8]) -> bool {
        let held = self.0.borrow().held[&key];
        assert_eq!(held.token, token);
        assert!(bytes == pattern(held.seed, held.len));
        true
    }

    fn moved(&mut self, key: u64, _: Token, token: Token) -> bool {
        let mut book = self.0.borrow_mut();
        if book.refuses && key.is_multiple_of(2) {
            return false;
        }
        let held = book.held[&key];
        book.link(key, Some(Held { token, ..held }));
        true
    }
}

fn faults(input: &mut Input<'_>) -> Faults {
    let mut chance = || {
        let byte = input.byte();
        if byte < 128 {
            0
        } else {
            u16::from(byte - 127) * 8
        }
    };
    Faults {
        read_error: chance(),
        short_read: chance(),
        bit_flip: chance(),
        write_error: chance(),
        no_space: chance(),
        lie: chance(),
        discard_error: chance(),
        ..Faults::default()
    }
}

fn write(log: &Backing, book: &RefCell<Book>, seed: u64, left: &mut usize, input: &mut Input<'_>) {
    let mut batch = BTreeMap::new();
    for _ in 0..1 + input.byte() % 24 {
        let (key, len) = (input.key(), input.size());
        *left = left.saturating_sub(len);
        if *left != 0 {
            batch.insert(key, len);
        }
    }
    let bytes: Vec<_> = batch
        .iter()
        .map(|(&key, &len)| (key, pattern(seed ^ key << 8, len)))
        .collect();
    let records: Vec<_> = bytes
        .iter()
        .map(|(key, bytes)| (*key, bytes.as_slice()))
        .collect();
    let mut tokens = Vec::new();
    match log.write(&records, &mut tokens) {
        Ok(pinned) => {
            assert_eq!(tokens.len(), records.len());
            for (&(key, bytes), token) in records.iter().zip(tokens) {
                let held = Held {
                    token,
                    seed: seed ^ key << 8,
                    len: bytes.len(),
                };
                book.borrow_mut().link(key, Some(held));
            }
            drop(pinned);
        }
        Err(WriteError::Io(_) | WriteError::Full) => assert!(tokens.is_empty()),
        Err(error) => panic!("{error}"),
    }
}

/// The right bytes, or an error.
fn read(log: &Backing, key: u64, held: &Held) -> Option<ReadError> {
    let mut bytes = Vec::new();
    match log.read(key, held.token, &mut bytes) {
        Ok(()) => {
            assert!(bytes == pattern(held.seed, held.len));
            None
        }
        Err(error) => {
            assert!(bytes.is_empty());
            Some(error)
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let how = input.byte();
    let store = if how & 1 == 0 {
        MemoryStore::new(2 << 20)
    } else {
        MemoryStore::dense(2 << 20)
    };
    let store = Arc::new(Failing::new(store, u64::from(how), Faults::default()));
    let log = Backing::new(Box::new(Arc::clone(&store)), Options::default()).unwrap();
    let book = RefCell::new(Book {
        refuses: how & 2 != 0,
        ..Book::default()
    });
    let mut stale = Vec::new();
    let mut left = BYTES_MAX;
    for seed in 0..OPS_MAX as u64 {
        if input.is_empty() {
            break;
        }
        match input.byte() % 16 {
            0..=5 => write(&log, &book, seed << 32, &mut left, &mut input),
            6 | 7 => {
                let key = input.key();
                let old = book.borrow_mut().link(key, None);
                stale.extend(old.map(|held| (key, held)));
            }
            8 | 9 => {
                let key = input.key();
                if let Some(held) = book.borrow().held.get(&key) {
                    let _ = read(&log, key, held);
                }
            }
            10 => {
                // What is dead gives what it was, or an error; nobody else's bytes.
                if let Some((key, held)) = stale.get(usize::from(input.byte()) % stale.len().max(1))
                {
                    let _ = read(&log, *key, held);
                }
            }
            11 => {
                let token = Token::from_bits(input.number() >> 8);
                if let Some(token) = token {
                    let known = |(_, held): (&u64, &Held)| held.token == token;
                    let known = book.borrow().held.iter().any(known);
                    let mut bytes = Vec::new();
                    let result = log.read(u64::MAX, token, &mut bytes);
                    assert!(result.is_err(), "{token:?} known: {known}");
                }
            }
            12 | 13 => {
                let budget = u64::from(input.word()) * 16;
                log.clean(
                    &mut |segment| book.borrow().live.get(&segment).copied().unwrap_or(0),
                    &mut Shared(&book),
                    budget,
                );
            }
            14 => store.set(faults(&mut input)),
            _ => store.set(Faults::default()),
        }
    }
    store.set(Faults::default());
    let honest = store.injected().lies == 0;
    for (&key, held) in &book.borrow().held {
        match read(&log, key, held) {
            None => {}
            Some(ReadError::Damaged) => assert!(!honest, "{:?} of {key} is lost", held.token),
            Some(error) => panic!("{error}"),
        }
    }
    assert!(store.inner().allocated_bytes() <= log.allocated_bytes());
});
