//! A cache beside a plain map, through random operations, in every configuration: page size,
//! codec, checksum, page source. What the statistics say is computed from the map as well.

mod common;

use alloc_xv::{Counting, PageSource};
use common::{Page, Rng, TestCache, any_page, blank, cache, is_same, mmap, read, region};
use compcache::{Codec, Config, Lz4, Raw, SECTOR_SIZE, SIZE_CLASSES};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeMap;

/// Pages of the device; a few far apart, so that slots need leaves of their own.
const DEVICE: u64 = 1 << 16;
const INDICES: usize = 40;

struct Model<S: PageSource, C: Codec, const PAGE: usize> {
    cache: TestCache<Counting<S>, C, PAGE>,
    map: BTreeMap<u64, Page<PAGE>>,
    codec: C,
    workspace: C::Workspace,
    huge_pages_since: u64,
}

impl<S: PageSource, C: Codec + Clone, const PAGE: usize> Model<S, C, PAGE> {
    fn new(source: S, codec: C, checksum: bool) -> Self {
        let config = Config {
            checksum,
            ..Config::new(DEVICE)
        };
        Self {
            cache: cache(Counting::new(source), codec.clone(), config),
            map: BTreeMap::new(),
            workspace: codec.workspace(PAGE).unwrap(),
            codec,
            huge_pages_since: 0,
        }
    }

    /// Bytes that are stored for a page; a page that hardly shrinks is stored as it is.
    fn stored_len(&mut self, page: &[u8; PAGE]) -> usize {
        if is_same(page) {
            return 0;
        }
        let mut out = vec![0; self.codec.max_compressed_len(PAGE)];
        let len = self
            .codec
            .compress(&mut self.workspace, page, &mut out)
            .unwrap();
        if len < PAGE - PAGE / 64 { len } else { PAGE }
    }

    fn put(&mut self, index: u64, page: Page<PAGE>) {
        self.cache.put(index, &page).unwrap();
        self.huge_pages_since += u64::from(self.stored_len(&page) == PAGE);
        self.map.insert(index, page);
    }

    fn discard(&mut self, index: u64) {
        let was_stored = self.map.remove(&index).is_some();
        assert_eq!(self.cache.discard(index), Ok(was_stored));
    }

    fn write(&mut self, index: u64, offset: usize, bytes: &[u8]) {
        self.cache.write(index, offset, bytes).unwrap();
        if bytes.is_empty() {
            return;
        }
        let page = self.map.entry(index).or_insert_with(blank);
        page[offset..offset + bytes.len()].copy_from_slice(bytes);
        let page = page.clone();
        self.huge_pages_since += u64::from(self.stored_len(&page) == PAGE);
    }

    fn read(&self, index: u64, offset: usize, len: usize) {
        let mut out = vec![0xa5; len];
        self.cache.read(index, offset, &mut out).unwrap();
        match self.map.get(&index) {
            Some(page) => assert_eq!(out, page[offset..offset + len]),
            None => assert!(out.iter().all(|&byte| byte == 0)),
        }
    }

    fn verify(&self, index: u64) {
        assert_eq!(
            self.cache.contains(index),
            Ok(self.map.contains_key(&index))
        );
        assert!(read(&self.cache, index) == self.map.get(&index).cloned());
    }

    fn verify_all(&mut self) {
        self.cache.check().unwrap();
        for &index in self.map.keys() {
            self.verify(index);
        }
        self.verify_stat();
    }

    fn verify_stat(&mut self) {
        let stat = self.cache.mm_stat();
        let pages: Vec<_> = self.map.values().cloned().collect();
        let sizes: Vec<_> = pages.iter().map(|page| self.stored_len(page)).collect();
        let count = |size: usize| sizes.iter().filter(|&&other| other == size).count() as u64;
        assert_eq!(stat.orig_data_size, (pages.len() * PAGE) as u64);
        assert_eq!(stat.compr_data_size, sizes.iter().sum::<usize>() as u64);
        assert_eq!(stat.same_pages, count(0));
        assert_eq!(stat.huge_pages, count(PAGE));
        assert_eq!(stat.huge_pages_since, self.huge_pages_since);
        let mut classes = [0; SIZE_CLASSES];
        for size in sizes.iter().filter(|&&size| size > 0) {
            classes[(size - 1) / (PAGE / SIZE_CLASSES)] += 1;
        }
        assert_eq!(self.cache.size_classes(), classes);
        assert_eq!(stat.mem_limit, 0);
        let source = self.cache.source();
        assert_eq!(stat.mem_used_total, (source.taken() * S::PAGE_SIZE) as u64);
        assert!(stat.mem_used_max >= stat.mem_used_total);
        assert!(stat.mem_used_max <= (source.taken_max() * S::PAGE_SIZE) as u64);
        let memory = self.cache.memory();
        assert_eq!(memory.mem_used_total, stat.mem_used_total);
        assert!(memory.blocks >= stat.compr_data_size);
        assert!(memory.blocks + memory.metadata <= memory.mem_used_total + memory.beside);
    }

