//! Hash maps, with a hasher of fixed seed: open addressing leaves empty buckets between full ones.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::rng::Rng;
use super::text::Words;

/// Multiply and rotate, in the manner of compilers' hashers; the same in every process.
#[derive(Default)]
pub(super) struct FixedHasher(u64);

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

type FixedState = BuildHasherDefault<FixedHasher>;

/// A session table: text keys, records with text, counters and time stamps.
#[repr(C)]
struct Session {
    user: String,
    created: u64,
    hits: u64,
    bytes: u64,
    token: [u8; 16],
}

pub(super) fn sessions(rng: &mut Rng, words: &Words) {
    let mut map: HashMap<String, Session, FixedState> = HashMap::default();
    let count = rng.range(1500, 6000);
    for nth in 0..count {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&rng.next().to_le_bytes());
        token[8..].copy_from_slice(&rng.next().to_le_bytes());
        let key = format!("session:{:08x}", rng.next() as u32);
        let user = words.address(rng);
        let session = Session {
            user,
            created: 1_741_000_000 + nth * 7,
            hits: rng.skewed(40),
            bytes: rng.skewed(90_000),
            token,
        };
        map.insert(key, session);
        if rng.one_in(6) {
            let gone = map.keys().next().cloned();
            gone.and_then(|key| map.remove(&key));
        }
    }
    std::mem::forget(map);
}

/// Counters by number.
pub(super) fn counters(rng: &mut Rng) {
    let mut map: HashMap<u64, u64, FixedState> = HashMap::default();
    let count = rng.range(4000, 14_000);
    for _ in 0..count {
        *map.entry(rng.skewed(1 << 22)).or_insert(0) += 1 + rng.skewed(6);
    }
    std::mem::forget(map);
}

/// A key-value store of many small values.
pub(super) fn key_values(rng: &mut Rng, words: &Words) {
    let mut map: HashMap<String, String, FixedState> =
        HashMap::with_capacity_and_hasher(5000, FixedState::default());
    for nth in 0..4000u64 {
        let mut value = String::new();
        let count = 1 + rng.skewed(8);
        words.sentence(rng, count, &mut value);
        map.insert(
            format!(
                "{}:{:06}:{}",
                words.word(rng),
                nth * 37 % 1_000_000,
                rng.below(100)
            ),
            value,
        );
    }
    std::mem::forget(map);
}
