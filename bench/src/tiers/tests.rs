//! The harness on stores that are what they should be, and on stores with faults.

use std::cell::RefCell;
use std::collections::HashMap;

use super::*;
use crate::rng::Rng;

/// Pages of words, numbers and some noise; every tenth is one repeated word.
pub(crate) fn some_pages(count: usize, seed: u64) -> Vec<Page> {
    let mut rng = Rng::new(seed);
    (0..count)
        .map(|nth| {
            let mut page = [0; 4096];
            if nth % 10 == 9 {
                return page;
            }
            for (at, word) in page.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let number = match (at + nth) % 5 {
                    0 => rng.next_u64(),
                    1 => rng.below(200),
                    _ => u64::from_le_bytes(*b"some wor").wrapping_add(at as u64 / 7),
                };
                *word = number.to_le_bytes();
            }
            page
        })
        .collect()
}

/// Pages in a map, as they are. `wrong` says which gets bring another page, `full` which puts find no room at first.
struct Map {
    pages: RefCell<HashMap<u64, Page>>,
    wrong_every: u64,
    full_every: u64,
    calls: RefCell<u64>,
    log: RefCell<Vec<(char, u64)>>,
    ticks: Vec<u64>,
}

impl Map {
    fn new() -> Self {
        Self {
            pages: RefCell::default(),
            wrong_every: u64::MAX,
            full_every: u64::MAX,
            calls: RefCell::new(0),
            log: RefCell::default(),
            ticks: Vec::new(),
        }
    }

    fn call(&self, name: char, index: u64) -> u64 {
        self.log.borrow_mut().push((name, index));
        *self.calls.borrow_mut() += 1;
        *self.calls.borrow()
    }
}

impl Store for Map {
    fn name(&self) -> &'static str {
        "map"
    }

    fn put(&self, index: u64, page: &Page) -> Result<(), PutError> {
        if self.call('p', index).is_multiple_of(self.full_every) {
            return Err(PutError::Full);
        }
        self.pages.borrow_mut().insert(index, *page);
        Ok(())
    }

    fn get(&self, index: u64, page: &mut Page) -> Result<bool, String> {
        let call = self.call('g', index);
        let found = self.pages.borrow().get(&index).copied();
        *page = found.unwrap_or([0; 4096]);
        if call.is_multiple_of(self.wrong_every) {
            page[17] ^= 1;
        }
        Ok(found.is_some())
    }

    fn discard(&self, index: u64) -> Result<bool, String> {
        self.call('d', index);
        Ok(self.pages.borrow_mut().remove(&index).is_some())
    }

    fn tick(&mut self, now_ms: u64) {
        self.ticks.push(now_ms);
    }

    fn settle(&mut self) {}

    fn memory(&self) -> TierMemory {
        let held = self.pages.borrow().len() as u64;
        TierMemory {
            pages_held: held,
            compr_data_size: held * 4096,
            mem_used_total: held * 4096,
            beside_bytes: 0,
            table_bytes: held * 409,
            workspace_bytes: 0,
        }
    }

    fn counters(&self) -> TierCounters {
        TierCounters::default()
    }
}

const SHORT: Lengths = Lengths {
    cooling_minutes: 2,
    operations: 20_000,
};

#[test]
fn every_store_is_measured_and_none_is_wrong() {
    let pages = some_pages(1000, 1);
    let build: Build<'_> = &|options| Plain::zstd1(options.pages as usize);
    let setting = run_setting(&pages, 80, 1, SHORT, build, &mut |_| ()).unwrap();
    assert_eq!(setting.mismatches, 0);
    assert_eq!(setting.hot_pages, 200);
    assert!(setting.operations >= 20_000);
    // The same store twice takes the same memory, but for where the packing threads are.
    let same = setting.effective_ratio / setting.zstd1_effective_ratio;
    assert!((0.95..1.05).contains(&same), "{same}");
    let [lz4, zstd, third] = &setting.stores[..] else {
        panic!("{} stores", setting.stores.len());
    };
    assert_eq!((lz4.name.as_str(), zstd.name.as_str()), ("lz4", "zstd1"));
    assert!(zstd.effective_ratio > lz4.effective_ratio && lz4.effective_ratio > 1.0);
    assert_eq!(zstd.memory.pages_held, third.memory.pages_held);
    assert!(zstd.pages_in_lz4_memory > lz4.memory.pages_held);
    for store in &setting.stores {
        // Some pages are out at any time.
        assert!((990..=1000).contains(&store.memory.pages_held));
        for latency in [
            store.get_ns,
            store.hot_get_ns,
            store.cold_get_ns,
            store.put_ns,
        ] {
            assert!(latency.mean > 0.0 && latency.max >= latency.p50);
        }
        assert!(store.cpu_s >= store.background_cpu_s && store.background_cpu_s >= 0.0);
    }
    assert!(setting.put_vs_lz4 > 1.0, "zstd compresses slower");
}