    fn discard_all(&mut self) {
        for index in self.map.keys().copied().collect::<Vec<_>>() {
            self.discard(index);
        }
        assert_eq!(self.cache.mm_stat().mem_used_total, 0);
        assert_eq!(self.cache.source().taken(), 0);
        self.verify_all();
    }

    fn reset(&mut self) {
        self.cache.reset();
        self.map.clear();
        self.huge_pages_since = 0;
        assert_eq!(self.cache.mm_stat().mem_used_max, 0);
        assert_eq!(self.cache.io_stat(), compcache::IoStat::default());
        self.verify_all();
    }
}

/// Whole sectors inside a page: where they begin, and bytes.
fn sectors<const PAGE: usize>(rng: &mut Rng) -> (usize, usize) {
    let first = rng.below(PAGE / SECTOR_SIZE);
    let count = rng.below(PAGE / SECTOR_SIZE - first + 1);
    (first * SECTOR_SIZE, count * SECTOR_SIZE)
}

fn random_operations<S: PageSource, C: Codec + Clone, const PAGE: usize>(
    source: S,
    codec: C,
    checksum: bool,
    steps: usize,
) {
    let mut model = Model::<S, C, PAGE>::new(source, codec, checksum);
    let mut rng = Rng(PAGE as u64 + u64::from(checksum));
    for step in 0..steps {
        let near = rng.below(INDICES) as u64;
        let index = if step % 4 == 0 { near << 10 } else { near };
        match rng.below(16) {
            0..=5 => model.put(index, any_page(&mut rng)),
            6..=8 => model.discard(index),
            9..=11 => {
                let (offset, len) = sectors::<PAGE>(&mut rng);
                let page = any_page::<PAGE>(&mut rng);
                model.write(index, offset, &page[offset..offset + len]);
            }
            12 => {
                let (offset, len) = sectors::<PAGE>(&mut rng);
                model.read(index, offset, len);
            }
            13 | 14 => model.verify(index),
            _ => {
                model.cache.compact(rng.below(8) as u64);
            }
        }
        if step % 64 == 0 {
            model.cache.check().unwrap();
            model.verify_stat();
        }
    }
    model.verify_all();
    assert!(model.cache.compact(u64::MAX).finished);
    model.verify_all();
    let packed = model.cache.mm_stat();
    model.discard_all();
    model.put(3, any_page(&mut rng));
    model.reset();
    assert!(packed.compr_data_size > 0 && packed.same_pages > 0 && packed.huge_pages > 0);
}

/// One test for each codec, page size and source; each with and without checksums.
macro_rules! for_each_configuration {
    ($($codec:ident: $value:expr, $steps:expr;)*) => {
        $(mod $codec {
            use super::*;
            for_each_configuration!(@sizes $value, $steps;
                page_4k 4096 4096, page_16k 16384 16384, page_64k 65536 65536,
                page_64k_over_4k 65536 4096, page_4k_over_64k 4096 65536);
        })*
    };
    (@sizes $value:expr, $steps:expr; $($name:ident $page:literal $frame:literal),*) => {
        $(#[test]
        fn $name() {
            let frames = 160 * 65536 / $frame;
            for checksum in [true, false] {
                random_operations::<_, _, $page>(
                    region::<$frame>(frames), $value, checksum, $steps);
                random_operations::<_, _, $page>(
                    mmap::<$frame>(frames), $value, checksum, $steps);
            }
        })*
    };
}

for_each_configuration! {
    lz4: Lz4, 500;
    raw: Raw, 500;
}

#[cfg(feature = "zstd")]
for_each_configuration! {
    zstd: compcache::Zstd::new(1).unwrap(), 200;
}

