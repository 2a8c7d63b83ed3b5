//! What to do when nobody asks: a clock that ages pages, and a sweep that moves the cold ones.
//!
//! ```text
//!  turn of the clock (every `turn_ms`, if anything happened)      age 0 ─▶ 1 ─▶ 2 ─▶ 3
//!        │ new pages that nobody compared ─▶ run (same pages, patches)  ▲        │
//!        └ pages that are cold now ────────▶ sweep (clusters, recompress)        │
//!  access: age 0 ◀───────────────────────────────────────────────────────────────┘
//! ```

use super::counters::Work;
use super::recompress::Outcome;
use super::run::{Ages, Stage};
use super::worker::{ClusterInfo, Form, Notes, Seen, Worker, with_life};
use crate::cache::Cache;
use crate::content::Life;
use crate::error::Error;
use crate::workspace::Shared;
use alloc_xv::{PageSource, Touch};
use compress::{Codec, CodecId};
use core::ops::Deref;
use core::sync::atomic::Ordering::Relaxed;
use lock_api::RawMutex;

/// New pages are compared with all others when they are so many times fewer than these, or more.
const RUN_SHARE: u64 = 16;

/// What [`Cache::tick`] does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Milliseconds of a turn of the clock: pages that are not used in it are one older after it.
    pub turn_ms: u64,
    /// The age, 1 to 3, from which pages are cold.
    pub cold_age: u8,
    /// The denser codec for cold pages and clusters; 0 for none.
    pub cold_rung: usize,
    /// The denser codec for pages that are one turn old; 0 for none.
    pub cool_rung: usize,
    /// Compress cold neighbours together.
    pub clusters: bool,
    /// Keep pages that are the same once.
    ///
    /// Whoever can time its own reads and writes can learn whether somebody else has a page: leave it off
    /// where tenants that do not trust each other share a cache.
    pub same: bool,
    /// Keep pages that are nearly the same as differences. Needs `same`.
    pub patches: bool,
    /// Make a dictionary of what cold pages have in common. The cache does not do that itself: it
    /// [waits](Worker::wait) for who can, says how many pages wait for it ([`Tick::waiting`]), and shows
    /// [samples](Cache::sample).
    ///
    /// The memory that a page takes then depends on what others hold: leave it off where `same` is off.
    pub dictionary: bool,
}

impl Policy {
    /// Does nothing by itself.
    pub const NONE: Self = Self {
        turn_ms: 30_000,
        cold_age: 2,
        cold_rung: 0,
        cool_rung: 0,
        clusters: false,
        same: false,
        patches: false,
        dictionary: false,
    };

    /// Everything, for a codec with one denser one beside it.
    pub const ALL: Self = Self {
        cold_rung: 1,
        clusters: true,
        same: true,
        patches: true,
        dictionary: true,
        ..Self::NONE
    };

    fn ages(&self) -> Ages {
        Ages {
            same: self.cold_age,
            patch: match self.patches {
                true => self.cold_age,
                false => Life::AGE_MAX + 1,
            },
        }
    }

    /// Whether a page may be moved to a denser form now. One that came back from there waits a turn
    /// longer.
    pub(super) fn is_cold(&self, life: Life) -> bool {
        let least = match life.is_refault() {
            true => (self.cold_age + 1).min(Life::AGE_MAX),
            false => self.cold_age,
        };
        life.age() >= least
    }
}

/// How far the clock and the sweep are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// When the last turn began; `None` before the first.
    turn_began: Option<u64>,
    /// The page that the clock's hand is at; `None` between turns.
    hand: Option<u64>,
    /// Pages whose age the turn changed, that nobody compared though they are old enough, that are cold
    /// and not moved.
    aged: u64,
    unseen: u64,
    cold: u64,
    /// Reads and writes when the last turn began, the policy, and the limit; and the same if that turn
    /// changed no age and left nothing for a run.
    quiet_at: Option<Situation>,
    began_at: Option<Situation>,
    /// The page that the sweep is at, and the cluster; `None` if there is none.
    sweep: Option<u64>,
    rotten: Option<u64>,
    /// Where making room goes on, for each age.
    squeeze: [u64; 4],
    /// No sweep until somebody has seen samples.
    pub(super) waits: bool,
}

