//! Stored bytes that were damaged: an ephemeral page is dropped, a persistent one stays an error
//! until it is flushed or overwritten, and nobody is given other bytes.

mod common;

use common::{bank, object};
use compcache::{Lz4, RegionSource};
use compcache_tmem::{Config, Error, PoolOptions, Tmem};

const FRAMES: usize = 64;

/// A page with a mark that is stored as it is.
fn marked(mark: &[u8; 16]) -> [u8; 4096] {
    let mut page = [0x11; 4096];
    page[100..116].copy_from_slice(mark);
    page
}

/// Changes the one place in `memory` that reads as `mark`.
fn damage(memory: *mut u8, mark: &[u8; 16]) {
    // SAFETY: the memory is leaked, and the one thread of the test is not inside the tmem; no
    // reference into it is in use.
    let bytes = unsafe { std::slice::from_raw_parts_mut(memory, (FRAMES + 3) * 4096) };
    let places: Vec<usize> = (bytes.windows(16).enumerate())
        .filter(|(_, window)| window == mark)
        .map(|(place, _)| place)
        .collect();
    assert_eq!(places.len(), 1, "the mark is stored once");
    bytes[places[0] + 5] ^= 0x40;
}

#[test]
fn damaged_pages_are_errors_and_do_not_come_back() {
    let memory = Vec::leak(vec![0; (FRAMES + 3) * 4096]);
    let start = memory.as_mut_ptr();
    let source = RegionSource::<4096>::new(memory).unwrap();
    let config = Config::new(40, [1, 2]);
    let tmem: Tmem<_, _, _> = Tmem::new([&source, &source], Lz4, bank(1), config).unwrap();
    let mut back = [0; 4096];
    for (options, mark) in [
        (PoolOptions::EPHEMERAL, b"mark of pool one"),
        (PoolOptions::EPHEMERAL.shared_as(1), b"mark of pool two"),
        (PoolOptions::PERSISTENT, b"mark of pool 3 !"),
    ] {
        let pool = tmem.new_pool(options).unwrap();
        tmem.put(pool, object(1), 0, &marked(mark)).unwrap();
        damage(start, mark);
        let mut read = || tmem.get(pool, object(1), 0, &mut back);
        assert_eq!(read(), Err(Error::Damaged));
        let persistent = options == PoolOptions::PERSISTENT;
        let expected = if persistent {
            Err(Error::Damaged)
        } else {
            Ok(false)
        };
        assert_eq!(read(), expected);
        assert_eq!(read(), expected);
        let stats = tmem.pool_stats(pool).unwrap();
        assert_eq!(stats.get_hits, 0);
        assert_eq!(stats.damaged, if persistent { 3 } else { 1 });
        tmem.put(pool, object(1), 0, &marked(mark)).unwrap();
        assert_eq!(read(), Ok(true));
        assert_eq!(back, marked(mark));
        tmem.flush_page(pool, object(1), 0).unwrap();
        tmem.check().unwrap();
    }
}
