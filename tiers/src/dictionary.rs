//! A dictionary of what the cold pages have in common, made once, before they become denser for the first time.
//!
//! ```text
//!   pages wait ─▶ look for all that are cold ─▶ read samples ─▶ train, try on units ─▶ install, or not
//!                 a share of the budget a tick   the same        the worker is free meanwhile
//! ```

use crate::error::Error;
use crate::reclaim::Desk;
use crate::tiered::{Cache, Inner, PAGE};
use compcache::{Policy, Tick};
use compress::{AnyCodec, Ladder};

/// Cold pages that are worth one.
const PAGES_MIN: u64 = 2048;
/// Bytes of the dictionary for each cold page, and its bounds.
const BYTES_PER_PAGE: u64 = 12;
const LEN_MIN: u64 = 32 << 10;
const LEN_MAX: u64 = 64 << 10;
const LEN_STEP: u64 = 8 << 10;
/// Bytes of a dictionary that a page is sampled for, and the fewest pages.
const BYTES_PER_SAMPLE: usize = 128;
const SAMPLES_MIN: usize = 512;
/// Units that it is tried on; their pages are no samples.
const TRIALS: usize = 16;
/// It has to save so many times what it takes.
#[cfg_attr(
    not(feature = "zstd"),
    expect(dead_code, reason = "nobody makes a dictionary then")
)]
const GAIN: u64 = 2;
/// If it was not worth it: again with so many times the cold pages. If they were too few: with a fourth more than
/// there seemed to be.
const LATER: u64 = 2;
const MORE_SHARE: u64 = 4;

/// How far it is.
#[derive(Debug)]
pub(crate) enum Dictionary {
    /// It is there, or there can be none.
    Done,
    /// To be made as soon as there are so many cold pages.
    Wanted(u64),
    Search(Search),
    Samples(Samples),
    /// Somebody makes it at this moment.
    Training,
}

/// All cold pages are counted, and one in so many of them is noted.
#[derive(Debug)]
pub(crate) struct Search {
    next: u64,
    every: u64,
    count: u64,
    /// How many there seemed to be. The clock counted them when it went round, so there may be fewer.
    seeming: u64,
    found: Vec<u64>,
}

/// Pages that are read one after the other.
#[derive(Debug)]
pub(crate) struct Samples {
    cold: u64,
    seeming: u64,
    len: usize,
    /// Units, and then pages; and how many of them were read.
    units: Vec<u64>,
    pages: Vec<u64>,
    read: usize,
    material: Material,
}

/// What a dictionary is made of, and what it is tried on. Bytes of whole pages.
#[cfg_attr(
    not(feature = "zstd"),
    expect(dead_code, reason = "nobody makes a dictionary then")
)]
#[derive(Debug, Default)]
pub(crate) struct Material {
    pages: Vec<u8>,
    units: Vec<Vec<u8>>,
    len: usize,
    cold: u64,
    seeming: u64,
    rung: Option<AnyCodec>,
    unit_len: usize,
}

/// What a step of it came to.
pub(crate) enum Step {
    /// Nothing is in the way of making pages denser.
    GoOn,
    /// There is more to do.
    More,
    /// Somebody else does it.
    Wait,
    /// All samples are read. Whoever has them makes the dictionary, without the desk.
    Make(Box<Material>),
}

impl Dictionary {
    pub(crate) fn new(ladder: &Ladder) -> Self {
        let zstd = (1..).map_while(|at| ladder.rung(at)).any(is_zstd);
        match zstd && ladder.dictionary_bytes() == 0 {
            true => Self::Wanted(PAGES_MIN),
            false => Self::Done,
        }
    }

    /// Whether pages have to wait for it.
    pub(crate) fn is_awaited(&self, ladder: &Ladder, policy: &Policy) -> bool {
        let wanted = policy.dictionary && ladder.rung(policy.cold_rung).is_some_and(is_zstd);
        wanted && !matches!(self, Self::Done)
    }

    /// What was read so far, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Done | Self::Wanted(_) | Self::Training => 0,
            Self::Search(search) => search.found.capacity() * size_of::<u64>(),
            Self::Samples(samples) => {
                let units = samples.material.units.iter().map(Vec::capacity);
                samples.material.pages.capacity() + units.sum::<usize>()
            }
        }
    }

    /// Not before there seem to be so many cold pages.
    fn put_off(cold: u64) -> Self {
        Self::Wanted(cold.max(PAGES_MIN))
    }
}

fn is_zstd(codec: AnyCodec) -> bool {
    match codec {
        #[cfg(feature = "zstd")]
        AnyCodec::Zstd(_) => true,
        _ => false,
    }
}

