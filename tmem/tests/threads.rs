//! The coherency rules under concurrency: writers, readers and flushers at the same keys, pools that
//! come and go, and memory that runs out all the time.
//!
//! Each key has one writer, who numbers its pages. `floor` is the least version that a get which
//! begins now may find: it is raised after each put and flush has returned.

mod common;

use alloc_xv::{Compactor, Limited, MmapSource};
use common::{bank, object, page};
use compcache::{Lz4, Shared};
use compcache_tmem::{Config, Error, PoolId, PoolOptions, Tmem};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};

type Tested =
    Tmem<&'static Limited<MmapSource<4096>>, Lz4, Vec<Shared<Lz4, 4096>>, parking_lot::RawMutex>;

const KEYS: u64 = 24;
const WRITERS: u64 = 3;
const ROUNDS: u64 = 12_000;

/// A page that says its key and version, and of which no part can come from elsewhere unnoticed.
fn versioned(key: u64, version: u64) -> [u8; 4096] {
    page(key << 32 | version)
}

fn version_of(page: &[u8; 4096], key: u64) -> u64 {
    let word = u64::from_le_bytes(page[..8].try_into().unwrap());
    assert_eq!(word >> 32, key, "a page of another key");
    let version = word & 0xffff_ffff;
    assert!(*page == versioned(key, version), "a torn page");
    version
}

fn tested(frames: usize) -> Arc<Tested> {
    let source = Limited::new(MmapSource::new(1 << 26).unwrap(), frames);
    let source: &'static _ = Box::leak(Box::new(source));
    Arc::new(Tmem::new([source, source], Lz4, bank(5), Config::new(400, [1, 2])).unwrap())
}

