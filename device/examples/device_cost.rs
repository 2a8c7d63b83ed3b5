//! What a device costs over the cache below it: the same pages put and got through a [`Device`] without
//! tiers, one with them, and a bare `StdCache`, in turns; medians of a page, and ratios.
//!
//!     cargo run --release -p compcache-device --example device_cost [FILE OF PAGES]

use compcache::StdCache;
use compcache_device::{AnyCodec, BlockDevice, Config, Device, Ladder, Policy};
use compress::Lz4;
use std::time::Instant;

const PAGE: usize = 4096;
const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pages = match std::env::args().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => words(8192),
    };
    let count = pages.len() / PAGE;
    let lz4 = AnyCodec::Lz4(Lz4);
    let size = (count * PAGE) as u64;
    let bare = StdCache::build(lz4, compcache::Config::new(count as u64))?;
    let plain = Device::new(Config::new(size))?;
    let rung: Vec<AnyCodec> = "zstd:6".parse().into_iter().collect();
    let tiered = Device::new(Config {
        codec: Ladder::new(lz4, &rung)?,
        policy: Policy::ALL,
        ..Config::new(size)
    })?;
    let mut times = [const { Vec::new() }; 6];
    let mut out = [0; PAGE];
    for _ in 0..ROUNDS {
        let mut nth = 0;
        let mut take = |work: &mut dyn FnMut(usize, &[u8]) -> bool| {
            let started = Instant::now();
            let all = pages.chunks_exact(PAGE).enumerate();
            assert!(all.into_iter().all(|(index, page)| work(index, page)));
            let ns = started.elapsed().as_nanos() as usize / count.max(1);
            times[nth].push(ns);
            nth += 1;
        };
        take(&mut |index, page| bare.write(index as u64, 0, page).is_ok());
        take(&mut |index, page| plain.write((index * PAGE) as u64, page).is_ok());
        take(&mut |index, page| tiered.write((index * PAGE) as u64, page).is_ok());
        take(&mut |index, page| bare.get(index as u64, &mut out).is_ok() && out == page);
        take(&mut |index, page| plain.read((index * PAGE) as u64, &mut out).is_ok() && out == page);
        take(&mut |index, page| {
            tiered.read((index * PAGE) as u64, &mut out).is_ok() && out == page
        });
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    for (what, three) in ["put", "get"].iter().zip(medians.chunks(3)) {
        let [bare, plain, tiered] = three else {
            continue;
        };
        let ratio = |ns: &usize| *ns as f64 / *bare as f64;
        println!(
            "{what}: cache {bare} ns, device {plain} ns ({:.3}), with tiers {tiered} ns ({:.3})",
            ratio(plain),
            ratio(tiered)
        );
    }
    println!(
        "memory: cache {}, device {}, with tiers {}; workspaces {} and {}",
        bare.mm_stat().mem_used_total,
        plain.mm_stat().mem_used_total,
        tiered.mm_stat().mem_used_total,
        plain.tiered().workspace_bytes(),
        tiered.tiered().workspace_bytes()
    );
    Ok(())
}

/// Pages of words in a random order.
fn words(count: usize) -> Vec<u8> {
    let mut state = 7u64;
    let mut bytes = Vec::with_capacity(count * PAGE + 16);
    while bytes.len() < count * PAGE {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        bytes.extend_from_slice(format!("word{:x} ", (state >> 55) * 0x9e37).as_bytes());
    }
    bytes.truncate(count * PAGE);
    bytes
}
