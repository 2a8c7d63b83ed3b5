//! What keys cost: memory of the index for a page, by the number of pages an object has, and the time
//! of a put and a get beside those of the page cache alone, as ratios of one run.
//!
//!     cargo run --release -p compcache-tmem --example tmem_cost

use compcache::{Config as CacheConfig, Lz4, StdCache};
use compcache_tmem::{ObjectId, PoolId, PoolOptions, StdTmem};
use std::time::{Duration, Instant};

const PAGES: u32 = 60_000;
const ROUNDS: usize = 5;

fn page(number: u32) -> [u8; 4096] {
    let mut page = [0; 4096];
    let mut state = u64::from(number) << 20 | 1;
    for (place, chunk) in page.chunks_mut(8).enumerate() {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(9);
        let word = if place % 3 == 0 {
            state
        } else {
            place as u64 / 7
        };
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    page
}

/// Where page `number` is, `by` pages an object.
fn key(number: u32, by: u32) -> (ObjectId, u32) {
    (ObjectId::from(u64::from(number / by)), number % by)
}

fn fill(tmem: &StdTmem<Lz4>, pool: PoolId, by: u32, pages: &[[u8; 4096]]) -> Duration {
    let start = Instant::now();
    for number in 0..PAGES {
        let (object, index) = key(number, by);
        tmem.put(pool, object, index, &pages[number as usize % pages.len()])
            .expect("room");
    }
    start.elapsed() / PAGES
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pages: Vec<_> = (0..1000).map(page).collect();
    println!("pages an object, bytes a page: index, all metadata with the page cache's");
    for by in [1, 4, 16, 64, PAGES] {
        let tmem = StdTmem::<Lz4>::with_pages(u64::from(PAGES))?;
        let pool = tmem.new_pool(PoolOptions::EPHEMERAL)?;
        fill(&tmem, pool, by, &pages);
        let memory = tmem.memory();
        let stored = memory.cache + memory.index;
        let payload = tmem.stats().compressed_bytes;
        println!(
            "{by:>8} {:>7.1} {:>7.1}   longest chain {}",
            memory.index as f64 / f64::from(PAGES),
            (stored - payload) as f64 / f64::from(PAGES),
            tmem.stats().page_chain_max
        );
    }

    println!("\nns an operation, medians of {ROUNDS} rounds: page cache, tmem, ratio");
    let mut times: [Vec<Duration>; 7] = Default::default();
    for _ in 0..ROUNDS {
        let cache = StdCache::<Lz4>::build(Lz4, CacheConfig::new(u64::from(PAGES)))?;
        let start = Instant::now();
        for number in 0..PAGES {
            cache.put(u64::from(number), &pages[number as usize % pages.len()])?;
        }
        times[0].push(start.elapsed() / PAGES);
        let mut back = [0; 4096];
        let start = Instant::now();
        for number in 0..PAGES {
            let number = number.wrapping_mul(7919) % PAGES;
            assert!(cache.get(u64::from(number), &mut back)?);
        }
        times[2].push(start.elapsed() / PAGES);
        let start = Instant::now();
        for number in 0..PAGES {
            let number = u64::from(number.wrapping_mul(7919) % PAGES);
            assert!(cache.get(number, &mut back)? && cache.discard(number)?);
        }
        times[6].push(start.elapsed() / PAGES);
        drop(cache);

        let tmem = StdTmem::<Lz4>::with_pages(u64::from(PAGES))?;
        for (options, place) in [(PoolOptions::PERSISTENT, 3), (PoolOptions::EPHEMERAL, 5)] {
            let pool = tmem.new_pool(options)?;
            let put = fill(&tmem, pool, 16, &pages);
            if place == 3 {
                times[1].push(put);
            } else {
                times[4].push(put);
            }
            let start = Instant::now();
            for number in 0..PAGES {
                let (object, index) = key(number.wrapping_mul(7919) % PAGES, 16);
                assert!(tmem.get(pool, object, index, &mut back)?);
            }
            times[place].push(start.elapsed() / PAGES);
            tmem.destroy_pool(pool)?;
        }
    }
    let [
        cache_put,
        put,
        cache_get,
        get,
        put_files,
        get_files,
        cache_take,
    ] = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2].as_nanos() as f64
    });
    for (name, base, time) in [
        ("put, persistent", cache_put, put),
        ("put, ephemeral", cache_put, put_files),
        ("get, persistent", cache_get, get),
        // Beside a get and a discard.
        ("get, ephemeral: exclusive", cache_take, get_files),
    ] {
        println!("{name:<26} {base:>7.0} {time:>7.0} {:>6.2}", time / base);
    }
    Ok(())
}
