//! Looking before sleeping.
//!
//! A client with several requests under way sends the next one within microseconds. To be woken
//! for it costs both sides more than that: the sender interrupts another CPU, which in a virtual
//! machine is a trip to the hypervisor, and the scheduler likes to put the two on one CPU. So a
//! thread that has answered everything looks for a while whether more has come, and sleeps only
//! then. What that costs is bounded:
//!
//! * a look lasts [`LOOK`] at most, so an idle client costs one;
//! * looks in vain make them rare, down to one wait in [`SKIP_MAX`] for clients that pause longer;
//! * none where so many threads are at work that their clients may need the CPU.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a look takes if nothing comes.
const LOOK: Duration = Duration::from_micros(50);
/// Waits without a look after looks in vain, at most.
const SKIP_MAX: u32 = 64;

/// Threads that do not sleep, and up to how many of them may look.
pub(crate) struct Awake {
    threads: AtomicUsize,
    lookers_max: usize,
}

impl Awake {
    /// Up to half of the CPUs: the other half is for the clients.
    pub(crate) fn new() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
        Self::with_lookers(cpus / 2)
    }

    const fn with_lookers(lookers_max: usize) -> Self {
        Self {
            threads: AtomicUsize::new(0),
            lookers_max,
        }
    }
}

/// A thread's patience. It counts as awake except while it sleeps.
pub(crate) struct Patience<'a> {
    awake: &'a Awake,
    /// Waits that are slept through before the next look.
    skip: u32,
    /// How many they were after the last look, which was in vain.
    skipped: u32,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(awake: &'a Awake) -> Self {
        awake.threads.fetch_add(1, Relaxed);
        Self {
            awake,
            skip: 0,
            skipped: 0,
        }
    }

    /// Calls `attempt` until it finds something, as long as that is likely to pay.
    pub(crate) fn look<T>(&mut self, attempt: impl FnMut() -> Option<T>) -> Option<T> {
        if !self.is_due() {
            return None;
        }
        let found = look_for(LOOK, attempt);
        self.learn(found.is_some());
        found
    }

    /// Calls `wait`, which sleeps.
    pub(crate) fn sleep<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.awake.threads.fetch_sub(1, Relaxed);
        let result = wait();
        self.awake.threads.fetch_add(1, Relaxed);
        result
    }

    fn is_due(&mut self) -> bool {
        if self.awake.threads.load(Relaxed) > self.awake.lookers_max {
            return false;
        }
        let is_due = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        is_due
    }

    fn learn(&mut self, found: bool) {
        self.skipped = match found {
            true => 0,
            false => (2 * self.skipped).clamp(1, SKIP_MAX),
        };
        self.skip = self.skipped;
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        self.awake.threads.fetch_sub(1, Relaxed);
    }
}

fn look_for<T>(time: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = attempt();
        if found.is_some() || start.elapsed() >= time {
            return found;
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(patience: &mut Patience<'_>, waits: u32, found: impl Fn(u32) -> bool) -> u32 {
        let mut looks = 0;
        for wait in 0..waits {
            if patience.is_due() {
                looks += 1;
                patience.learn(found(wait));
            }
        }
        looks
    }

    #[test]
    fn looks_that_find_something_go_on_and_others_become_rare() {
        let awake = Awake::with_lookers(1);
        let mut patience = Patience::new(&awake);
        assert_eq!(looks(&mut patience, 1000, |_| true), 1000);
        let in_vain = looks(&mut patience, 6500, |_| false);
        assert!((100..=107).contains(&in_vain), "{in_vain} looks");
        // A client that is fast again is found out, and then not left again.
        assert!(looks(&mut patience, SKIP_MAX + 1000, |_| true) >= 1000);
    }

    #[test]
    fn none_look_where_the_cpus_are_needed() {
        let alone = Awake::with_lookers(0);
        assert_eq!(looks(&mut Patience::new(&alone), 100, |_| true), 0);

        let awake = Awake::with_lookers(1);
        let mut first = Patience::new(&awake);
        let second = Patience::new(&awake);
        assert_eq!(looks(&mut first, 100, |_| true), 0);
        second.sleep(|| assert_eq!(looks(&mut first, 100, |_| true), 100));
        assert_eq!(looks(&mut first, 100, |_| true), 0);
        drop(second);
        assert_eq!(looks(&mut first, 100, |_| true), 100);
        drop(first);
        assert_eq!(awake.threads.load(Relaxed), 0);
    }

    #[test]
    fn a_look_ends_and_returns_what_it_found() {
        let awake = Awake::with_lookers(1);
        let mut patience = Patience::new(&awake);
        let start = Instant::now();
        assert_eq!(patience.look(|| None::<u8>), None);
        assert!(start.elapsed() >= LOOK);
        let mut calls = 0;
        let third = || {
            calls += 1;
            (calls == 3).then_some(calls)
        };
        assert_eq!(look_for(Duration::from_secs(60), third), Some(3));
        // The look before was in vain: the next wait is slept through.
        assert_eq!(patience.look(|| Some(1)), None);
        assert_eq!(patience.look(|| Some(2)), Some(2));
    }
}
