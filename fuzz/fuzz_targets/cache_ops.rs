//! The page cache beside a plain map: pages and sectors come and go, pages run out, the limit
//! moves, the space is packed; in every page size and codec, with checksums and without.
#![no_main]

mod model_common;

use alloc_xv::{Counting, Failing, PageSource};
use compcache::{AnyCodec, Cache, Codec, Config, Error, SECTOR_SIZE, Shared};
use libfuzzer_sys::fuzz_target;
use model_common::{Counted, Input, Regions, Source, is_no_memory, pattern};
use std::collections::BTreeMap;

/// Bytes of all pages that one input puts, reads or writes: compressing takes its time.
const BYTES_MAX: usize = 32 * 4096;
const DEVICE: u64 = 1 << 10;

type Page<const PAGE: usize> = Box<[u8; PAGE]>;
type Bank<const PAGE: usize> = &'static [Shared<AnyCodec, PAGE>];
type Tested<'s, const PAGE: usize, P> =
    Cache<Source<'s, P>, AnyCodec, Bank<PAGE>, spin::Mutex<()>, PAGE, 2>;

fn blank<const PAGE: usize>() -> Page<PAGE> {
    vec![0; PAGE].try_into().expect("PAGE bytes")
}

fn page<const PAGE: usize>(seed: u64, input: &mut Input<'_>) -> Page<PAGE> {
    let mut page = blank();
    let kind = input.byte();
    match kind % 8 {
        0 => {}
        1 => {
            let word = input.number() ^ input.number();
            for chunk in page.chunks_mut(8) {
                chunk.copy_from_slice(&word.to_le_bytes());
            }
        }
        2 => page.copy_from_slice(&pattern(seed, PAGE)),
        3 => page[usize::from(input.word()) % PAGE] = input.byte(),
        _ => {
            // Noise up to somewhere, then two bytes in turn.
            let noisy = PAGE / 256 * usize::from(input.byte());
            let (front, back) = page.split_at_mut(noisy);
            front.copy_from_slice(&pattern(seed, noisy));
            for pair in back.chunks_mut(2) {
                pair.copy_from_slice(&[kind, seed as u8]);
            }
        }
    }
    page
}

/// Compares whole slices: the sanitizer counts every comparison of a loop over bytes.
fn is_same(page: &[u8]) -> bool {
    page[8..] == page[..page.len() - 8]
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes == &vec![0; bytes.len()][..]
}

struct Model<'s, const PAGE: usize, P: PageSource + 'static> {
    cache: Tested<'s, PAGE, P>,
    frames: &'s Counted<P>,
    map: BTreeMap<u64, Page<PAGE>>,
}

impl<const PAGE: usize, P: PageSource + 'static> Model<'_, PAGE, P> {
    fn verify(&self, index: u64) {
        let mut back: Page<PAGE> = blank();
        back.fill(0xa5);
        let stored = self.cache.get(index, &mut back).unwrap();
        match self.map.get(&index) {
            Some(page) => assert!(stored && back == *page),
            None => assert!(!stored && is_zero(&back[..])),
        }
        assert_eq!(self.cache.contains(index), Ok(stored));
    }

    fn verify_stat(&self) {
        let stat = self.cache.mm_stat();
        let pages = self.map.len();
        let same = self.map.values().filter(|page| is_same(&page[..])).count();
        assert_eq!(stat.orig_data_size, (pages * PAGE) as u64);
        assert_eq!(stat.same_pages, same as u64);
        assert!(stat.compr_data_size <= ((pages - same) * PAGE) as u64);
        assert!(stat.huge_pages <= (pages - same) as u64);
        assert_eq!(
            stat.mem_used_total,
            (self.frames.taken() * P::PAGE_SIZE) as u64
        );
    }