impl Desk {
    /// A tick. Whoever gets material makes a dictionary of it, without the desk.
    pub(crate) fn tick(
        &mut self,
        cache: &Cache,
        policy: &Policy,
        now_ms: u64,
        budget: u64,
    ) -> Result<(Tick, Option<Box<Material>>), Error> {
        let awaited = self.dictionary.is_awaited(self.ladder(), policy);
        let worker = self.worker()?;
        worker.wait(awaited);
        let mut tick = cache.tick(worker, policy, now_ms, budget)?;
        if tick.waiting == 0 {
            return Ok((tick, None));
        }
        let step = self.step_dictionary(cache, policy, &mut tick, budget);
        if step.is_err() {
            self.dictionary = Dictionary::Wanted(PAGES_MIN);
        }
        let material = match step? {
            Step::GoOn => {
                let worker = self.worker()?;
                worker.wait(false);
                let left = budget.saturating_sub(tick.work.units());
                let next = cache.tick(worker, policy, now_ms, left)?;
                tick.work = tick.work.and(next.work);
                (tick.more, tick.waiting) = (next.more, 0);
                None
            }
            Step::More => {
                tick.more = true;
                None
            }
            Step::Wait => None,
            Step::Make(material) => {
                tick.more = true;
                Some(material)
            }
        };
        Ok((tick, material))
    }

    /// A step towards a dictionary, while `tick.waiting` pages wait for one.
    fn step_dictionary(
        &mut self,
        cache: &Cache,
        policy: &Policy,
        tick: &mut Tick,
        budget: u64,
    ) -> Result<Step, Error> {
        match core::mem::replace(&mut self.dictionary, Dictionary::Done) {
            Dictionary::Done => Ok(Step::GoOn),
            Dictionary::Training => {
                self.dictionary = Dictionary::Training;
                Ok(Step::Wait)
            }
            Dictionary::Wanted(least) => {
                let cold = tick.waiting + cache.tier_stat().cluster_pages;
                self.dictionary = match cold < least {
                    true => Dictionary::Wanted(least),
                    false => Dictionary::Search(Search {
                        next: 0,
                        every: 1,
                        count: 0,
                        seeming: cold,
                        found: Vec::new(),
                    }),
                };
                Ok(match cold < least {
                    true => Step::GoOn,
                    false => Step::More,
                })
            }
            Dictionary::Search(search) => {
                self.dictionary = search.step(cache, policy, tick, budget)?;
                Ok(Step::More)
            }
            Dictionary::Samples(samples) => self.sample(samples, cache, policy, tick, budget),
        }
    }

    fn sample(
        &mut self,
        mut samples: Samples,
        cache: &Cache,
        policy: &Policy,
        tick: &mut Tick,
        budget: u64,
    ) -> Result<Step, Error> {
        let unit_pages = cache.unit_pages().max(1);
        let mut page = [0; PAGE];
        // Of what was done before, nobody asks.
        let _ = self.worker()?.take_work();
        while samples.read < samples.units.len() + samples.pages.len() {
            let worker = self.worker()?;
            if tick.work.units() >= budget {
                self.dictionary = Dictionary::Samples(samples);
                return Ok(Step::More);
            }
            let at = samples.read;
            samples.read += 1;
            match samples.units.get(at) {
                Some(unit) => {
                    let first = unit * unit_pages;
                    let mut bytes = Vec::new();
                    for index in first..(first + unit_pages).min(cache.pages()) {
                        if cache.sample(worker, index, &mut page)? {
                            bytes.extend_from_slice(&page);
                        }
                    }
                    samples.material.units.push(bytes);
                }
                None => {
                    let index = samples.pages.get(at - samples.units.len());
                    if let Some(&index) = index
                        && cache.sample(worker, index, &mut page)?
                    {
                        samples.material.pages.extend_from_slice(&page);
                    }
                }
            }
            tick.work = tick.work.and(worker.take_work());
        }
        self.dictionary = Dictionary::Training;
        Ok(Step::Make(Box::new(Material {
            len: samples.len,
            cold: samples.cold,
            seeming: samples.seeming,
            rung: self.ladder().rung(policy.cold_rung),
            unit_len: PAGE * unit_pages as usize,
            ..samples.material
        })))
    }
}

impl Inner {
    /// Makes a dictionary, and lets what becomes denser from now on have it, if it is worth it. Some tenths of a
    /// second; nobody waits meanwhile.
    pub(crate) fn make_dictionary(&self, material: &Material) {
        let ladder = self.cache.codec();
        let installed = material.install(ladder);
        // A worker knows the dictionary that was there when it was made. Without memory it goes on without.
        let workspace = match installed {
            true => ladder.worker_workspace(PAGE).ok(),
            false => None,
        };
        let mut desk = self.desk.lock();
        desk.dictionary = match installed {
            true => Dictionary::Done,
            false => Dictionary::put_off(material.cold.max(material.seeming) * LATER),
        };
        if let Some(workspace) = workspace {
            desk.refit(workspace);
        }
    }
}

