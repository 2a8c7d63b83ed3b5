//! What the tests share: pages of many kinds, sources of pages, caches of every configuration.
#![allow(dead_code, reason = "each test uses its part")]

use alloc_xv::{MmapSource, PageSource, RegionSource};
use compcache::{Cache, Codec, Config, Shared};

/// A small deterministic generator (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Fills `bytes` with what no codec makes smaller.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A page in memory.
pub(crate) type Page<const PAGE: usize> = Box<[u8; PAGE]>;

pub(crate) fn blank<const PAGE: usize>() -> Page<PAGE> {
    vec![0; PAGE].try_into().expect("PAGE bytes")
}

/// One 8-byte word, over and over.
pub(crate) fn same<const PAGE: usize>(word: u64) -> Page<PAGE> {
    let mut page = blank();
    for chunk in page.chunks_mut(8) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    page
}

/// A page that no codec makes smaller.
pub(crate) fn noise<const PAGE: usize>(seed: u64) -> Page<PAGE> {
    let mut page = blank();
    Rng(seed).fill(&mut page[..]);
    page
}

/// A page of which the given part, of 256, is noise and the rest words.
pub(crate) fn mixed<const PAGE: usize>(seed: u64, noisy: usize) -> Page<PAGE> {
    const WORDS: &[u8] = b"the quick brown page jumps over the lazy frame and is packed again ";
    let mut page = blank();
    let (front, back) = page.split_at_mut(PAGE * noisy / 256);
    Rng(seed).fill(front);
    let skip = (seed % WORDS.len() as u64) as usize;
    for (byte, source) in back.iter_mut().zip(WORDS.iter().cycle().skip(skip)) {
        *byte = *source;
    }
    page
}

/// Some page, of one of the kinds that memory has.
pub(crate) fn any_page<const PAGE: usize>(rng: &mut Rng) -> Page<PAGE> {
    match rng.below(12) {
        0 => blank(),
        1 => same(u64::from_ne_bytes([rng.next() as u8; 8])),
        2 => same(rng.next()),
        3 => same(rng.next() >> rng.below(64)),
        4 | 5 => noise(rng.next()),
        _ => {
            let noisy = rng.below(257);
            mixed(rng.next(), noisy)
        }
    }
}

/// The word that the page repeats, if it does: the plainest way to say it.
pub(crate) fn is_same(page: &[u8]) -> bool {
    page.chunks(8).all(|chunk| chunk == &page[..8])
}

/// Memory for a region, never given back, filled with bytes that are not zero.
pub(crate) fn leak(bytes: usize) -> &'static mut [u8] {
    Vec::leak(vec![0xee; bytes])
}

/// A source whose memory is a region.
pub(crate) fn region<const FRAME: usize>(frames: usize) -> RegionSource<FRAME> {
    RegionSource::new(leak((frames + 3) * FRAME)).expect("room for frames")
}

/// A source whose memory is the system's.
pub(crate) fn mmap<const FRAME: usize>(frames: usize) -> MmapSource<FRAME> {
    MmapSource::new(frames * FRAME).expect("address space")
}

/// A cache over any source and codec, with two arenas.
pub(crate) type TestCache<S, C, const PAGE: usize> =
    Cache<S, C, Vec<Shared<C, PAGE>>, spin::Mutex<()>, PAGE, 2>;

/// A cache with `workspaces` workspaces.
pub(crate) fn cache_with<S: PageSource, C: Codec, const PAGE: usize>(
    source: S,
    codec: C,
    config: Config,
    workspaces: usize,
) -> TestCache<S, C, PAGE> {
    let bank = (0..workspaces)
        .map(|_| Shared::new(codec.workspace(PAGE).expect("a page of a supported size")))
        .collect();
    Cache::new(source, codec, bank, config).expect("a sensible configuration")
}

/// A cache for one thread.
pub(crate) fn cache<S: PageSource, C: Codec, const PAGE: usize>(
    source: S,
    codec: C,
    config: Config,
) -> TestCache<S, C, PAGE> {
    cache_with(source, codec, config, 1)
}

/// Reads a page into one full of other bytes; `None` if none is stored.
pub(crate) fn read<S: PageSource, C: Codec, const PAGE: usize>(
    cache: &TestCache<S, C, PAGE>,
    index: u64,
) -> Option<Page<PAGE>> {
    let mut page: Page<PAGE> = same(0xa5a5_a5a5_a5a5_a5a5);
    let stored = cache.get(index, &mut page).expect("an undamaged page");
    assert!(stored || page.iter().all(|&byte| byte == 0));
    stored.then_some(page)
}