#[test]
fn a_store_that_lies_is_found_out() {
    let pages = some_pages(500, 1);
    let build: Build<'_> = &|_| {
        let mut map = Map::new();
        map.wrong_every = 1000;
        Ok(Box::new(map))
    };
    let setting = run_setting(&pages, 80, 1, SHORT, build, &mut |_| ()).unwrap();
    let wrong = setting.stores[2].mismatches;
    assert!((5..30).contains(&wrong), "{wrong}");
    assert_eq!(setting.mismatches, wrong);
    // Tables beside the pages are memory too.
    let ratio = setting.effective_ratio;
    assert!((ratio - 4096.0 / 4505.0).abs() < 1e-9, "{ratio}");
}

#[test]
fn all_stores_get_the_same_operations_and_the_same_time() {
    let pages = some_pages(300, 1);
    let stores: Vec<Box<dyn Store>> = (0..3).map(|_| Box::new(Map::new()) as _).collect();
    let mut replay = replay::Replay::new(&pages, stores);
    let mut pattern = Pattern::new(300, 80, 1).unwrap();
    let mut operations = Vec::new();
    pattern.fill(&mut operations);
    (0..5).for_each(|_| pattern.second(&mut operations));
    replay.seconds(&operations, &mut []).unwrap();
    replay.tick();
    let seconds = (operations.len() as u64).div_ceil(OPERATIONS_PER_SECOND) + 1;
    assert_eq!(replay.now_ms, seconds * 1000);
    for lane in &replay.lanes {
        assert_eq!(lane.mismatches, 0);
        assert_eq!(
            lane.store.memory().pages_held,
            replay.lanes[0].store.memory().pages_held
        );
    }
}

#[test]
fn copies_are_measured_against_lz4() {
    let pages = some_pages(600, 1);
    let build: Build<'_> = &|options| Plain::lz4(options.pages as usize);
    let lengths = CopiesLengths {
        idle_minutes: 1,
        rounds: 3,
    };
    let copies = run_copies(&pages, 1, lengths, build, &mut |_| ()).unwrap();
    // The same store as it is compared with.
    assert_eq!(copies.second_copy_bytes, copies.lz4_second_copy_bytes);
    assert_eq!(copies.second_copy_vs_lz4, 1.0);
    assert_eq!((copies.pages, copies.changed_pages), (600, 200));
    assert_eq!(copies.mismatches + copies.unrelated.mismatches, 0);
    assert_eq!(copies.unrelated.memory_on_vs_off, 1.0);
    assert!(copies.unrelated.put_on_vs_off > 0.0);
}

#[test]
fn puts_wait_for_room_and_every_page_is_read_back() {
    let pages = some_pages(400, 1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backing");
    let build: Build<'_> = &|options| {
        let mut map = Map::new();
        if let Some(path) = &options.backing {
            assert_eq!(options.mem_limit, 400 * 4096 / 2);
            map.full_every = 100;
            map.wrong_every = 5000;
            // As a store that does not encrypt: one page in the file, once.
            std::fs::write(path, some_pages(400, 1)[3]).unwrap();
        }
        Ok(Box::new(map))
    };
    let backing = BackingFile::at(Some(&path)).unwrap();
    let result = run_writeback(&pages, 1, SHORT, &backing, build, &mut |_| ()).unwrap();
    assert!(result.put_waits > 5, "{}", result.put_waits);
    assert!(
        (1..20).contains(&result.mismatches),
        "{}",
        result.mismatches
    );
    assert_eq!(result.unreadable, 0);
    assert_eq!(result.needed_bytes, 400 * 4096);
    assert_eq!(result.pages_held, 400);
    assert!(result.gets > 800);
    assert!(result.text_runs > 0 && result.text_runs_found > 0);
    drop(backing);
    assert!(!path.exists());
}