impl Search {
    /// Looks at some leaves of slots; the samples are next if these were the last.
    fn step(
        mut self,
        cache: &Cache,
        policy: &Policy,
        tick: &mut Tick,
        budget: u64,
    ) -> Result<Dictionary, Error> {
        let most = (LEN_MAX as usize / BYTES_PER_SAMPLE + TRIALS) * 2;
        while tick.work.units() < budget {
            // A leaf has a page of slots at most.
            self.found.reserve(PAGE);
            let (every, count, found) = (self.every, &mut self.count, &mut self.found);
            let next = cache.cold_pages(policy, self.next, &mut |index| {
                if place(index).is_multiple_of(every) && found.len() < found.capacity() {
                    found.push(index);
                }
                *count += 1;
            })?;
            tick.work.leaves += 1;
            while self.found.len() > most {
                self.every *= 2;
                let every = self.every;
                self.found
                    .retain(|&index| place(index).is_multiple_of(every));
            }
            match next {
                Some(next) => self.next = next,
                None => return Ok(self.samples(cache)),
            }
        }
        Ok(Dictionary::Search(self))
    }

    fn samples(mut self, cache: &Cache) -> Dictionary {
        if self.count < PAGES_MIN || self.found.is_empty() {
            return Dictionary::put_off(self.seeming + self.seeming / MORE_SHARE + 1);
        }
        let unit_pages = cache.unit_pages().max(1);
        let len = self.count * BYTES_PER_PAGE / LEN_STEP * LEN_STEP;
        let len = len.clamp(LEN_MIN, LEN_MAX) as usize;
        self.found.sort_unstable_by_key(|&index| place(index));
        let first = |count: usize| self.found.iter().copied().take(count);
        let mut units: Vec<u64> = first(TRIALS).map(|index| index / unit_pages).collect();
        units.sort_unstable();
        units.dedup();
        let is_tried = |index: &u64| units.contains(&(index / unit_pages));
        let pages = first((len / BYTES_PER_SAMPLE).max(SAMPLES_MIN) + units.len())
            .filter(|index| !is_tried(index))
            .collect();
        Dictionary::Samples(Samples {
            cold: self.count,
            seeming: self.seeming,
            len,
            pages,
            units,
            read: 0,
            material: Material::default(),
        })
    }
}

/// A page's place in an order that is as good as none, and spreads any first of them over all. zstd takes the samples'
/// best pieces from stretches of them, and stops where ten stretches have none: pages of one array that lie together would end
/// it. With or without some of the pages the others' order is the same, and so is most of the dictionary.
fn place(index: u64) -> u64 {
    index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

impl Material {
    #[cfg(feature = "zstd")]
    fn install(&self, ladder: &Ladder) -> bool {
        let made = self.dictionary();
        made.is_some_and(|bytes| ladder.install_dictionary(&bytes).is_ok())
    }

    #[cfg(not(feature = "zstd"))]
    fn install(&self, _ladder: &Ladder) -> bool {
        false
    }

    /// The dictionary, if what it saves on the units is worth its memory. Some tenths of a second, and some MiB.
    #[cfg(feature = "zstd")]
    fn dictionary(&self) -> Option<Vec<u8>> {
        let dictionary = compress::train_dictionary(&self.pages, PAGE, self.len).ok()?;
        let ladder = Ladder::new(AnyCodec::Raw(compress::Raw), &[self.rung?]).ok()?;
        let ladder = ladder.with_unit_len(self.unit_len);
        let without = self.size(&ladder)?;
        ladder.install_dictionary(&dictionary).ok()?;
        let saved = without.checked_sub(self.size(&ladder)?)?;
        let tried: usize = self.units.iter().map(|unit| unit.len() / PAGE).sum();
        // Of all pages, if the units are like the others.
        let saved = saved as u64 * self.cold / (tried as u64).max(1);
        (saved >= GAIN * dictionary.len() as u64).then_some(dictionary)
    }

    /// What the units take.
    #[cfg(feature = "zstd")]
    fn size(&self, ladder: &Ladder) -> Option<usize> {
        use compress::Codec;
        let mut workspace = ladder.worker_workspace(PAGE).ok()?;
        let mut out = vec![0; ladder.max_compressed_len(self.unit_len)];
        let units = self.units.iter().filter(|unit| !unit.is_empty());
        let sizes = units.map(|unit| {
            let got = ladder.compress_rung(1, &mut workspace, unit, &mut out);
            got.map(|(_, len)| len).ok()
        });
        sizes.sum()
    }
}