    /// An operation that failed for want of memory changed nothing.
    fn change(&mut self, index: u64, new: Page<PAGE>, result: impl Fn(&Self) -> Result<(), Error>) {
        let before = self.cache.mm_stat();
        match result(self) {
            Ok(()) => drop(self.map.insert(index, new)),
            Err(Error::NoSpace(error)) => {
                assert!(is_no_memory(error), "{error}");
                let mut after = self.cache.mm_stat();
                after.mem_used_max = before.mem_used_max;
                assert_eq!(after, before);
                self.verify(index);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn write(&mut self, index: u64, seed: u64, input: &mut Input<'_>) {
        let sectors = PAGE / SECTOR_SIZE;
        let offset = usize::from(input.byte()) % sectors * SECTOR_SIZE;
        let len = (usize::from(input.byte()) * SECTOR_SIZE).min(PAGE - offset);
        if len == 0 {
            assert_eq!(self.cache.write(index, offset, &[]), Ok(()));
            return;
        }
        let bytes = page::<PAGE>(seed, input)[..len].to_vec();
        let mut new = self.map.get(&index).cloned().unwrap_or_else(blank);
        new[offset..offset + len].copy_from_slice(&bytes);
        self.change(index, new, |model| model.cache.write(index, offset, &bytes));
    }

    fn read(&self, index: u64, input: &mut Input<'_>) {
        let (offset, len) = (usize::from(input.word()), usize::from(input.word()));
        let (offset, len) = match offset % 4 {
            0 => (offset, len),
            _ => (
                offset / SECTOR_SIZE * SECTOR_SIZE,
                len / SECTOR_SIZE * SECTOR_SIZE,
            ),
        };
        let mut back = vec![0xa5; len];
        let result = self.cache.read(index, offset, &mut back);
        let whole = offset.is_multiple_of(SECTOR_SIZE) && len.is_multiple_of(SECTOR_SIZE);
        if !whole || offset + len > PAGE {
            let page_size = PAGE;
            assert_eq!(
                result,
                Err(Error::BadRange {
                    offset,
                    len,
                    page_size
                })
            );
            return;
        }
        result.unwrap();
        match self.map.get(&index) {
            Some(page) => assert!(back == page[offset..offset + len]),
            None => assert!(is_zero(&back)),
        }
    }

    fn step(&mut self, op: u8, index: u64, seed: u64, input: &mut Input<'_>) {
        match op % 32 {
            0..=9 => {
                let page = page(seed, input);
                self.change(index, page.clone(), |model| model.cache.put(index, &page));
            }
            10..=14 => self.write(index, seed, input),
            15..=19 => {
                let stored = self.map.remove(&index).is_some();
                assert_eq!(self.cache.discard(index), Ok(stored));
            }
            20 => self.verify(index),
            21 | 22 => self.read(index, input),
            23 => drop(self.cache.compact(u64::from(input.byte()))),
            24 => self
                .cache
                .source()
                .fail_after(usize::from(input.byte() % 6)),
            25 => self.cache.source().never_fail(),
            26 => self.cache.set_mem_limit(u64::from(input.byte()) * 1024),
            27 => self.cache.set_mem_limit(0),
            28 => {
                let index = DEVICE + input.number() % (u64::MAX - DEVICE);
                let error = Error::OutOfRange {
                    index,
                    pages: DEVICE,
                };
                assert_eq!(self.cache.put(index, &blank()), Err(error));
                assert_eq!(self.cache.discard(index), Err(error));
            }
            29 if seed.is_multiple_of(8) => {
                self.cache.reset();
                self.map.clear();
            }
            _ => {
                self.cache.check().unwrap();
                self.verify_stat();
            }
        }
    }
}

fn run<const PAGE: usize, P: PageSource + 'static>(
    pages: &'static P,
    (codec, bank): (AnyCodec, Bank<PAGE>),
    checksum: bool,
    mut input: Input<'_>,
) {
    let frames: Counted<P> = Counting::new(pages);
    let config = Config {
        checksum,
        ..Config::new(DEVICE)
    };
    let cache = Cache::new(Failing::new(&frames), codec, bank, config).unwrap();
    let mut model: Model<'_, PAGE, P> = Model {
        cache,
        frames: &frames,
        map: BTreeMap::new(),
    };
    for seed in 0..(BYTES_MAX / PAGE).max(6) as u64 {
        if input.is_empty() {
            break;
        }
        let op = input.byte();
        let byte = u64::from(input.byte());
        let index = if byte < 192 { byte % 16 } else { byte * 4 };
        model.step(op, index, seed, &mut input);
    }
    model.cache.check().unwrap();
    model.verify_stat();
    for &index in model.map.keys() {
        model.verify(index);
    }
    for index in core::mem::take(&mut model.map).into_keys() {
        assert_eq!(model.cache.discard(index), Ok(true));
    }
    assert_eq!(model.cache.mm_stat().mem_used_total, 0);
    model.verify_stat();
    drop(model);
    assert_eq!(frames.taken(), 0);
}

/// Codecs with a workspace each, made once.
struct Banks<const PAGE: usize>([(AnyCodec, Bank<PAGE>); 3]);

impl<const PAGE: usize> Banks<PAGE> {
    fn new() -> Self {
        Self(["lz4", "raw", "zstd:1"].map(|name| {
            let codec: AnyCodec = name.parse().expect("a codec of this build");
            let workspace = codec.workspace(PAGE).expect("memory for a workspace");
            (codec, &*Vec::leak(vec![Shared::new(workspace)]))
        }))
    }
}

struct Kept {
    regions: Regions,
    small: Banks<4096>,
    middle: Banks<16384>,
    large: Banks<65536>,
}

thread_local! {
    static KEPT: Kept = Kept {
        regions: Regions::new(),
        small: Banks::new(),
        middle: Banks::new(),
        large: Banks::new(),
    };
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let how = input.byte();
    let checksum = how & 0x80 == 0;
    // zstd is slow, and most of what it does is not ours.
    let codec = [0, 0, 0, 0, 0, 1, 1, 2][usize::from(how >> 4 & 7)];
    KEPT.with(|kept| {
        let regions = &kept.regions;
        let (small, middle, large) = (&kept.small.0, &kept.middle.0, &kept.large.0);
        match how & 15 {
            0 => run(regions.middle, small[codec], checksum, input),
            1 => run(regions.middle, middle[codec], checksum, input),
            2 => run(regions.small, large[codec], checksum, input),
            3 => run(regions.large, large[codec], checksum, input),
            4..=7 => run(regions.windows, small[codec], checksum, input),
            _ => run(regions.small, small[codec], checksum, input),
        }
    });
});
