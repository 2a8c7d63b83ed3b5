//! Damaged memory: with checksums every damaged page is an error, never another page's bytes.

mod common;

use alloc_xv::{FrameId, OutOfPages, PageSource, RegionSource};
use common::{Page, TestCache, blank, cache, mixed, noise, read, region, same};
use compcache::{Codec, Config, Error, Lz4, Raw};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// Passes everything on and remembers which frames are taken, to damage what lies in them.
struct Damaging {
    inner: RegionSource<4096>,
    taken: Mutex<BTreeSet<u32>>,
}

// SAFETY: frames and addresses are those of `inner`, which keeps the contract. Its third part,
// that a frame is the taker's alone, is broken on purpose in `frame`: see there.
unsafe impl PageSource for Damaging {
    const PAGE_SIZE: usize = 4096;

    fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        let frame = self.inner.take(wanted)?;
        self.taken.lock().unwrap().insert(frame.number());
        Ok(frame)
    }

    unsafe fn give_back(&self, frame: FrameId) {
        self.taken.lock().unwrap().remove(&frame.number());
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { self.inner.give_back(frame) }
    }

    fn address(&self, frame: FrameId) -> *mut u8 {
        self.inner.address(frame)
    }
}

impl Damaging {
    fn new(frames: usize) -> Self {
        Self {
            inner: region(frames),
            taken: Mutex::new(BTreeSet::new()),
        }
    }

    /// Calls `change` with the one place in the taken frames that reads as `bytes`; false if
    /// there is none (they may lie across two frames) or more than one.
    fn at(&self, bytes: &[u8], change: impl FnOnce(&mut [u8])) -> bool {
        let mut found = None;
        for &number in self.taken.lock().unwrap().iter() {
            for (place, _) in self
                .frame(number)
                .windows(bytes.len())
                .enumerate()
                .filter(|(_, window)| *window == bytes)
            {
                if found.replace((number, place)).is_some() {
                    return false;
                }
            }
        }
        let Some((number, place)) = found else {
            return false;
        };
        change(&mut self.frame(number)[place..place + bytes.len()]);
        true
    }

    /// All bytes of a taken frame.
    #[expect(clippy::mut_from_ref, reason = "the frame is not in the source itself")]
    fn frame(&self, number: u32) -> &mut [u8] {
        let start = self.address(FrameId::new(number).unwrap());
        // SAFETY: 1. callers pass frames that are taken, so these are 4096 bytes of memory;
        // 2. the test has one thread, which is not inside the cache now and holds nothing of
        // it, and callers use one frame at a time: no other reference into it is in use.
        unsafe { core::slice::from_raw_parts_mut(start, 4096) }
    }

    /// Flips a bit of what reads as `bytes`.
    fn flip(&self, bytes: &[u8], bit: usize) -> bool {
        self.at(bytes, |found| found[bit / 8] ^= 1 << (bit % 8))
    }
}

type Damaged<C, const PAGE: usize> = TestCache<Damaging, C, PAGE>;

/// The bytes that are stored for a page.
fn stored_bytes<C: Codec, const PAGE: usize>(codec: &C, page: &[u8; PAGE]) -> Vec<u8> {
    let mut out = vec![0; codec.max_compressed_len(PAGE)];
    let mut workspace = codec.workspace(PAGE).unwrap();
    let len = codec.compress(&mut workspace, page, &mut out).unwrap();
    if len >= PAGE - PAGE / 64 {
        return page.to_vec();
    }
    out.truncate(len);
    out
}

/// Damages many places of a page's stored bytes, one at a time; `look` judges what is read.
fn damage_everywhere<C: Codec + Clone, const PAGE: usize>(
    codec: C,
    checksum: bool,
    look: impl Fn(&Damaged<C, PAGE>, &Page<PAGE>, Result<Page<PAGE>, Error>),
) {
    let config = Config {
        checksum,
        ..Config::new(64)
    };
    let cache: Damaged<C, PAGE> = cache(Damaging::new(600), codec.clone(), config);
    let page_of = |index: u64| mixed::<PAGE>(index, (index * 37 % 257) as usize);
    for index in 0..20 {
        cache.put(index, &page_of(index)).unwrap();
    }
    let mut damages = 0;
    for index in 0..20 {
        let page = page_of(index);
        let bytes = stored_bytes(&codec, &page);
        let places = (40 * 4096 / PAGE).max(8);
        let steps = bytes.len().div_ceil(places).max(8);
        for (turn, start) in (0..bytes.len().saturating_sub(16))
            .step_by(steps)
            .enumerate()
        {
            let window = &bytes[start..start + 16];
            let bit = (turn * 29 + index as usize * 7) % 128;
            if !cache.source().flip(window, bit) {
                continue;
            }
            damages += 1;
            let mut back: Page<PAGE> = same(0x5a5a_5a5a_5a5a_5a5a);
            let result = cache.get(index, &mut back);
            if result.is_err() {
                assert_eq!(back, blank(), "a failed read leaves zeroes");
            }
            look(&cache, &page, result.map(|_| back));
            let mut damaged = window.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(cache.source().flip(&damaged, bit));
            assert_eq!(read(&cache, index), Some(page.clone()));
        }
    }
    assert!(
        damages > 40,
        "{damages} places found: the test has lost its point"
    );
    cache.check().unwrap();
}