fn exercise(options: PoolOptions, frames: usize) {
    let tmem = tested(frames);
    let pool = tmem.new_pool(options).unwrap();
    let persistent = options.lifetime == PoolOptions::PERSISTENT.lifetime;
    let exclusive = !persistent && options.shared.is_none();
    let floors: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    let hits = AtomicU64::new(0);
    let read = |key: u64| -> Option<u64> {
        let floor = floors[key as usize].load(SeqCst);
        let mut back = [0xa5; 4096];
        let found = tmem
            .get(pool, object(key % 5), key as u32, &mut back)
            .unwrap();
        found.then(|| {
            hits.fetch_add(1, SeqCst);
            let version = version_of(&back, key);
            assert!(version >= floor, "version {version} after {floor}");
            version
        })
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (tmem, floors, read) = (&tmem, &floors, &read);
                scope.spawn(move || {
                    for round in 1..ROUNDS {
                        let key = round * 7 % (KEYS / WRITERS) * WRITERS + writer;
                        let (id, index) = (object(key % 5), key as u32);
                        let floor = &floors[key as usize];
                        match round % 8 {
                            0 => {
                                tmem.flush_page(pool, id, index).unwrap();
                                floor.store(round, SeqCst);
                                assert_eq!(read(key), None, "after its flush");
                            }
                            _ => {
                                let put = tmem.put(pool, id, index, &versioned(key, round));
                                floor.store(round, SeqCst);
                                if let Err(error) = put {
                                    assert!(
                                        matches!(error, Error::NoSpace(_) | Error::NoPages { .. }),
                                        "{error}"
                                    );
                                    assert_eq!(read(key), None, "after a put that failed");
                                } else if round % 3 == 0 {
                                    let found = read(key);
                                    if persistent {
                                        assert_eq!(found, Some(round));
                                    } else {
                                        assert!(found.is_none() || found == Some(round));
                                    }
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        // One reads everything, one takes memory with pages of its own and destroys its pool.
        scope.spawn(|| {
            let mut last = [0; KEYS as usize];
            while !stop.load(SeqCst) {
                for key in 0..KEYS {
                    if let Some(version) = read(key) {
                        let last = &mut last[key as usize];
                        assert!(version > *last || !exclusive && version == *last);
                        *last = version;
                    }
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                let own: PoolId = match tmem.new_pool(PoolOptions::EPHEMERAL) {
                    Ok(own) => own,
                    Err(Error::NoSpace(_)) => continue,
                    Err(error) => panic!("{error}"),
                };
                for index in 0..150 {
                    let _ = tmem.put(own, object(index % 3), index as u32, &page(index));
                    let mut back = [0; 4096];
                    let before = index / 2;
                    if tmem.get(own, object(before % 3), before as u32, &mut back) == Ok(true) {
                        assert!(back == page(before), "another page");
                    }
                }
                tmem.flush_object(own, object(0)).unwrap();
                tmem.shrink(3);
                tmem.destroy_pool(own).unwrap();
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, SeqCst);
    });
    assert!(hits.load(SeqCst) > ROUNDS / 10, "hardly anything was there");
    tmem.check().unwrap();
    let stats = tmem.pool_stats(pool).unwrap();
    assert_eq!(
        stats.puts,
        WRITERS * (ROUNDS - 1) - WRITERS * ((ROUNDS - 1) / 8)
    );
    assert_eq!(stats.damaged, 0);
    assert!(tmem.stats().drops > 0, "memory never ran out");
    tmem.destroy_pool(pool).unwrap();
    tmem.check().unwrap();
    assert_eq!(tmem.memory().cache, 0);
}

#[test]
fn a_persistent_pool() {
    exercise(PoolOptions::PERSISTENT, 110);
}

#[test]
fn a_shared_ephemeral_pool() {
    exercise(PoolOptions::EPHEMERAL.shared_as(3), 90);
}

#[test]
fn a_private_ephemeral_pool() {
    exercise(PoolOptions::EPHEMERAL, 90);
}

#[test]
fn a_small_limit() {
    exercise(PoolOptions::EPHEMERAL.shared_as(3).with_limit(6), 110);
}

#[test]
fn objects_are_flushed_in_one_step() {
    let tmem = tested(2000);
    let pool = tmem.new_pool(PoolOptions::PERSISTENT).unwrap();
    let floor = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 1..300 {
                for index in 0..100 {
                    tmem.put(pool, object(1), index, &page(version)).unwrap();
                }
                tmem.flush_object(pool, object(1)).unwrap();
                floor.store(version + 1, SeqCst);
            }
            done.store(true, SeqCst);
        });
        scope.spawn(|| {
            while !done.load(SeqCst) {
                for index in [99, 0, 50] {
                    let floor = floor.load(SeqCst);
                    let mut back = [0; 4096];
                    if tmem.get(pool, object(1), index, &mut back).unwrap() {
                        let version = u64::from_le_bytes(back[..8].try_into().unwrap());
                        assert!(back == page(version) && version >= floor);
                    }
                }
            }
        });
    });
    assert_eq!(tmem.pool_stats(pool).unwrap().pages, 0);
    tmem.check().unwrap();
}

#[test]
fn a_thread_packs_the_pages() {
    let tmem = Arc::new(common::tmem(20_000));
    let compactor = Compactor::spawn(&tmem).unwrap();
    let pool = tmem.new_pool(PoolOptions::PERSISTENT).unwrap();
    for index in 0..10_000 {
        tmem.put(pool, object(1), index, &page(index.into()))
            .unwrap();
    }
    for index in (0..10_000).filter(|index| index % 3 != 0) {
        tmem.flush_page(pool, object(1), index).unwrap();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let is_packed = || {
        let stat = tmem.mm_stat();
        stat.mem_used_total * 10 < stat.compr_data_size * 11
    };
    while !is_packed() {
        assert!(std::time::Instant::now() < deadline, "{}", tmem.mm_stat());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(compactor);
    for index in (0..10_000).step_by(3) {
        let back = common::get(&tmem, pool, object(1), index);
        assert_eq!(back, Some(page(index.into())));
    }
}

/// Puts look at the limit before they compress; many that did so at once must not all be stored.
#[test]
fn a_persistent_pools_limit_holds_for_all_at_once() {
    const LIMIT: u32 = 5;
    let tmem = tested(2000);
    for round in 0..300 {
        let options = PoolOptions::PERSISTENT.with_limit(LIMIT);
        let pool = tmem.new_pool(options).unwrap();
        let barrier = Barrier::new(4);
        let stored: u32 = std::thread::scope(|scope| {
            let threads = [0, 1, 2, 3].map(|thread| {
                let (tmem, barrier) = (&tmem, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    (0..3)
                        .filter(|index| {
                            let put = tmem.put(pool, object(thread), *index, &page(round));
                            let full = Err(Error::PoolFull { limit_pages: LIMIT });
                            assert!(put == Ok(()) || put == full);
                            put.is_ok()
                        })
                        .count() as u32
                })
            });
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(stored, LIMIT);
        assert_eq!(tmem.pool_stats(pool).unwrap().pages, LIMIT);
        assert_eq!(tmem.destroy_pool(pool), Ok(LIMIT.into()));
    }
    tmem.check().unwrap();
}
