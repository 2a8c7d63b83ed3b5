//! tmem's rules one by one, limits, and what the statistics say.

mod common;

use alloc_xv::{Failing, MmapSource};
use common::{bank, get, object, page, region, tmem};
use compcache::{Lz4, Shared};
use compcache_tmem::{
    BuildError, Cleancache, Config, Error, Frontswap, Lifetime, PoolId, PoolOptions, Tmem,
};

const FILE: u64 = 1;

#[test]
fn a_private_ephemeral_pool_gives_a_page_once() {
    let tmem = tmem(100);
    let pool = tmem.new_pool(PoolOptions::EPHEMERAL).unwrap();
    tmem.put(pool, object(FILE), 3, &page(1)).unwrap();
    assert_eq!(get(&tmem, pool, object(FILE), 3), Some(page(1)));
    assert_eq!(get(&tmem, pool, object(FILE), 3), None);
    let stats = tmem.pool_stats(pool).unwrap();
    assert_eq!((stats.puts, stats.get_hits, stats.get_misses), (1, 1, 1));
    assert_eq!((stats.pages, stats.objects, stats.drops), (0, 0, 0));
    assert_eq!(tmem.memory().cache, 0);
}

#[test]
fn shared_and_persistent_pools_keep_what_is_read() {
    let tmem = tmem(100);
    for options in [
        PoolOptions::EPHEMERAL.shared_as(9),
        PoolOptions::PERSISTENT,
        PoolOptions::PERSISTENT.shared_as(10),
    ] {
        let pool = tmem.new_pool(options).unwrap();
        tmem.put(pool, object(FILE), 0, &page(1)).unwrap();
        for _ in 0..3 {
            assert_eq!(get(&tmem, pool, object(FILE), 0), Some(page(1)));
        }
        tmem.put(pool, object(FILE), 0, &page(2)).unwrap();
        assert_eq!(get(&tmem, pool, object(FILE), 0), Some(page(2)));
        assert_eq!(tmem.flush_page(pool, object(FILE), 0), Ok(true));
        assert_eq!(get(&tmem, pool, object(FILE), 0), None);
        assert_eq!(tmem.pool_stats(pool).unwrap().flushes, 1);
    }
}

#[test]
fn clients_of_a_shared_pool_see_one_pool_and_the_last_one_ends_it() {
    let tmem = tmem(100);
    let options = PoolOptions::EPHEMERAL.shared_as(77);
    let first = tmem.new_pool(options.with_limit(5)).unwrap();
    let second = tmem.new_pool(options.with_limit(50)).unwrap();
    assert_eq!(first, second);
    let stats = tmem.pool_stats(first).unwrap();
    assert_eq!((stats.clients, stats.limit_pages), (2, 5));
    assert_ne!(tmem.new_pool(PoolOptions::EPHEMERAL), Ok(first));
    let persistent = PoolOptions::PERSISTENT.shared_as(77);
    assert_eq!(tmem.new_pool(persistent), Err(Error::LifetimeMismatch));

    tmem.put(first, object(FILE), 0, &page(1)).unwrap();
    assert_eq!(tmem.destroy_pool(first), Ok(0));
    assert_eq!(get(&tmem, second, object(FILE), 0), Some(page(1)));
    assert_eq!(tmem.destroy_pool(second), Ok(1));
    let gone = tmem.put(second, object(FILE), 0, &page(1));
    assert_eq!(gone, Err(Error::BadPool { pool: second }));
    // The id is free again, and whoever takes it finds nothing.
    let third = tmem.new_pool(options).unwrap();
    assert_ne!(third, first);
    assert_eq!(get(&tmem, third, object(FILE), 0), None);
}

#[test]
fn a_put_that_fails_takes_the_old_page_with_it() {
    let source = Failing::new(region(64));
    let config = Config::new(100, [1, 2]);
    let tmem: Tmem<_, _, _> = Tmem::new([&source, &source], Lz4, bank(1), config).unwrap();
    let pool = tmem.new_pool(PoolOptions::PERSISTENT).unwrap();
    let mut noise = page(0);
    for (place, byte) in noise.iter_mut().enumerate() {
        *byte = ((place * place) >> 7) as u8 ^ (place * 31) as u8;
    }
    tmem.put(pool, object(FILE), 0, &page(1)).unwrap();
    source.fail_after(0);
    let mut failed = false;
    for version in 0..100 {
        noise[version] ^= 0x5a;
        let result = tmem.put(pool, object(FILE), version as u32, &noise);
        let there = tmem.contains(pool, object(FILE), version as u32);
        assert_eq!(there, Ok(result.is_ok()), "version {version}");
        failed |= result.is_err();
        if failed {
            assert!(matches!(result, Err(Error::NoSpace(_))));
            break;
        }
    }
    assert!(failed, "the source was to run out");
    let result = tmem.put(pool, object(FILE), 0, &noise);
    assert!(matches!(result, Err(Error::NoSpace(_))));
    let mut back = [0; 4096];
    assert_eq!(tmem.get(pool, object(FILE), 0, &mut back), Ok(false));
    let stats = tmem.pool_stats(pool).unwrap();
    assert_eq!(stats.failed_puts, 2);
    assert_eq!(stats.flushes, 0);
    tmem.check().unwrap();
}

