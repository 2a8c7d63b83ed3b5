//! An owner of records: what a cache's slots are to the log.
#![allow(dead_code, reason = "each test uses its part")]

use compcache_backing::{Backing, Owner, Token, WriteError};
use std::collections::HashMap;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Bytes that tell which record and version they are.
pub(crate) fn record(key: u64, version: u64, len: usize) -> Vec<u8> {
    let mut random = Random(key.rotate_left(32) ^ version);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8))
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    bytes.truncate(len);
    bytes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) version: u64,
    pub(crate) len: usize,
}

/// Which records are live, and what their bytes are.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) held: HashMap<u64, Held>,
    live: HashMap<u32, u64>,
    pub(crate) payload: u64,
    /// Records that the cleaner is told are overwritten while it moves them.
    pub(crate) refuse_moves: bool,
    pub(crate) moves: u64,
}

impl Book {
    pub(crate) fn live(&self, segment: u32) -> u64 {
        self.live.get(&segment).copied().unwrap_or(0)
    }

    pub(crate) fn live_all(&self) -> HashMap<u32, u64> {
        self.live.clone()
    }

    pub(crate) fn insert(&mut self, key: u64, held: Held) {
        self.remove(key);
        *self.live.entry(held.token.segment()).or_default() += u64::from(held.token.units());
        self.payload += held.len as u64;
        self.held.insert(key, held);
    }

    pub(crate) fn remove(&mut self, key: u64) -> bool {
        let Some(old) = self.held.remove(&key) else {
            return false;
        };
        *self.live.get_mut(&old.token.segment()).unwrap() -= u64::from(old.token.units());
        self.payload -= old.len as u64;
        true
    }

    /// Writes records (key, version, length) as one batch and notes them down.
    pub(crate) fn write(
        &mut self,
        log: &Backing,
        batch: &[(u64, u64, usize)],
    ) -> Result<(), WriteError> {
        let bytes: Vec<_> = batch
            .iter()
            .map(|&(key, version, len)| (key, record(key, version, len)))
            .collect();
        let records: Vec<_> = bytes
            .iter()
            .map(|(key, bytes)| (*key, bytes.as_slice()))
            .collect();
        let mut tokens = Vec::new();
        let pinned = log.write(&records, &mut tokens)?;
        assert_eq!(tokens.len(), batch.len());
        for (&(key, version, len), token) in batch.iter().zip(tokens) {
            let held = Held {
                token,
                version,
                len,
            };
            self.insert(key, held);
        }
        drop(pinned);
        Ok(())
    }

    pub(crate) fn clean(&mut self, log: &Backing, budget: u64) -> compcache_backing::Cleaned {
        // What the cleaner moves changes what is live, so both are asked of one book.
        let book = std::cell::RefCell::new(core::mem::take(self));
        let cleaned = log.clean(
            &mut |segment| book.borrow().live(segment),
            &mut Shared(&book),
            budget,
        );
        *self = book.into_inner();
        cleaned
    }
}

struct Shared<'a>(&'a std::cell::RefCell<Book>);

impl Owner for Shared<'_> {
    fn wanted(&mut self, key: u64, token: Token) -> bool {
        self.0
            .borrow()
            .held
            .get(&key)
            .is_some_and(|held| held.token == token)
    }

    fn keep(&mut self, key: u64, token: Token, bytes: &[u8]) -> bool {
        let book = self.0.borrow();
        let held = book.held[&key];
        assert_eq!(held.token, token);
        assert!(
            bytes == record(key, held.version, held.len),
            "the cleaner has other bytes"
        );
        true
    }

    fn moved(&mut self, key: u64, old: Token, new: Token) -> bool {
        let mut book = self.0.borrow_mut();
        book.moves += 1;
        let held = book.held[&key];
        assert_eq!(held.token, old);
        if book.refuse_moves && book.moves.is_multiple_of(3) {
            return false;
        }
        book.insert(key, Held { token: new, ..held });
        true
    }
}
