//! [`Failing`]: a store that fails, lies and forgets, at random from a seed.

use super::Store;
use core::time::Duration;
use parking_lot::Mutex;
use std::io;

/// How often what goes wrong: chances in 1,000 for each operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A read fails.
    pub read_error: u16,
    /// A read fills a part only: half of them say so, half claim to have read all.
    pub short_read: u16,
    /// A read gives one bit wrong.
    pub bit_flip: u16,
    /// A write fails, after a part of it was written.
    pub write_error: u16,
    /// A write finds no room.
    pub no_space: u16,
    /// A write does not happen, or in part, and claims to have succeeded.
    pub lie: u16,
    /// A discard fails.
    pub discard_error: u16,
    /// An operation takes `stall_time` longer.
    pub stall: u16,
    /// How long a stall is.
    pub stall_time: Duration,
}

impl Faults {
    /// Each of them `chance` times in 1,000; stalls of no length.
    #[must_use]
    pub const fn all(chance: u16) -> Self {
        Self {
            read_error: chance,
            short_read: chance,
            bit_flip: chance,
            write_error: chance,
            no_space: chance,
            lie: chance,
            discard_error: chance,
            stall: chance,
            stall_time: Duration::ZERO,
        }
    }
}

/// How many of each went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Reads that failed and said so.
    pub read_errors: u64,
    /// Reads of which a part was missing, whether they said so or not.
    pub short_reads: u64,
    /// Reads with one bit wrong.
    pub bit_flips: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Writes that found no room.
    pub no_space: u64,
    /// Writes that did not happen, in whole or in part, and said that they did.
    pub lies: u64,
    /// Discards that failed.
    pub discard_errors: u64,
    /// Operations that took longer.
    pub stalls: u64,
}

struct State {
    random: u64,
    faults: Faults,
    injected: Injected,
}

impl State {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn hits(&mut self, chance: u16) -> bool {
        chance != 0 && self.next() % 1000 < u64::from(chance)
    }

    /// A number under `len`; zero for none.
    fn below(&mut self, len: usize) -> usize {
        (self.next() % len.max(1) as u64) as usize
    }

    fn stall(&mut self) -> Option<Duration> {
        let hit = self.hits(self.faults.stall);
        self.injected.stalls += u64::from(hit);
        hit.then_some(self.faults.stall_time)
    }
}

/// Another store whose operations fail as [`Faults`] say. The same seed and the same operations,
/// one after the other, fail in the same places.
pub struct Failing<S> {
    store: S,
    state: Mutex<State>,
}

impl<S: Store> Failing<S> {
    /// Fails as `faults` say.
    pub fn new(store: S, seed: u64, faults: Faults) -> Self {
        let state = State {
            random: seed,
            faults,
            injected: Injected::default(),
        };
        Self {
            store,
            state: Mutex::new(state),
        }
    }

    /// Fails otherwise from now on.
    pub fn set(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// What has gone wrong so far.
    pub fn injected(&self) -> Injected {
        self.state.lock().injected
    }

    /// The store behind it, which does not fail.
    pub fn inner(&self) -> &S {
        &self.store
    }
}

fn wait(stall: Option<Duration>) {
    if let Some(time) = stall.filter(|time| !time.is_zero()) {
        std::thread::sleep(time);
    }
}

fn failed(what: &str) -> io::Error {
    io::Error::other(format!("injected: {what}"))
}

impl<S: Store> Store for Failing<S> {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let stall = state.stall();
        let faults = state.faults;
        let fails = state.hits(faults.read_error);
        let short = state
            .hits(faults.short_read)
            .then(|| state.below(out.len()));
        let says_so = state.next().is_multiple_of(2);
        let flip = state
            .hits(faults.bit_flip)
            .then(|| state.below(out.len() * 8));
        if fails {
            state.injected.read_errors += 1;
        } else if short.is_some() {
            state.injected.short_reads += 1;
        } else if flip.is_some() {
            state.injected.bit_flips += 1;
        }
        drop(state);
        wait(stall);
        if fails {
            return Err(failed("read error"));
        }
        if let Some(len) = short {
            self.store
                .read_at(offset, out.get_mut(..len).unwrap_or_default())?;
            if says_so {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return Ok(());
        }
        self.store.read_at(offset, out)?;
        if let Some(bit) = flip
            && let Some(byte) = out.get_mut(bit / 8)
        {
            *byte ^= 1 << (bit % 8);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let stall = state.stall();
        let faults = state.faults;
        let no_space = state.hits(faults.no_space);
        let fails = state.hits(faults.write_error);
        let lies = state.hits(faults.lie);
        // Half of those that do not happen leave nothing behind.
        let part = match state.next() % 2 {
            0 => 0,
            _ => state.below(bytes.len()),
        };
        if no_space {
            state.injected.no_space += 1;
        } else if fails {
            state.injected.write_errors += 1;
        } else if lies {
            state.injected.lies += 1;
        }
        drop(state);
        wait(stall);
        if no_space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if fails || lies {
            self.store
                .write_at(offset, bytes.get(..part).unwrap_or_default())?;
            return if fails {
                Err(failed("write error"))
            } else {
                Ok(())
            };
        }
        self.store.write_at(offset, bytes)
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let stall = state.stall();
        let chance = state.faults.discard_error;
        let fails = state.hits(chance);
        state.injected.discard_errors += u64::from(fails);
        drop(state);
        wait(stall);
        if fails {
            return Err(failed("discard error"));
        }
        self.store.discard(offset, len)
    }

    fn len(&self) -> u64 {
        self.store.len()
    }

    fn span(&self) -> u64 {
        self.store.span()
    }

    fn block_len(&self) -> u64 {
        self.store.block_len()
    }

    fn settle(&self, offset: u64, len: u64) -> io::Result<()> {
        self.store.settle(offset, len)
    }
}