fn every_damage_is_noticed<C: Codec + Clone, const PAGE: usize>(codec: C) {
    damage_everywhere::<C, PAGE>(codec, true, |_, _, result| {
        assert!(matches!(result, Err(Error::Corrupt { .. })));
    });
}

#[test]
fn lz4_with_checksums_notices_every_damage() {
    every_damage_is_noticed::<_, 4096>(Lz4);
    every_damage_is_noticed::<_, 16384>(Lz4);
    every_damage_is_noticed::<_, 65536>(Lz4);
}

#[test]
fn raw_with_checksums_notices_every_damage() {
    every_damage_is_noticed::<_, 4096>(Raw);
    every_damage_is_noticed::<_, 65536>(Raw);
}

#[cfg(feature = "zstd")]
#[test]
fn zstd_with_checksums_notices_every_damage() {
    every_damage_is_noticed::<_, 4096>(compcache::Zstd::default());
}

/// Without checksums only what does not decode is noticed; whatever comes back, it comes back.
#[test]
fn without_checksums_nothing_panics() {
    let look = |_: &Damaged<_, 4096>, _: &Page<4096>, result: Result<_, _>| {
        assert!(matches!(result, Ok(_) | Err(Error::Corrupt { .. })));
    };
    damage_everywhere(Lz4, false, look);
    #[cfg(feature = "zstd")]
    damage_everywhere(
        compcache::Zstd::default(),
        false,
        |_: &Damaged<_, 4096>, _, _| {},
    );
}

/// A page that is read, written in part and discarded after its bytes were damaged.
#[test]
fn a_damaged_page_can_be_replaced() {
    let cache: Damaged<Lz4, 4096> = cache(Damaging::new(20), Lz4, Config::new(8));
    let page = noise(7);
    cache.put(5, &page).unwrap();
    let stat = cache.mm_stat();
    let damage = || assert!(cache.source().flip(&page[64..80], 3));
    damage();
    let corrupt = Err(Error::Corrupt { index: 5 });
    let mut sector = [0x77; 512];
    assert_eq!(cache.read(5, 1024, &mut sector), corrupt);
    assert_eq!(
        sector, [0x77; 512],
        "a failed read of a part leaves the buffer"
    );
    assert_eq!(cache.write(5, 0, &[1; 512]), corrupt);
    assert_eq!(cache.get(5, &mut blank()), corrupt.map(|()| true));
    assert_eq!(cache.mm_stat(), stat);
    let io = cache.io_stat();
    assert_eq!((io.failed_reads, io.failed_writes), (2, 1));
    assert_eq!(cache.contains(5), Ok(true));

    cache.put(5, &page).unwrap();
    assert_eq!(read(&cache, 5), Some(page.clone()));
    damage();
    assert_eq!(cache.discard(5), Ok(true));
    assert_eq!(read(&cache, 5), None);
    assert_eq!(cache.mm_stat().mem_used_total, 0);
}

/// The bytes of one page with their checksum, in the place of another's: a table that went
/// wrong, or memory that was mapped twice. The checksum knows whose bytes it covers.
#[test]
fn the_bytes_of_another_page_are_noticed() {
    let cache: Damaged<Raw, 4096> = cache(Damaging::new(20), Raw, Config::new(8));
    // Sixteen bytes differ, and the checksum.
    let page_of = |index: u8| {
        let mut page = noise(1);
        page[4080..].fill(index);
        page
    };
    // Two before each, in its arena, so that the last bytes do not lie across two frames.
    for index in [3, 5, 1, 4, 6, 2] {
        cache.put(u64::from(index), &page_of(index)).unwrap();
    }
    let mut tails = Vec::new();
    let source = cache.source();
    for index in [1u8, 2] {
        for &number in source.taken.lock().unwrap().iter() {
            let frame = source.frame(number);
            if let Some(place) = frame.windows(16).position(|window| window == [index; 16]) {
                tails.push(frame[place..place + 20].to_vec());
            }
        }
    }
    let [first, second] = &tails[..] else {
        panic!("each end lies in one frame");
    };
    assert!(
        cache
            .source()
            .at(first, |bytes| bytes.copy_from_slice(second))
    );
    assert_eq!(cache.get(1, &mut blank()), Err(Error::Corrupt { index: 1 }));
    assert_eq!(read(&cache, 2), Some(page_of(2)));
}

/// The word of a same-filled page that has no room in its slot is stored as bytes, too.
#[test]
fn a_damaged_word_is_noticed() {
    let word = 0x4123_4567_89ab_cdef_u64;
    let cache: Damaged<Lz4, 4096> = cache(Damaging::new(20), Lz4, Config::new(8));
    cache.put(3, &same(word)).unwrap();
    assert!(cache.source().flip(&word.to_le_bytes(), 11));
    assert_eq!(cache.get(3, &mut blank()), Err(Error::Corrupt { index: 3 }));
    assert!(cache.source().flip(&(word ^ 1 << 11).to_le_bytes(), 11));
    assert_eq!(read(&cache, 3), Some(same(word)));
}