/// What has to change for another turn to find something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Situation {
    accesses: u64,
    policy: Policy,
    limit_pages: usize,
}

impl Progress {
    pub(crate) const fn new() -> Self {
        Self {
            turn_began: None,
            hand: None,
            aged: 0,
            unseen: 0,
            cold: 0,
            quiet_at: None,
            began_at: None,
            sweep: None,
            rotten: None,
            squeeze: [0; 4],
            waits: false,
        }
    }

    /// Whether a sweep does not begin because somebody is to see samples first. One that has begun goes on.
    fn holds_sweep(&self) -> bool {
        self.waits && self.sweep == Some(0)
    }

    fn is_under_way(&self) -> bool {
        self.hand.is_some() || self.sweep.is_some() || self.rotten.is_some()
    }
}

/// What a tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// The work.
    pub work: Work,
    /// There is more to do now: the budget was used up.
    pub more: bool,
    /// Cold pages that could become denser if nobody had to see samples of them first.
    pub waiting: u64,
}

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Work that a step of a tick may do over its budget: a unit whose pages are all compared with a patch and
    /// its base, and become patches against another page; or two units read and one compressed.
    pub const TICK_OVER: u64 = 256;

    /// Does what the policy wants done at `now_ms`, milliseconds of any clock that does not go back: at
    /// most `budget` pages' worth of work, and [`TICK_OVER`](Self::TICK_OVER) more. Whoever has nothing
    /// else to do calls it every second or so, and again at once while there is more.
    pub fn tick(
        &self,
        worker: &mut Worker<C, PAGE>,
        policy: &Policy,
        now_ms: u64,
        budget: u64,
    ) -> Result<Tick, Error> {
        let _one = self.tiers.enter()?;
        let policy = self.possible(policy);
        let before = worker.work;
        worker.work = Work::default();
        let result = self.steps(worker, &policy, now_ms, budget);
        let work = worker.work;
        worker.work = before.and(work);
        let progress = &worker.progress;
        let more = result?;
        let waiting = match progress.holds_sweep() && !more {
            true => progress.cold,
            false => 0,
        };
        Ok(Tick {
            work,
            more,
            waiting,
        })
    }

    /// Whether a tick would have something to do, for who keeps a worker only while there is work.
    pub fn is_due(&self, notes: &mut Notes, policy: &Policy, now_ms: u64) -> bool {
        self.begin_turn(&mut notes.progress, &self.possible(policy), now_ms);
        notes.run.stage != Stage::Rest || notes.progress.is_under_way()
    }

    fn steps(
        &self,
        worker: &mut Worker<C, PAGE>,
        policy: &Policy,
        now_ms: u64,
        budget: u64,
    ) -> Result<bool, Error> {
        self.begin_turn(&mut worker.progress, policy, now_ms);
        while worker.work.units() < budget {
            let went_on = self.turn(worker, policy)?
                || worker.run.stage != Stage::Rest && self.run_step(worker, policy.ages())?
                || !worker.progress.holds_sweep() && self.sweep(worker, policy)?
                || self.sweep_rotten(worker, policy)?;
            if !went_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Begins a turn of the clock if it is time, and something happened since the last that found
    /// everything as old as can be: a page was used, the policy is another, or there is more memory.
    fn begin_turn(&self, progress: &mut Progress, policy: &Policy, now_ms: u64) {
        if progress.hand.is_some() {
            return;
        }
        let began = *progress.turn_began.get_or_insert(now_ms);
        if now_ms.saturating_sub(began) < policy.turn_ms {
            return;
        }
        let io = self.io_stat();
        let now = Situation {
            accesses: io
                .reads
                .wrapping_add(io.writes)
                .wrapping_add(io.notify_free),
            policy: *policy,
            limit_pages: self.slots.limit_pages(),
        };
        progress.turn_began = Some(now_ms);
        if progress.quiet_at == Some(now) {
            return;
        }
        progress.began_at = Some(now);
        progress.hand = Some(0);
        (progress.aged, progress.unseen, progress.cold) = (0, 0, 0);
    }

    /// Moves the clock's hand over a leaf of slots. False if it stands still.
    fn turn(&self, worker: &mut Worker<C, PAGE>, policy: &Policy) -> Result<bool, Error> {
        let progress = &mut worker.progress;
        let Some(hand) = progress.hand else {
            return Ok(false);
        };
        let rung = policy.cold_rung.max(policy.cool_rung);
        let old = policy.ages().all();
        let is_device = !self.layout.is_shared(hand);
        let next = self
            .slots
            .visit_leaf(hand, self.region_end(hand), |_, state| {
                let seen = Seen::of(state);
                let own = matches!(seen.form, Form::Own(_));
                if !own && !matches!(seen.form, Form::Member | Form::Shared(_)) {
                    return Touch::Keep;
                }
                let life = seen.life.with_age(seen.life.age() + 1);
                let alone = is_device && !matches!(seen.form, Form::Shared(_));
                progress.unseen += u64::from(alone && !life.is_seen() && life.age() >= old);
                let untried = usize::from(life.rung()) < rung;
                progress.cold +=
                    u64::from(own && untried && (policy.is_cold(life) || policy.cool_rung > 0));
                if life == seen.life {
                    return Touch::Keep;
                }
                progress.aged += 1;
                with_life(state, life)
            })?;
        worker.work.leaves += 1;
        progress.hand = self.following(next);
        if progress.hand.is_none() {
            let all = self.mm_stat().orig_data_size / PAGE as u64;
            let unseen = Some(progress.unseen)
                .filter(|&unseen| policy.same && unseen > 0 && unseen >= all / RUN_SHARE);
            let rests = worker.run.stage == Stage::Rest;
            // Pages that became old enough while a run was under way are for the next one.
            let quiet = progress.aged == 0 && (unseen.is_none() || rests);
            progress.quiet_at = progress.began_at.filter(|_| quiet);
            if progress.cold > 0 {
                progress.sweep = progress.sweep.or(Some(0));
            }
            if self.tiers.stat().clusters > 0 {
                progress.rotten = progress.rotten.or(Some(0));
            }
            if unseen.is_some() && rests {
                self.start_run(worker, unseen);
            }
        }
        Ok(true)
    }

    /// Looks for cold pages in a leaf of slots, and moves those of the first unit that has some. False
    /// if there is no sweep.
    fn sweep(&self, worker: &mut Worker<C, PAGE>, policy: &Policy) -> Result<bool, Error> {
        let Some(from) = worker.progress.sweep else {
            return Ok(false);
        };
        let best = policy.cold_rung;
        let wants = |seen: &Seen| {
            let Form::Own(codec) = seen.form else {
                return false;
            };
            let rung = usize::from(seen.life.rung());
            let raw_for_good = codec == CodecId::Raw && rung > 0;
            let cold = best > 0 && policy.is_cold(seen.life);
            let joins = policy.clusters && !raw_for_good && rung < usize::from(Life::RUNG_MAX);
            cold && (rung < best || joins)
                || policy.cool_rung > rung && seen.life.age() > 0 && !raw_for_good
        };
        let mut found = None;
        let next = self
            .slots
            .visit_leaf(from, self.region_end(from), |index, state| {
                if wants(&Seen::of(state)) {
                    found = Some(index);
                    return Touch::Stop;
                }
                Touch::Keep
            })?;
        worker.work.leaves += 1;
        let Some(index) = found else {
            worker.progress.sweep = self.following(next);
            return Ok(true);
        };
        let pages = self.layout.unit_pages();
        let (unit, keys) = match pages {
            0 | 1 => (0, index..index + 1),
            _ => {
                let (unit, _) = self.layout.unit_of(index);
                (unit, self.layout.keys_of(unit))
            }
        };
        worker.progress.sweep = self.following(keys.end);
        let mut outcome = Outcome::Kept;
        if policy.clusters && best > 0 && pages > 1 {
            outcome = self.cluster_unit(worker, unit, best, |life| policy.is_cold(life))?;
        }
        if outcome == Outcome::NoSpace {
            // Smaller steps may still have room.
            outcome = Outcome::Kept;
        }
        if outcome == Outcome::Kept {
            for index in keys {
                let seen = Seen::of(self.slots.state(index)?);
                let rung = match best > 0 && policy.is_cold(seen.life) {
                    true => best,
                    false => policy.cool_rung,
                };
                if matches!(seen.form, Form::Own(_))
                    && seen.life.age() > 0
                    && usize::from(seen.life.rung()) < rung
                {
                    self.recompress_page(worker, index, rung)?;
                }
            }
        }
        Ok(true)
    }

    /// Where the keys end that follow this one: pages of the device, or shared ones.
    pub(crate) fn region_end(&self, key: u64) -> u64 {
        match (self.layout.is_shared(key), self.layout.shared(0)) {
            (true, Some(first)) => first + self.tiers.shared_end.load(Relaxed),
            _ => self.pages(),
        }
    }

    /// The key to go on with after those before `next`: shared pages follow those of the device.
    pub(crate) fn following(&self, next: u64) -> Option<u64> {
        if next < self.pages() {
            return Some(next);
        }
        let first = self.layout.shared(0)?;
        let end = first + self.tiers.shared_end.load(Relaxed);
        Some(next.max(first)).filter(|&next| next < end)
    }

    /// Makes pages denser at once because memory is short: the coldest first, `budget` pages' worth of
    /// work. Pages of the youngest age, which were used since the clock went round, are left alone.
    pub fn squeeze(
        &self,
        worker: &mut Worker<C, PAGE>,
        policy: &Policy,
        budget: u64,
    ) -> Result<Work, Error> {
        let _one = self.tiers.enter()?;
        let before = core::mem::take(&mut worker.work);
        let result = self.squeeze_steps(worker, policy, budget);
        let work = worker.work;
        worker.work = before.and(work);
        result.map(|()| work)
    }

    fn squeeze_steps(
        &self,
        worker: &mut Worker<C, PAGE>,
        policy: &Policy,
        budget: u64,
    ) -> Result<(), Error> {
        let mut policy = self.possible(policy);
        if policy.cold_rung == 0 {
            return Ok(());
        }
        for age in (1..=Life::AGE_MAX).rev() {
            policy.cold_age = age;
            let from = worker.progress.squeeze[usize::from(age)];
            let saved = worker.progress.sweep.replace(from);
            while worker.progress.sweep.is_some() && worker.work.units() < budget {
                self.sweep(worker, &policy)?;
            }
            let next = worker.progress.sweep.take().unwrap_or(0);
            worker.progress.squeeze[usize::from(age)] = next;
            worker.progress.sweep = saved;
            if worker.work.changed > 0 || worker.work.units() >= budget {
                break;
            }
        }
        Ok(())
    }

    /// What of a policy this cache's codec can do.
    fn possible(&self, policy: &Policy) -> Policy {
        let rungs = self.codec().rungs();
        Policy {
            cold_age: policy.cold_age.clamp(1, Life::AGE_MAX),
            cold_rung: policy.cold_rung.min(rungs),
            cool_rung: policy.cool_rung.min(rungs),
            patches: policy.patches && policy.same,
            ..*policy
        }
    }

    /// Looks for a cluster in which many pages are dead, and packs it. False if there is no such sweep.
    fn sweep_rotten(&self, worker: &mut Worker<C, PAGE>, policy: &Policy) -> Result<bool, Error> {
        let Some(from) = worker.progress.rotten else {
            return Ok(false);
        };
        let units = self.layout.units();
        let keys = (
            self.layout.cluster_data(from),
            self.layout.cluster_data(units.saturating_sub(1)),
        );
        let (Some(key), Some(last)) = keys else {
            worker.progress.rotten = None;
            return Ok(false);
        };
        let mut found = None;
        let next = self.slots.visit_leaf(key, last + 2, |at, state| {
            // Data and info take turns.
            if (at - key) % 2 == 1
                && let Some(info) = ClusterInfo::of(state)
                && (info.members & !info.alive).count_ones() * 4 > info.members.count_ones()
            {
                found = Some(from + (at - key) / 2);
                return Touch::Stop;
            }
            Touch::Keep
        })?;
        worker.work.leaves += 1;
        let on = from + (next - key) / 2;
        worker.progress.rotten = Some(on).filter(|&unit| unit < units);
        if let Some(unit) = found
            && policy.cold_rung > 0
        {
            self.cluster_unit(worker, unit, policy.cold_rung, |life| policy.is_cold(life))?;
        }
        Ok(true)
    }

    /// In which forms pages are.
    pub fn tier_stat(&self) -> super::TierStat {
        self.tiers.stat()
    }
}