#[test]
fn at_its_limit_an_ephemeral_pool_drops_its_own_pages_the_oldest_first() {
    let tmem = tmem(1000);
    let other = tmem.new_pool(PoolOptions::EPHEMERAL).unwrap();
    tmem.put(other, object(FILE), 0, &page(0)).unwrap();
    let options = PoolOptions::EPHEMERAL.shared_as(1).with_limit(10);
    let pool = tmem.new_pool(options).unwrap();
    for index in 0..10 {
        tmem.put(pool, object(FILE), index, &page(1)).unwrap();
    }
    // A read is a use.
    assert!(get(&tmem, pool, object(FILE), 0).is_some());
    // An overwrite needs no room.
    tmem.put(pool, object(FILE), 1, &page(2)).unwrap();
    assert_eq!(tmem.pool_stats(pool).unwrap().drops, 0);
    for index in 10..15 {
        tmem.put(pool, object(FILE), index, &page(1)).unwrap();
    }
    let there: Vec<u32> = (0..15)
        .filter(|&index| tmem.contains(pool, object(FILE), index).unwrap())
        .collect();
    assert_eq!(there, [0, 1, 7, 8, 9, 10, 11, 12, 13, 14]);
    let stats = tmem.pool_stats(pool).unwrap();
    assert_eq!((stats.drops, stats.pages, stats.pages_max), (5, 10, 10));
    assert_eq!(tmem.pool_stats(other).unwrap().drops, 0);

    tmem.set_limit(pool, 3).unwrap();
    assert_eq!(tmem.pool_stats(pool).unwrap().pages, 3);
    assert_eq!(get(&tmem, pool, object(FILE), 14), Some(page(1)));
    tmem.check().unwrap();
}

#[test]
fn at_its_limit_a_persistent_pool_refuses() {
    let tmem = tmem(1000);
    let options = PoolOptions::PERSISTENT.with_limit(2);
    let pool = tmem.new_pool(options).unwrap();
    tmem.put(pool, object(FILE), 0, &page(0)).unwrap();
    tmem.put(pool, object(FILE), 1, &page(1)).unwrap();
    let full = Err(Error::PoolFull { limit_pages: 2 });
    assert_eq!(tmem.put(pool, object(FILE), 2, &page(2)), full);
    tmem.put(pool, object(FILE), 1, &page(3)).unwrap();
    tmem.set_limit(pool, 1).unwrap();
    assert_eq!(tmem.pool_stats(pool).unwrap().pages, 2, "none may go");
    tmem.flush_page(pool, object(FILE), 0).unwrap();
    let full = Err(Error::PoolFull { limit_pages: 1 });
    assert_eq!(tmem.put(pool, object(FILE), 0, &page(2)), full);
    assert_eq!(get(&tmem, pool, object(FILE), 1), Some(page(3)));
    assert_eq!(tmem.pool_stats(pool).unwrap().failed_puts, 2);
}

#[test]
fn when_pages_run_out_the_least_recently_used_ones_of_all_pools_go() {
    let tmem = tmem(12);
    let pools = [0; 2].map(|_| tmem.new_pool(PoolOptions::EPHEMERAL).unwrap());
    for index in 0..12 {
        let pool = pools[index as usize % 2];
        tmem.put(pool, object(FILE), index, &page(1)).unwrap();
    }
    let swap = tmem.new_pool(PoolOptions::PERSISTENT).unwrap();
    for index in 0..12 {
        tmem.put(swap, object(FILE), index, &page(2)).unwrap();
        let stats = pools.map(|pool| tmem.pool_stats(pool).unwrap());
        assert_eq!(stats[0].drops + stats[1].drops, u64::from(index) + 1);
        assert!(stats[0].drops.abs_diff(stats[1].drops) <= 1, "in turn");
    }
    let full = tmem.put(swap, object(FILE), 12, &page(2));
    assert_eq!(full, Err(Error::NoPages { pages: 12 }));
    assert_eq!(tmem.flush_object(swap, object(FILE)), Ok(12));
    tmem.check().unwrap();
}

