//! When the clock goes on, what a record is good for, and what comes back.

use super::*;

/// A clock that stood still because everything was as old as can be did not go on when the policy was
/// another one: what it wants done then waited for somebody to use a page.
#[test]
fn another_policy_or_limit_is_reason_enough_for_a_turn() {
    let mut model = alone(Config::new(DEVICE));
    for index in 0..40 {
        // Three bits in a byte: only zstd makes it smaller.
        let mut page: Page<4096> = noise(index);
        page.iter_mut().for_each(|byte| *byte &= 7);
        model.cache.put(index, &page).unwrap();
        model.map.insert(index, page);
    }
    let mut now = 0;
    // The work of the first turn, and of the last of some.
    let mut turns = |model: &mut Model<_, 4096>, mut policy: Policy| {
        policy.turn_ms = 10;
        let work = [(); 8].map(|()| {
            now += 10;
            tick_at(model, &policy, now)
        });
        (work[0], work[7])
    };
    assert_eq!(turns(&mut model, Policy::NONE).1, Work::default());
    let (first, last) = turns(&mut model, Policy::ALL);
    assert!(first.leaves > 0 && last == Work::default());
    assert!(model.cache.tier_stat().cluster_pages > 30);
    model.cache.set_mem_limit(1 << 30);
    let (first, last) = turns(&mut model, Policy::ALL);
    assert!(first.leaves > 0 && last == Work::default());
    model.verify();
}

/// The mark says that a page was not overwritten since somebody looked at it. Taken twice, it was there
/// for the first record too, whose bytes were the page's before.
#[test]
fn a_record_that_was_taken_before_the_page_changed_is_not_committed() {
    let mut model = alone(Config::new(DEVICE));
    let pages: [Page<4096>; 2] = [mixed(1, 100), mixed(2, 100)];
    let take = |model: &mut Model<_, 4096>, which: usize| {
        model.cache.put(5, &pages[which]).unwrap();
        let taken = model.cache.take_record(&mut model.worker, 5).unwrap();
        taken.unwrap().1.to_vec()
    };
    let (old, new) = (take(&mut model, 0), take(&mut model, 1));
    assert_eq!(old.len(), new.len());
    let token = (old.len().div_ceil(16) - 1) as u64;
    assert_eq!(model.cache.commit_record(5, token, &old), Ok(false));
    let mut back: Page<4096> = blank();
    assert_eq!(model.cache.get(5, &mut back), Ok(true));
    assert_eq!(back, pages[1]);
    // The mark went with the refusal; with a new one it is stored.
    let new_again = take(&mut model, 1);
    assert_eq!(new, new_again);
    // A token of more than 56 bits would be another one in the slot.
    assert_eq!(model.cache.commit_record(5, 1 << 56, &new), Ok(false));
    let new = take(&mut model, 1);
    assert_eq!(model.cache.commit_record(5, token, &new), Ok(true));
    assert!(model.cache.wants_record(5, token));
}

#[test]
fn a_page_that_was_made_denser_by_itself_comes_back_when_it_is_read_twice() {
    for (ladder, comes_back) in [
        ("lz4 zstd:3", true),
        ("lz4 lz4hc", false),
        ("zstd:1 zstd:9", false),
    ] {
        let mut model = Model::<_, 4096>::new(mmap::<4096>(400), ladder, Config::new(DEVICE), 1);
        // Half of each byte is always the same: entropy coding wins much.
        let mut page: Page<4096> = noise(5);
        page.iter_mut().for_each(|byte| *byte &= 0x0f);
        page[..2048].fill(7);
        page[100..200].fill(9);
        model.cache.put(7, &page).unwrap();
        model.cache.mark_idle(None).unwrap();
        let how = Recompress {
            what: What::Idle,
            rung: 1,
            threshold: 0,
            max_pages: 0,
        };
        let changed = model
            .cache
            .recompress(&mut model.worker, how, || true)
            .unwrap();
        // Both levels of zstd make the same of it; it is not LZ4's in either case.
        assert_eq!(changed, u64::from(ladder.starts_with("lz4")), "{ladder}");
        let dense = model.cache.mm_stat().compr_data_size;
        let mut back: Page<4096> = blank();
        for read in 1..=3 {
            assert!(model.cache.get(7, &mut back).unwrap() && back == page);
            let promoted = u64::from(comes_back && read >= 2);
            assert_eq!(
                model.cache.tier_stat().promoted,
                promoted,
                "{ladder}, read {read}"
            );
        }
        assert_eq!(model.cache.mm_stat().compr_data_size > dense, comes_back);
        model.cache.check().unwrap();
    }
}
