use compcache::{Config, Lz4, StdCache};

use super::*;
use crate::analyze::measure::compressed_sizes;
use crate::pages::PageSet;

const PAGE: u64 = PAGE_SIZE as u64;

#[test]
fn same_filled_pages_take_entries_alone() {
    // A run of 16384 pages has an arena of its own: 32 leaves of 512 entries and a directory.
    assert_eq!(cache_bytes(&[0; 512]), 2 * PAGE);
    assert_eq!(cache_bytes(&[0; 513]), 3 * PAGE);
    assert_eq!(cache_bytes(&[0; 4 * 16384]), 4 * 33 * PAGE);
    assert_eq!(cache_bytes(&[0]), 2 * PAGE);
    assert_eq!(slab_bytes(&[0; 256]), PAGE);
}

#[test]
fn slabs_round_up_to_classes_and_slabs() {
    // 33 objects of class 1024: two slabs of 32.
    assert_eq!(slab_bytes(&[600; 33]), 2 * 32768 + PAGE);
    // Exactly a class stays in it.
    assert_eq!(slab_bytes(&[96; 42]), PAGE + PAGE);
    assert_eq!(slab_bytes(&[4096]), 32768 + PAGE);
}

#[test]
fn blocks_are_whole_granules_that_cross_pages() {
    // The first pages live in one arena: two tables of a leaf and a directory.
    let tables = 4 * PAGE;
    // 1016 + 8 = 1024: four to a page.
    assert_eq!(cache_bytes(&[1016; 16]), 4 * PAGE + tables);
    assert_eq!(cache_bytes(&[1017; 16]), 5 * PAGE + tables);
    // 4104 each: the second page's rest is used by the next.
    assert_eq!(cache_bytes(&[4096; 400]), 401 * PAGE + tables);
}

/// Text that LZ4 shrinks to sizes from almost nothing to almost all, some noise, and a zero page now and then.
fn mixed_pages(count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    for nth in 0..count {
        let noise = if nth % 16 == 0 { 4096 } else { random() % 4096 };
        let zero = nth % 11 == 0;
        bytes.extend((0..PAGE).map(|at| match at {
            _ if zero => 0,
            at if at < noise => random() as u8,
            at => b"the same words "[at as usize % 15],
        }));
    }
    bytes
}

#[test]
fn a_cache_takes_what_is_estimated() {
    for count in [500, 6000] {
        let bytes = mixed_pages(count);
        let cache = StdCache::<Lz4>::build(Lz4, Config::new(count)).unwrap();
        for (index, page) in bytes.as_chunks().0.iter().enumerate() {
            cache.put(index as u64, page).unwrap();
        }
        let pages = PageSet::new("mixed".to_owned(), bytes).unwrap();
        let sizes = compressed_sizes(&pages, &"lz4".parse().unwrap()).unwrap();
        let stat = cache.mm_stat();
        let stored: u64 = sizes.iter().map(|size| u64::from(*size)).sum();
        assert_eq!(stored, stat.compr_data_size, "{count} pages");
        let raw = sizes.iter().filter(|size| **size == PAGE_SIZE as u32);
        assert_eq!(raw.count() as u64, stat.huge_pages, "{count} pages");
        let (found, estimate) = (stat.mem_used_total, cache_bytes(&sizes));
        // Of the arenas in use, one here, each may keep pages at hand.
        let spare = u64::from(alloc_xv::SPARE_PAGES_MAX) * PAGE_SIZE as u64;
        let percent = estimate / 100;
        assert!(
            (estimate - percent..=estimate + percent + spare).contains(&found),
            "{count} pages: {found} bytes, {estimate} estimated"
        );
    }
}