#[test]
fn the_memory_limit_holds_with_the_index_in_it() {
    const LIMIT: u64 = 300 * 4096;
    let config = Config {
        mem_limit: LIMIT,
        ..Config::random(1 << 20)
    };
    let tmem = compcache_tmem::StdTmem::<Lz4>::build(Lz4, config).unwrap();
    let files = tmem.new_pool(PoolOptions::EPHEMERAL).unwrap();
    let swap = tmem.new_pool(PoolOptions::PERSISTENT).unwrap();
    let used = || tmem.memory().cache + tmem.memory().index;
    // Zeroes take no room in the cache, only in the index.
    for (kind, count) in [(0, 100_000u32), (1, 4000)] {
        for index in 0..count {
            let page = page(kind * u64::from(index + 1));
            let page = if kind == 0 { [0; 4096] } else { page };
            let put = tmem.put(files, object(index.into()), index, &page);
            let is_short = matches!(put, Ok(()) | Err(Error::NoSpace(_)));
            assert!(is_short, "{put:?}");
            assert!(used() <= LIMIT, "{} at {index}", used());
        }
    }
    let stats = tmem.pool_stats(files).unwrap();
    assert!(stats.drops > 0);
    // Where the index has to give up pages to the cache, some puts drop all they may in vain.
    let (puts, failed) = (stats.puts, stats.failed_puts);
    assert!(failed * 1000 <= puts, "{failed} of {puts} puts failed");
    let mut kept = 0;
    while tmem.put(swap, object(0), kept, &page(kept.into())).is_ok() {
        kept += 1;
        assert!(used() <= LIMIT);
    }
    assert_eq!(tmem.pool_stats(files).unwrap().pages, 0);
    for index in 0..kept {
        assert_eq!(get(&tmem, swap, object(0), index), Some(page(index.into())));
    }
    // Pages of 2 KiB and more; half of the limit and more is theirs.
    assert!(u64::from(kept) * 2048 > LIMIT / 2, "{kept}");
    tmem.check().unwrap();
}

#[test]
fn shrink_gives_memory_back() {
    let tmem = tmem(1000);
    let pool = tmem.new_pool(PoolOptions::EPHEMERAL).unwrap();
    for index in 0..500 {
        tmem.put(pool, object(FILE), index, &page(index.into()))
            .unwrap();
    }
    assert_eq!(tmem.shrink(100), 100);
    assert_eq!(tmem.pool_stats(pool).unwrap().drops, 100);
    assert!(!tmem.contains(pool, object(FILE), 99).unwrap());
    assert!(tmem.contains(pool, object(FILE), 100).unwrap());
    assert_eq!(tmem.shrink(u64::MAX), 400);
    assert_eq!(tmem.memory().cache, 0);
}

