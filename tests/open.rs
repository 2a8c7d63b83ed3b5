//! A cache that lies in a place of its own from the start, and changes its size there: as a kernel has
//! it, whose stack is smaller than a cache.

use compcache::{BuildError, Cache, Config, Error, Lz4, Lz4Workspace, MmapSource, Shared};

const PAGE: usize = 4096;

static WORKSPACES: [Shared<Lz4, PAGE>; 1] = [const { Shared::new(Lz4Workspace::small()) }];

type Pages = Cache<MmapSource, Lz4, &'static [Shared<Lz4, PAGE>], spin::Mutex<()>, PAGE, 1>;

fn page_of(number: u64) -> [u8; PAGE] {
    let mut page = [7; PAGE];
    for (at, word) in page.chunks_exact_mut(64).enumerate() {
        word[..8].copy_from_slice(&(number * 1000 + at as u64).to_le_bytes());
    }
    page
}

#[test]
fn a_closed_cache_has_no_pages_until_it_is_opened() {
    let source = MmapSource::new(1 << 24).unwrap();
    let mut cache: Pages = Cache::closed(source, Lz4, &WORKSPACES[..]);
    assert_eq!(cache.pages(), 0);
    assert_eq!(
        cache.put(0, &page_of(0)),
        Err(Error::OutOfRange { index: 0, pages: 0 })
    );
    assert!(matches!(
        cache.open(Config::new(0)),
        Err(BuildError::BadSize { pages: 0, .. })
    ));
    cache.open(Config::new(10)).unwrap();
    for index in 0..10 {
        cache.put(index, &page_of(index)).unwrap();
    }
    assert!(cache.put(10, &page_of(10)).is_err());
    let mut page = [0; PAGE];
    for index in 0..10 {
        assert!(cache.get(index, &mut page).unwrap());
        assert_eq!(page, page_of(index));
    }
}

#[test]
fn what_is_opened_again_is_empty_and_has_given_everything_back() {
    let source = MmapSource::new(1 << 24).unwrap();
    let mut cache: Pages = Cache::closed(source, Lz4, &WORKSPACES[..]);
    cache.open(Config::new(100)).unwrap();
    for index in 0..100 {
        cache.put(index, &page_of(index)).unwrap();
    }
    assert!(cache.mm_stat().mem_used_total > 0);
    // A size that cannot be changes nothing.
    assert!(cache.open(Config::new(u64::MAX)).is_err());
    assert!(cache.contains(99).unwrap());

    let config = Config {
        mem_limit: 64 * PAGE as u64,
        ..Config::new(50)
    };
    cache.open(config).unwrap();
    assert_eq!(cache.pages(), 50);
    let stat = cache.mm_stat();
    assert_eq!((stat.orig_data_size, stat.mem_used_total), (0, 0));
    assert_eq!(stat.mem_limit, 64 * PAGE as u64);
    assert_eq!(cache.io_stat().writes, 0);
    let mut page = [1; PAGE];
    assert!(!cache.get(7, &mut page).unwrap());
    assert_eq!(page, [0; PAGE]);
    cache.put(7, &page_of(7)).unwrap();

    cache.close();
    assert_eq!(cache.pages(), 0);
    assert_eq!(cache.mm_stat().mem_used_total, 0);
    assert!(cache.get(7, &mut page).is_err());
    assert_eq!(cache.check(), Ok(()));
}
