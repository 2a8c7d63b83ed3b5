//! Two tenants of one tmem: each has a file cache (an ephemeral pool a file system) and a swap device (a
//! persistent pool), simulated. Prints what the pools count and where the memory went.
//!
//!     cargo run --release -p compcache-tmem --example guest

use compcache::Lz4;
use compcache_tmem::{Cleancache, Config, Frontswap, ObjectId, PoolId, PoolStats, StdTmem};
use std::collections::HashMap;
use std::collections::VecDeque;

const PAGE: usize = 4096;
const FILES: u64 = 200;
const FILE_PAGES: u64 = 32;
const PROCESS_PAGES: u64 = 4000;

/// A small deterministic generator (splitmix64).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 27)
    }

    /// Small numbers more often than large ones.
    fn skewed(&mut self, limit: u64) -> u64 {
        let (a, b) = (self.next() % limit, self.next() % limit);
        a * b / limit
    }
}

/// What the disk has at a place of a file in a version of it, or a process in a page of its memory.
fn content(place: u64, version: u64) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    let mut rng = Rng(place << 20 | version);
    // A quarter is noise, the rest text.
    for chunk in page[..PAGE / 4].chunks_mut(8) {
        chunk.copy_from_slice(&rng.next().to_le_bytes());
    }
    let words = b"the quick brown page jumps over the lazy frame and is packed again ";
    for (byte, &word) in page[PAGE / 4..].iter_mut().zip(words.iter().cycle()) {
        *byte = word;
    }
    page
}

/// Pages in a guest's own memory, least recently used first.
#[derive(Default)]
struct Resident {
    pages: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

impl Resident {
    fn remove(&mut self, place: u64) -> Option<u64> {
        let version = self.pages.remove(&place)?;
        self.order.retain(|&other| other != place);
        Some(version)
    }

    fn insert(&mut self, place: u64, version: u64) {
        self.pages.insert(place, version);
        self.order.push_back(place);
    }

    /// The page that has to go if there are more than `most`.
    fn victim(&mut self, most: usize) -> Option<(u64, u64)> {
        if self.pages.len() <= most {
            return None;
        }
        let place = self.order.pop_front()?;
        Some((place, self.pages.remove(&place)?))
    }
}

struct Guest<'t> {
    name: &'static str,
    rng: Rng,
    files: Cleancache<'t, Source, Lz4, Bank, Lock, PAGE, 4>,
    fs: PoolId,
    swap: Frontswap<'t, Source, Lz4, Bank, Lock, PAGE, 4>,
    /// Versions of the files' pages on the disk, and of those in memory.
    disk: HashMap<u64, u64>,
    cached: Resident,
    /// Versions of the process's pages: in memory, swapped to tmem, swapped to the disk.
    memory: Resident,
    swapped: HashMap<u64, (u64, bool)>,
    file_pages_max: usize,
    memory_pages_max: usize,
    disk_reads: u64,
    disk_writes: u64,
}

type Source = compcache::MmapSource<PAGE>;
type Bank = Vec<compcache::Shared<Lz4, PAGE>>;
type Lock = compcache::PatientMutex;

impl<'t> Guest<'t> {
    fn new(
        name: &'static str,
        seed: u64,
        tmem: &'t StdTmem<Lz4>,
        limits: (u32, u32),
    ) -> Result<Self, compcache_tmem::Error> {
        let files = Cleancache::new(tmem, limits.0);
        Ok(Self {
            name,
            rng: Rng(seed),
            fs: files.init_fs()?,
            files,
            swap: Frontswap::new(tmem, limits.1)?,
            disk: HashMap::new(),
            cached: Resident::default(),
            memory: Resident::default(),
            swapped: HashMap::new(),
            file_pages_max: 800,
            memory_pages_max: 1500,
            disk_reads: 0,
            disk_writes: 0,
        })
    }

    fn step(&mut self) {
        match self.rng.next() % 100 {
            0..=54 => self.read_file(),
            55..=59 => self.write_file(),
            60 => self.truncate(),
            _ => self.touch_memory(),
        }
    }

    fn some_file_page(&mut self) -> u64 {
        self.rng.skewed(FILES) * FILE_PAGES + self.rng.next() % FILE_PAGES
    }

