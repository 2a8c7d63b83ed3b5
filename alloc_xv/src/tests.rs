//! Tests of the whole crate: models beside pool and slots, failures at every step, bounds.
#![allow(unsafe_code)]

mod bounds;
mod embedder;
mod failures;
mod model;
mod room;
mod threads;
mod touch;

use crate::{MmapSource, PageSource, RegionSource};
use std::vec;
use std::vec::Vec;

/// A source of `pages` pages in memory that the test leaks.
pub(crate) fn region<const PAGE: usize>(pages: usize) -> RegionSource<PAGE> {
    let memory: &'static mut [u8] = Vec::leak(vec![0xee; (pages + 3) * PAGE]);
    RegionSource::new(memory).expect("large enough")
}

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

    /// Sizes as compressed pages have them, with some very small and some bigger than a page.
    pub(crate) fn size(&mut self) -> usize {
        match self.below(20) {
            0 => 1 + self.below(16),
            1 => 4090 + self.below(12),
            2 => 1 + self.below(crate::OBJECT_MAX),
            _ => 30 + self.below(3700),
        }
    }
}

/// Bytes that tell which object they belong to.
pub(crate) fn pattern(seed: u64, size: usize) -> Vec<u8> {
    let mut rng = Rng(seed);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A configuration that the suite runs in: a kind of source and its page size.
pub(crate) trait Place {
    type Source: PageSource;
    const PAGE: usize = Self::Source::PAGE_SIZE;
    /// A source of `pages` pages.
    fn source(pages: usize) -> Self::Source;
}

/// Pages anywhere, behind the page table.
pub(crate) struct Scattered<const PAGE: usize>;

impl<const PAGE: usize> Place for Scattered<PAGE> {
    type Source = RegionSource<PAGE>;
    fn source(pages: usize) -> Self::Source {
        region(pages)
    }
}

/// Pages in windows.
pub(crate) struct Windowed<const PAGE: usize>;

impl<const PAGE: usize> Place for Windowed<PAGE> {
    type Source = MmapSource<PAGE>;
    fn source(pages: usize) -> Self::Source {
        MmapSource::new(pages * PAGE).expect("address space")
    }
}

/// Runs a function of a [`Place`] for every page size and kind of source.
macro_rules! for_places {
    ($($name:ident => $function:ident;)*) => {
        $(mod $name {
            use crate::tests::{Scattered, Windowed};
            #[test]
            fn page_4k() { super::$function::<Scattered<4096>>() }
            #[test]
            fn page_16k() { super::$function::<Scattered<16384>>() }
            #[test]
            fn page_64k() { super::$function::<Scattered<65536>>() }
            #[test]
            fn windows_4k() { super::$function::<Windowed<4096>>() }
            #[test]
            fn windows_16k() { super::$function::<Windowed<16384>>() }
            #[test]
            fn windows_64k() { super::$function::<Windowed<65536>>() }
        })*
    };
}
pub(crate) use for_places;

#[test]
fn a_region_source_clears_what_it_gets_back() {
    let source = region::<4096>(4);
    let frame = source.take(None).unwrap();
    // SAFETY: taken above; ours alone until it is given back.
    unsafe {
        source.address(frame).write_bytes(0x5a, 4096);
        source.give_back(frame);
    }
    let again = source.take(Some(frame)).unwrap();
    assert_eq!(again, frame);
    // SAFETY: taken above.
    let bytes = unsafe { core::slice::from_raw_parts(source.address(again), 4096) };
    assert!(bytes.iter().all(|&byte| byte == 0));
}
