//! Memory that goes to another owner carries nothing of the last one.

mod common;

use alloc_xv::{PageSource, Pool, RegionSource};
use common::{Rng, TestCache, any_page, blank, cache, leak, mixed, mmap, noise, read, region};
use compcache::{Config, Lz4};

const SECRET: [u8; 16] = *b"a very secret \xa5\x5a";

fn holds_secret(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == &SECRET[..4])
}

/// A page of secrets that is stored as it is: it begins with noise, and has secrets all over.
fn secret_page(seed: u64) -> common::Page<4096> {
    let mut page = noise(seed);
    for chunk in page.chunks_mut(64) {
        chunk[..16].copy_from_slice(&SECRET);
    }
    page
}

/// Runs `work` with a region, and then looks at every byte of it.
fn with_region<const FRAME: usize>(frames: usize, work: impl FnOnce(RegionSource<FRAME>)) {
    let memory = leak((frames + 3) * FRAME);
    let (start, bytes) = (memory.as_mut_ptr(), memory.len());
    let skip = start.align_offset(FRAME);
    // SAFETY: all of the leaked memory, whose first reference is not used any more.
    let memory = unsafe { core::slice::from_raw_parts_mut(start, bytes) };
    work(RegionSource::new(memory).unwrap());
    // SAFETY: as above; the source with the second reference is gone.
    let memory = unsafe { core::slice::from_raw_parts(start, bytes) };
    let usable = (bytes - skip) / FRAME * FRAME;
    assert!(memory[skip..skip + usable].iter().all(|&byte| byte == 0));
}

#[test]
fn a_region_is_zero_when_everything_is_discarded() {
    with_region::<4096>(200, |source| {
        let cache: TestCache<_, _, 4096> = cache(source, Lz4, Config::new(100));
        for index in 0..100 {
            cache.put(index, &secret_page(index)).unwrap();
        }
        for index in 0..100 {
            cache.discard(index).unwrap();
        }
        assert_eq!(cache.mm_stat().mem_used_total, 0);
    });
}

#[test]
fn a_region_is_zero_when_a_full_cache_is_dropped() {
    with_region::<4096>(300, |source| {
        let cache: TestCache<_, _, 4096> = cache(source, Lz4, Config::new(100));
        let mut rng = Rng(1);
        for _ in 0..500 {
            let _ = cache.put(rng.below(100) as u64, &any_page(&mut rng));
        }
        assert!(cache.mm_stat().mem_used_total > 0);
    });
    with_region::<16384>(300, |source| {
        let cache: TestCache<_, _, 4096> = cache(source, Lz4, Config::new(1 << 20));
        for index in 0..100 {
            cache.put(index << 13, &secret_page(index)).unwrap();
        }
    });
}

#[test]
fn what_a_page_held_shows_in_no_other() {
    let cache: TestCache<_, _, 4096> = cache(region::<4096>(200), Lz4, Config::new(200));
    let mut rng = Rng(3);
    for round in 0..2000 {
        let secret = 100 + rng.below(100) as u64;
        match rng.below(3) {
            0 => cache.put(secret, &secret_page(round)).unwrap(),
            1 => drop(cache.discard(secret).unwrap()),
            _ => {
                // A part of a page that was never stored: all the rest is zeroes.
                let plain = rng.below(100) as u64;
                cache.discard(plain).unwrap();
                let sector = mixed::<4096>(round, 30);
                cache.write(plain, 1024, &sector[..512]).unwrap();
                let page = read(&cache, plain).unwrap();
                assert_eq!(page[1024..1536], sector[..512]);
                let rest = page[..1024].iter().chain(&page[1536..]);
                assert!(rest.copied().all(|byte| byte == 0));
            }
        }
        let plain = rng.below(100) as u64;
        assert!(!holds_secret(&read(&cache, plain).unwrap_or(blank())[..]));
    }
}

fn fresh_objects_are_clear<S: PageSource>(source: S) {
    let pool: Pool<_> = Pool::new(source);
    let mut rng = Rng(4);
    let mut live = Vec::new();
    for _ in 0..4000 {
        if live.len() < 60 && rng.below(5) > 1 {
            let size = 1 + rng.below(9000);
            let handle = pool.alloc(size).unwrap();
            let mut bytes = vec![0xff; size];
            pool.read_into(handle, 0, &mut bytes).unwrap();
            assert!(bytes.iter().all(|&byte| byte == 0));
            let secrets: Vec<u8> = SECRET.into_iter().cycle().take(size).collect();
            pool.write(handle, 0, &secrets).unwrap();
            live.push(handle);
        } else if !live.is_empty() {
            pool.free(live.swap_remove(rng.below(live.len()))).unwrap();
        }
        if rng.below(50) == 0 {
            pool.compact(20);
        }
    }
}

#[test]
fn fresh_objects_hold_nothing_of_old_ones() {
    fresh_objects_are_clear(region::<4096>(300));
    fresh_objects_are_clear(region::<65536>(40));
    fresh_objects_are_clear(mmap::<4096>(300));
}