#[cfg(feature = "zstd")]
#[test]
fn a_codec_chosen_at_run_time() {
    for name in ["lz4", "raw", "zstd:3", "zstd:-5"] {
        let codec: compcache::AnyCodec = name.parse().unwrap();
        random_operations::<_, _, 4096>(region::<4096>(2600), codec, true, 200);
    }
}

/// The words of same-filled pages: those that fit into a slot, and those that do not.
#[test]
fn same_filled_pages_of_any_word_come_back() {
    let mut model = Model::<_, _, 4096>::new(region::<4096>(2000), Lz4, true);
    let mut rng = Rng(5);
    let special = [0, 1, u64::MAX, 1 << 63, 0x6161_6161_6161_6161, 1 << 59];
    let shifted = (0..64).map(|bit| rng.next() >> bit).collect::<Vec<_>>();
    let negative = (0..64).map(|bit| !(rng.next() >> bit)).collect::<Vec<_>>();
    for word in special.into_iter().chain(shifted).chain(negative) {
        let index = rng.below(300) as u64;
        model.put(index, common::same(word));
        model.verify(index);
    }
    model.verify_all();
    assert_eq!(model.cache.mm_stat().compr_data_size, 0);
    model.discard_all();
}

/// An index past the end of one arena's table, at the end of a big device.
#[test]
fn the_last_page_of_a_big_device_is_a_page() {
    let pages = 30_000_000;
    let config = Config::new(pages);
    let cache: TestCache<_, _, 4096> = cache(region::<4096>(64), Lz4, config);
    let page = common::mixed(1, 100);
    cache.put(pages - 1, &page).unwrap();
    assert_eq!(read(&cache, pages - 1), Some(page));
    assert_eq!(read(&cache, 0), None);
    assert!(cache.put(pages, &blank()).is_err());
}

#[test]
fn callers_may_bring_their_own_workspace() {
    let cache: TestCache<_, _, 4096> = cache(region::<4096>(64), Lz4, Config::new(10));
    let mut workspace = Box::new(compcache::Workspace::new(Lz4.workspace(4096).unwrap()));
    let mut back = blank();
    for (index, page) in [common::mixed(1, 100), common::noise(2), common::same(3)]
        .into_iter()
        .enumerate()
    {
        let index = index as u64;
        cache.put_with(&mut workspace, index, &page).unwrap();
        assert_eq!(cache.get_with(&mut workspace, index, &mut back), Ok(true));
        assert_eq!(back, page);
        assert_eq!(read(&cache, index), Some(page));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(u64, u64),
    Discard(u64),
    Write(u64, u64),
    Read(u64, u64),
    Compact(u64),
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    let index = || 0..12u64;
    prop_oneof![
        8 => (index(), any::<u64>()).prop_map(|(index, seed)| Op::Put(index, seed)),
        4 => index().prop_map(Op::Discard),
        5 => (index(), any::<u64>()).prop_map(|(index, seed)| Op::Write(index, seed)),
        3 => (index(), any::<u64>()).prop_map(|(index, seed)| Op::Read(index, seed)),
        1 => (0..9u64).prop_map(Op::Compact),
        1 => Just(Op::Compact(u64::MAX)),
        1 => Just(Op::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// Any sequence of operations leaves the cache as the map says.
    #[test]
    fn any_sequence_of_operations(ops in proptest::collection::vec(op(), 1..60)) {
        let mut model = Model::<_, _, 4096>::new(mmap::<4096>(200), Lz4, true);
        for op in ops {
            match op {
                Op::Put(index, seed) => model.put(index, any_page(&mut Rng(seed))),
                Op::Discard(index) => model.discard(index),
                Op::Write(index, seed) => {
                    let mut rng = Rng(seed);
                    let (offset, len) = sectors::<4096>(&mut rng);
                    let page = any_page::<4096>(&mut rng);
                    model.write(index, offset, &page[offset..offset + len]);
                }
                Op::Read(index, seed) => {
                    let (offset, len) = sectors::<4096>(&mut Rng(seed));
                    model.read(index, offset, len);
                }
                Op::Compact(objects) => {
                    model.cache.compact(objects);
                }
                Op::Reset => model.reset(),
            }
        }
        model.verify_all();
        model.discard_all();
    }
}
