//! Every refusal has a type and a sentence.

mod common;

use alloc_xv::{AllocError, MmapSource};
use common::{TestCache, blank, cache, noise, region};
use compcache::{BuildError, Cache, Config, Error, Lz4, Lz4Workspace, Raw, Shared, StdCache};
use std::error::Error as _;

fn small() -> TestCache<alloc_xv::RegionSource<4096>, Lz4, 4096> {
    cache(region::<4096>(8), Lz4, Config::new(10))
}

#[test]
fn an_index_past_the_end() {
    let cache = small();
    let error = Error::OutOfRange {
        index: 10,
        pages: 10,
    };
    for index in [10, 11, 1 << 40, u64::MAX] {
        let error = Error::OutOfRange { index, pages: 10 };
        assert_eq!(cache.put(index, &blank()), Err(error));
        assert_eq!(cache.get(index, &mut blank()), Err(error));
        assert_eq!(cache.discard(index), Err(error));
        assert_eq!(cache.contains(index), Err(error));
        assert_eq!(cache.read(index, 0, &mut [0; 512]), Err(error));
        assert_eq!(cache.write(index, 0, &[0; 512]), Err(error));
        assert_eq!(cache.write(index, 0, &[0; 4096]), Err(error));
    }
    assert_eq!(error.to_string(), "page 10 of a device of 10 pages");
    assert_eq!(cache.io_stat().invalid_io, 28);
    assert_eq!(cache.mm_stat().mem_used_total, 0);
}

#[test]
fn what_is_not_whole_sectors_inside_a_page() {
    let cache = small();
    let page = noise(1);
    cache.put(0, &page).unwrap();
    let ranges = [
        (1, 512),
        (0, 511),
        (256, 256),
        (3584, 1024),
        (4096, 512),
        (512, 4096),
        (0, 8192),
        (usize::MAX - 511, 512),
        (usize::MAX, 0),
    ];
    for (offset, len) in ranges {
        let error = Error::BadRange {
            offset,
            len,
            page_size: 4096,
        };
        assert_eq!(cache.read(0, offset, &mut vec![0; len]), Err(error));
        assert_eq!(cache.write(0, offset, &vec![0; len]), Err(error));
    }
    assert_eq!(cache.io_stat().invalid_io, 2 * ranges.len() as u64);
    assert_eq!(common::read(&cache, 0), Some(page));
    let error = cache.read(0, 1, &mut [0; 512]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bytes 1..1+512; expected whole 512-byte sectors of a 4096-byte page"
    );
    // No sectors at all are whole sectors.
    cache.read(0, 4096, &mut []).unwrap();
    cache.write(0, 0, &[]).unwrap();
}

#[test]
fn no_memory() {
    let cache = small();
    cache.set_mem_limit(3 * 4096);
    let error = cache.put(0, &noise(1)).unwrap_err();
    let reason = AllocError::LimitReached { limit_pages: 3 };
    assert_eq!(error, Error::NoSpace(reason));
    assert_eq!(
        error.to_string(),
        "no memory for the page: the pool's limit of 3 pages is reached"
    );
    assert_eq!(error.source().unwrap().to_string(), reason.to_string());
    let error = Error::NoSpace(AllocError::OutOfPages);
    assert_eq!(
        error.to_string(),
        "no memory for the page: the page source has no free page left"
    );
}

#[test]
fn a_workspace_for_shorter_pages() {
    let bank = vec![Shared::new(Lz4Workspace::small())];
    let cache: Cache<_, Lz4, Vec<_>, spin::Mutex<()>, 65536> =
        Cache::new(region::<4096>(64), Lz4, bank, Config::new(10)).unwrap();
    let error = cache.put(0, &noise(1)).unwrap_err();
    assert!(matches!(error, Error::Compress(_)));
    assert_eq!(
        error.to_string(),
        "page not compressed: page too long: expected at most 65534 bytes, got 65536"
    );
    assert!(error.source().is_some());
    assert_eq!(cache.contains(0), Ok(false));
    assert_eq!(cache.mm_stat().mem_used_total, 0);
    // A same-filled page needs no codec.
    cache.put(0, &blank()).unwrap();
}

#[test]
fn damaged_bytes() {
    let error = Error::Corrupt { index: 7 };
    assert_eq!(error.to_string(), "the stored bytes of page 7 are damaged");
    assert!(error.source().is_none());
}

#[test]
fn a_cache_that_cannot_be() {
    let build = |pages| {
        let bank = vec![Shared::new(())];
        Cache::<_, Raw, Vec<_>>::new(region::<4096>(4), Raw, bank, Config::new(pages)).map(drop)
    };
    let max = 4 << 24;
    for pages in [0, max + 1, u64::MAX] {
        assert_eq!(build(pages), Err(BuildError::BadSize { pages, max }));
    }
    build(max).unwrap();
    assert_eq!(
        build(0).unwrap_err().to_string(),
        "device of 0 pages; expected 1 to 67108864"
    );

    let none: Vec<Shared<Raw, 4096>> = Vec::new();
    let error = Cache::<_, Raw, _>::new(region::<4096>(4), Raw, none, Config::new(1))
        .map(drop)
        .unwrap_err();
    assert_eq!(error, BuildError::NoWorkspace);
    assert_eq!(
        error.to_string(),
        "no workspace given; at least one is needed"
    );

    assert_eq!(
        StdCache::<Lz4>::with_capacity(0).map(drop).unwrap_err(),
        BuildError::BadSize {
            pages: 0,
            max: MmapPages::MAX
        }
    );
    let error = StdCache::<Lz4>::with_capacity(u64::MAX)
        .map(drop)
        .unwrap_err();
    assert!(
        error.to_string().starts_with("no memory for the cache: "),
        "{error}"
    );
    let error = MmapSource::<4096>::new(0).unwrap_err();
    assert_eq!(
        BuildError::Source(error).to_string(),
        "no memory for the cache: capacity of 0 bytes; expected 1 to 4398046511104"
    );
}

struct MmapPages;

impl MmapPages {
    /// What a cache of four arenas can have.
    const MAX: u64 = 4 << 24;
}

#[test]
fn the_statistics_are_lines_of_zram() {
    let cache = small();
    cache.put(0, &blank()).unwrap();
    cache.put(1, &noise(1)).unwrap();
    let stat = cache.mm_stat();
    let line = stat.to_string();
    let fields: Vec<u64> = line
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            8192,
            4096,
            stat.mem_used_total,
            0,
            stat.mem_used_max,
            1,
            0,
            1,
            1
        ]
    );
}