    fn read_file(&mut self) {
        let place = self.some_file_page();
        let newest = self.disk.get(&place).copied().unwrap_or(0);
        let version = match self.cached.remove(place) {
            Some(version) => version,
            None => {
                let mut page = [0; PAGE];
                let inode = ObjectId::from(place / FILE_PAGES);
                let index = place % FILE_PAGES;
                if self.files.get_page(self.fs, inode, index, &mut page) {
                    assert!(page == content(place, newest), "an old page of a file");
                } else {
                    self.disk_reads += 1;
                }
                newest
            }
        };
        assert_eq!(version, newest);
        self.keep_file(place, version);
    }

    fn keep_file(&mut self, place: u64, version: u64) {
        self.cached.insert(place, version);
        if let Some((place, version)) = self.cached.victim(self.file_pages_max) {
            let inode = ObjectId::from(place / FILE_PAGES);
            let page = content(place, version);
            self.files
                .put_page(self.fs, inode, place % FILE_PAGES, &page);
        }
    }

    fn write_file(&mut self) {
        let place = self.some_file_page();
        self.cached.remove(place);
        let inode = ObjectId::from(place / FILE_PAGES);
        self.files
            .invalidate_page(self.fs, inode, place % FILE_PAGES);
        let version = self.disk.entry(place).or_insert(0);
        *version += 1;
        let version = *version;
        self.disk_writes += 1;
        self.keep_file(place, version);
    }

    fn truncate(&mut self) {
        let file = self.rng.skewed(FILES);
        self.files.invalidate_inode(self.fs, ObjectId::from(file));
        for place in file * FILE_PAGES..(file + 1) * FILE_PAGES {
            self.cached.remove(place);
            *self.disk.entry(place).or_insert(0) += 1;
        }
    }

    fn touch_memory(&mut self) {
        let place = self.rng.skewed(PROCESS_PAGES);
        let mut version = self.memory.remove(place).unwrap_or(0);
        if let Some((swapped, in_tmem)) = self.swapped.remove(&place) {
            if in_tmem {
                let mut page = [0; PAGE];
                let found = self.swap.load(0, place as u32, &mut page);
                assert_eq!(found, Ok(true), "a swapped page is there until it is freed");
                assert!(page == content(place | 1 << 30, swapped), "another page");
                self.swap.invalidate_page(0, place as u32);
            } else {
                self.disk_reads += 1;
            }
            version = swapped;
        }
        self.memory.insert(place, version + 1);
        if let Some((place, version)) = self.memory.victim(self.memory_pages_max) {
            let page = content(place | 1 << 30, version);
            let stored = self.swap.store(0, place as u32, &page).is_ok();
            if !stored {
                self.disk_writes += 1;
            }
            self.swapped.insert(place, (version, stored));
        }
    }
}

fn row(name: &str, stats: &PoolStats) {
    println!(
        "{name:<12} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        stats.pages,
        stats.limit_pages,
        stats.puts,
        stats.failed_puts,
        stats.get_hits,
        stats.get_misses,
        stats.flushes,
        stats.drops
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config {
        mem_limit: 8 << 20,
        ..Config::random(1 << 16)
    };
    let tmem = StdTmem::<Lz4>::build(Lz4, config)?;
    let mut guests = [
        Guest::new("a", 1, &tmem, (4000, 2000))?,
        Guest::new("b", 2, &tmem, (1000, 500))?,
    ];
    for _ in 0..150_000 {
        for guest in &mut guests {
            guest.step();
        }
    }
    println!(
        "{:<12} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "pool", "pages", "limit", "puts", "failed", "hits", "misses", "flushes", "drops"
    );
    for guest in &guests {
        row(
            &format!("{} files", guest.name),
            &tmem.pool_stats(guest.fs)?,
        );
        let swap = tmem.pool_stats(guest.swap.pool())?;
        row(&format!("{} swap", guest.name), &swap);
    }
    println!();
    for guest in &guests {
        println!(
            "guest {}: {} disk reads, {} disk writes",
            guest.name, guest.disk_reads, guest.disk_writes
        );
    }
    let (stats, memory) = (tmem.stats(), tmem.memory());
    println!(
        "memory: {} KiB of {}: {} pages compressed to {} KiB, {} bytes of metadata a page; longest chain {}",
        memory.total >> 10,
        config.mem_limit >> 10,
        stats.pages,
        stats.compressed_bytes >> 10,
        memory.metadata / u64::from(stats.pages.max(1)),
        stats.page_chain_max
    );
    for guest in guests {
        guest.files.invalidate_fs(guest.fs);
        guest.swap.close();
    }
    tmem.check()?;
    Ok(())
}