#[test]
fn a_long_run_has_a_curve() {
    let pages = some_pages(300, 1);
    let build: Build<'_> = &|_| Ok(Box::new(Map::new()));
    let result = run_long(&pages, 1, 600_000, build, &mut |_| ()).unwrap();
    assert!(result.operations >= 600_000 && result.logical_s >= 518);
    let [lz4, map] = &result.stores[..] else {
        panic!("{} stores", result.stores.len());
    };
    assert_eq!(lz4.mismatches + map.mismatches, 0);
    assert_eq!(map.used_per_compressed_max, 1.0);
    assert!((400..=600).contains(&lz4.samples.len()));
    let highest = lz4.samples.iter().map(|one| one.used_per_compressed);
    assert_eq!(highest.fold(0.0, f64::max), lz4.used_per_compressed_max);
    assert!(lz4.samples.is_sorted_by(|a, b| a.operations < b.operations));
}

/// The keys that others read.
#[test]
fn the_keys_of_the_json_are_those_of_the_contract() {
    let bytes = some_pages(300, 1).concat();
    let plan = TiersPlan {
        seed: 1,
        quick: true,
        long: Some(10_000),
        backing: None,
        codecs: "map".to_owned(),
    };
    let build: Build<'_> = &|options| {
        if let Some(path) = &options.backing {
            std::fs::write(path, "").unwrap();
        }
        Ok(Box::new(Map::new()))
    };
    let result = run_tiers(&bytes, &plan, build, &mut |_, share| {
        assert!((0.0..=1.0).contains(&share));
    });
    let json = serde_json::to_value(result.unwrap()).unwrap();
    for setting in ["cold80", "cold95"] {
        for key in [
            "effective_ratio",
            "lz4_effective_ratio",
            "zstd1_effective_ratio",
            "hot_get_p50_vs_lz4",
            "mean_get_vs_lz4",
            "put_vs_lz4",
        ] {
            let value = json[setting][key].as_f64();
            assert!(value.is_some_and(|value| value > 0.0), "{setting}.{key}");
        }
        assert_eq!(json[setting]["mismatches"], 0);
    }
    assert!(json["copies"]["second_copy_vs_lz4"].is_number());
    assert!(json["copies"]["unrelated"]["put_on_vs_off"].is_number());
    assert!(json["copies"]["unrelated"]["memory_on_vs_off"].is_number());
    assert!(json["writeback"]["file_per_compressed"].is_number());
    assert!(json["long"]["stores"][1]["samples"].is_array());
}

/// The store that the command measures, on pages that differ from each other in every way it knows.
#[test]
fn the_tiered_store_gets_through_all_parts() {
    let mut pages = some_pages(800, 3);
    let copy = changed_copy(&pages[..300], 5);
    pages.extend(copy.pages);
    let ladder = Tiered::ladder(None).unwrap();
    let plan = TiersPlan {
        seed: 3,
        quick: true,
        long: Some(50_000),
        backing: None,
        codecs: ladder.to_string(),
    };
    let bytes = pages.concat();
    let result = run_tiers(
        &bytes,
        &plan,
        &|options| Tiered::build(&ladder, options),
        &mut |_, _| (),
    )
    .unwrap();
    assert_eq!(result.mismatches(), 0);
    assert_eq!(result.codecs, "lz4 zstd:14");
    let lz4 = Tiered::ladder(Some("lz4".parse().unwrap()));
    assert!(lz4.is_err_and(|error| error.contains("denser")));
    for (name, setting) in result.settings() {
        let tiered = &setting.stores[2];
        assert_eq!(tiered.name, "tiered");
        assert!(
            tiered.counters.clustered_pages > 0,
            "{name}: nothing got denser"
        );
        assert!(
            tiered.ratio_without_workspaces > setting.stores[0].ratio_without_workspaces,
            "{name}"
        );
        assert!(tiered.memory.workspace_bytes > 0);
        assert_eq!(
            tiered.memory.pages_held,
            setting.stores[0].memory.pages_held
        );
    }
    assert!(result.copies.counters.duplicates > 0);
    assert!(result.copies.second_copy_vs_lz4 < 1.0);
    let back = &result.writeback;
    assert!(back.counters.written_back > 0 && back.file_bytes > 0);
    assert!(back.mem_used_max <= back.mem_limit);
    assert_eq!((back.unreadable, back.pages_held), (0, 1100));
    assert!(back.text_runs > 0);
    assert_eq!(back.text_runs_found, 0);
}