#[test]
fn pools_end_at_their_number_and_old_names_stay_bad() {
    let tmem = tmem(10);
    let mut pools = vec![];
    let error = loop {
        match tmem.new_pool(PoolOptions::PERSISTENT) {
            Ok(pool) => pools.push(pool),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::TooManyPools { max: 1024 });
    assert_eq!(pools.len(), 1024);
    for &pool in &pools {
        assert_eq!(tmem.destroy_pool(pool), Ok(0));
        let again = tmem.new_pool(PoolOptions::EPHEMERAL).unwrap();
        assert_ne!(again, pool);
        assert_eq!(PoolId::from_bits(again.to_bits()), again);
        let bad = Err(Error::BadPool { pool });
        assert_eq!(tmem.flush_page(pool, object(0), 0), bad);
        assert_eq!(tmem.destroy_pool(again), Ok(0));
    }
    for bits in [0, 1, 0xffff_ffff, 5000] {
        let pool = PoolId::from_bits(bits);
        assert!(tmem.pool_stats(pool).is_err());
    }
}

#[test]
fn a_large_object_goes_as_one_and_leaves_nothing() {
    let tmem = tmem(20_000);
    let pool = tmem.new_pool(PoolOptions::PERSISTENT).unwrap();
    for index in 0..10_000 {
        tmem.put(pool, object(1), index * 3, &[7; 4096]).unwrap();
        tmem.put(pool, object(2 + u64::from(index)), 0, &[8; 4096])
            .unwrap();
    }
    assert_eq!(tmem.pool_stats(pool).unwrap().objects, 10_001);
    let stats = tmem.stats();
    assert!(stats.page_chain_max <= 16 && stats.object_chain_max <= 16);
    assert_eq!(stats.page_buckets, 20_000);
    assert_eq!(tmem.flush_object(pool, object(1)), Ok(10_000));
    assert_eq!(tmem.flush_object(pool, object(1)), Ok(0));
    tmem.check().unwrap();
    assert_eq!(tmem.pool_stats(pool).unwrap().pages, 10_000);
    assert_eq!(tmem.destroy_pool(pool), Ok(10_000));
    tmem.check().unwrap();
    let memory = tmem.memory();
    assert_eq!(memory.cache, 0);
    assert!(memory.index <= 3 * 4096, "{memory:?}");
}

#[test]
fn what_cannot_be_built_is_refused() {
    let refused = |pages| compcache_tmem::StdTmem::<Lz4>::with_pages(pages).err();
    let max = 1 << 28;
    let too_many = |pages| Some(BuildError::TooManyPages { pages, max });
    assert_eq!(refused(max + 1), too_many(max + 1));
    assert_eq!(refused(u64::MAX), too_many(u64::MAX));
    assert!(matches!(refused(0), Some(BuildError::Cache(_))));
}

#[test]
fn built_in_place_it_is_like_a_new_one() {
    type Small = Tmem<MmapSource<4096>, Lz4, Vec<Shared<Lz4, 4096>>>;
    let sources = || [0; 2].map(|_| MmapSource::new(1 << 22).unwrap());
    let mut place = Box::<Small>::new_uninit();
    // SAFETY: bytes of a place that holds nothing.
    unsafe {
        place
            .as_mut_ptr()
            .cast::<u8>()
            .write_bytes(0xa5, size_of::<Small>());
    }
    let config = Config::new(50, [1, 2]);
    let tmem = Tmem::new_at(&mut place, sources(), Lz4, bank(1), config).unwrap();
    let new = Small::new(sources(), Lz4, bank(1), config).unwrap();
    for tmem in [&*tmem, &new] {
        let pool = tmem.new_pool(PoolOptions::EPHEMERAL).unwrap();
        for index in 0..60 {
            tmem.put(pool, object(FILE), index, &page(index.into()))
                .unwrap();
        }
    }
    assert_eq!(tmem.stats(), new.stats());
    assert_eq!(tmem.memory(), new.memory());
    tmem.check().unwrap();
    // SAFETY: built above, and dropped once: every page goes back.
    unsafe { std::ptr::from_mut(tmem).drop_in_place() };
    let empty = Small::new_at(&mut place, sources(), Lz4, bank(1), Config::new(0, [0; 2]));
    assert!(empty.is_err());
}

#[test]
fn cleancache_is_a_pool_for_each_file_system() {
    let tmem = tmem(100);
    let cleancache = Cleancache::new(&tmem, 50);
    let root = cleancache.init_fs().unwrap();
    let home = cleancache.init_fs().unwrap();
    let mut back = [0; 4096];
    assert!(cleancache.put_page(root, object(1), 0, &page(1)));
    assert!(cleancache.put_page(root, object(1), 1, &page(2)));
    assert!(cleancache.put_page(home, object(1), 0, &page(3)));
    assert!(!cleancache.put_page(home, object(1), 1 << 32, &page(3)));
    assert!(!cleancache.get_page(home, object(1), 1 << 32, &mut back));
    cleancache.invalidate_page(root, object(1), 0);
    cleancache.invalidate_page(root, object(1), 1 << 32);
    assert!(!cleancache.get_page(root, object(1), 0, &mut back));
    assert!(cleancache.get_page(home, object(1), 0, &mut back));
    assert_eq!(back, page(3));
    cleancache.invalidate_inode(root, object(1));
    assert!(!cleancache.get_page(root, object(1), 1, &mut back));
    cleancache.invalidate_fs(root);
    assert!(!cleancache.put_page(root, object(1), 0, &page(1)));

    let shared = [0; 2].map(|_| cleancache.init_shared_fs(5).unwrap());
    assert_eq!(shared[0], shared[1]);
    let stats = tmem.pool_stats(shared[0]).unwrap();
    assert_eq!(
        (stats.limit_pages, stats.lifetime),
        (50, Lifetime::Ephemeral)
    );
}

#[test]
fn frontswap_is_an_object_for_each_area() {
    let tmem = tmem(100);
    let frontswap = Frontswap::new(&tmem, 3).unwrap();
    let mut back = [0; 4096];
    frontswap.store(0, 7, &page(1)).unwrap();
    frontswap.store(1, 7, &page(2)).unwrap();
    frontswap.store(1, 8, &page(3)).unwrap();
    let full = Err(Error::PoolFull { limit_pages: 3 });
    assert_eq!(frontswap.store(0, 9, &page(4)), full);
    assert_eq!(frontswap.load(1, 7, &mut back), Ok(true));
    assert_eq!(frontswap.load(1, 7, &mut back), Ok(true));
    assert_eq!(back, page(2));
    frontswap.invalidate_page(1, 8);
    assert_eq!(frontswap.load(1, 8, &mut back), Ok(false));
    frontswap.invalidate_area(1);
    assert_eq!(frontswap.load(1, 7, &mut back), Ok(false));
    assert_eq!(frontswap.load(0, 7, &mut back), Ok(true));
    assert_eq!(back, page(1));
    let pool = frontswap.pool();
    frontswap.close();
    assert_eq!(tmem.pool_stats(pool), Err(Error::BadPool { pool }));
}
