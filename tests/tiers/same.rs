//! Pages that are the same as others, or nearly: which are compared, and what is left of them.

use super::*;

/// Pages were compared a turn after they were put, when they were too young for patches, and noted as
/// compared: on a clock that goes slowly nothing ever became a patch.
#[test]
fn pages_that_nearly_are_the_same_become_patches_when_they_are_old_enough() {
    let mut model = alone(Config::new(DEVICE));
    let page: Page<4096> = mixed(1, 100);
    for index in 0..20 {
        let mut page = page.clone();
        Rng(index).fill(&mut page[64..128]);
        model.cache.put(index * 100, &page).unwrap();
        model.map.insert(index * 100, page);
    }
    let policy = policy();
    let mut late = Work::default();
    for turn in 0..20 {
        let work = tick_at(&mut model, &policy, turn * policy.turn_ms);
        if turn > 8 {
            late = late.and(work);
        }
    }
    assert!(model.cache.tier_stat().patched > 15);
    assert_eq!(late, Work::default(), "it does not come to rest");
    model.verify();
}

/// Pages that became old enough while others were compared were not compared with those, and nobody came
/// back to them: after a while without accesses the clock stood still.
#[test]
fn pages_that_become_old_while_others_are_compared_are_compared_next() {
    let mut model = alone(Config::new(DEVICE));
    let policy = policy();
    let mut now = 0;
    let put = |model: &mut Model<_, 4096>, index, seed| {
        let page: Page<4096> = mixed(seed, 100);
        model.cache.put(index, &page).unwrap();
        model.map.insert(index, page);
    };
    let turn = |model: &mut Model<_, 4096>, now: &mut u64| {
        *now += policy.turn_ms;
        tick_at(model, &policy, *now)
    };
    (0..300).for_each(|page| put(&mut model, page, page));
    for _ in 0..8 {
        turn(&mut model, &mut now);
    }
    assert_eq!(model.cache.tier_stat().deduplicated, 0);
    // Some copies come, and the others a turn later.
    (0..60).for_each(|page| put(&mut model, 1000 + page, page));
    turn(&mut model, &mut now);
    (60..300).for_each(|page| put(&mut model, 1000 + page, page));
    let mut busy = 0;
    for _ in 0..4 {
        now += policy.turn_ms;
        for _ in 0..4 {
            let tick = model.cache.tick(&mut model.worker, &policy, now, 60);
            busy += u32::from(tick.unwrap().more);
        }
    }
    assert!(busy > 12, "it was not under way");
    for _ in 0..20 {
        turn(&mut model, &mut now);
    }
    assert_eq!(model.cache.tier_stat().deduplicated, 300);
    assert_eq!(turn(&mut model, &mut now), Work::default());
    model.verify();
}

/// In each batch the same pages were merged with each other before they met those of the batches before: as
/// many objects with the same bytes were left as there were batches.
#[test]
fn pages_of_all_batches_share_one_object() {
    let mut model = alone(Config::new(DEVICE));
    let same: Page<4096> = mixed(7777, 100);
    for index in 0..400 {
        let page = match index % 20 {
            3 | 11 => same.clone(),
            _ => mixed(index, 100),
        };
        model.cache.put(index, &page).unwrap();
        model.map.insert(index, page);
    }
    model.cache.merge_all(&mut model.worker, || true).unwrap();
    assert_eq!(model.cache.tier_stat().shared, 1);
    model.verify();
}

/// New pages that were all like one that was there were merged with each other first: then the old page
/// became what one of them had, and the others kept a second object with the same bytes.
#[test]
fn copies_of_a_page_that_was_there_share_its_object() {
    let mut model = alone(Config::new(DEVICE));
    let policy = policy();
    let page: Page<4096> = mixed(1, 100);
    let put = |model: &mut Model<_, 4096>, index, page: &Page<4096>| {
        model.cache.put(index, page).unwrap();
        model.map.insert(index, page.clone());
    };
    for index in 0..100 {
        put(&mut model, index, &noise(index));
    }
    put(&mut model, 100, &page);
    for turn in 0..6 {
        tick_at(&mut model, &policy, turn * policy.turn_ms);
    }
    assert_eq!(model.cache.tier_stat().shared, 0);
    for index in 200..210 {
        put(&mut model, index, &page);
    }
    // Two that are the same and have hardly anything in them: a link would take no less.
    let mut small: Page<4096> = blank();
    small[1000..1040].fill(7);
    put(&mut model, 300, &small);
    put(&mut model, 301, &small);
    for turn in 6..20 {
        tick_at(&mut model, &policy, turn * policy.turn_ms);
    }
    let stat = model.cache.tier_stat();
    assert_eq!((stat.shared, stat.shared_pages), (1, 11));
    model.verify();
}

/// A run that begins while another has not ended has a table of another size: the rest of the larger one
/// was never emptied.
#[test]
fn a_run_that_begins_anew_leaves_nothing_behind() {
    let mut model = alone(Config::new(DEVICE));
    for index in 0..DEVICE {
        model.cache.put(index, &noise(index)).unwrap();
    }
    let mut left = 3000;
    let go_on = || {
        left -= 1;
        left > 0
    };
    model.cache.merge_all(&mut model.worker, go_on).unwrap();
    for index in 0..DEVICE {
        model.cache.discard(index).unwrap();
    }
    model.cache.merge_all(&mut model.worker, || true).unwrap();
    assert_eq!(model.cache.mm_stat().mem_used_total, 0);
}

/// Lines that LZ4 makes half of, and zstd a quarter.
fn lines(seed: u64) -> Page<4096> {
    let mut rng = Rng(seed);
    let mut page: Page<4096> = blank();
    for line in page.as_chunks_mut::<32>().0 {
        let text = format!(
            "{:08} name={:04} set=12345678\n",
            rng.below(100_000_000),
            rng.below(10_000)
        );
        line.copy_from_slice(&text.as_bytes()[..32]);
    }
    page
}

/// A patch was kept if it took less than the page's LZ4 bytes, though a cluster would have made less of it: memory was 2 %
/// more with patches than without.
#[test]
fn a_patch_that_a_cluster_beats_is_not_made() {
    let mut used = [0; 2];
    for (used, patches) in used.iter_mut().zip([true, false]) {
        let mut model = alone(Config::new(DEVICE));
        let mut policy = policy();
        policy.patches = patches;
        for index in 0..400 {
            // The last two fifths of a page are like those of its neighbour.
            let mut page = lines(index);
            page[2432..].copy_from_slice(&lines(1000 + index / 2)[2432..]);
            model.cache.put(index, &page).unwrap();
            model.map.insert(index, page);
        }
        for turn in 0..20 {
            tick_at(&mut model, &policy, turn * policy.turn_ms);
        }
        let stat = model.cache.tier_stat();
        assert_eq!(stat.patches, 0);
        assert!(stat.cluster_pages >= 380, "{stat:?}");
        model.verify();
        model.cache.compact(u64::MAX);
        *used = model.cache.mm_stat().mem_used_total;
    }
    assert_eq!(used[0], used[1]);
}

/// Two leaves were taken for two shared objects, and each patch had the number of its page: a process's second copy took a
/// leaf for each 170 of them.
#[test]
fn slots_of_shared_objects_lie_together() {
    let pages_of = |patches: u64, alike: u64| {
        let mut model = alone(Config::new(DEVICE));
        let policy = policy();
        let put = |model: &mut Model<_, 4096>, index, page: Page<4096>| {
            model.cache.put(index, &page).unwrap();
            model.map.insert(index, page);
        };
        (0..1000).for_each(|page| put(&mut model, page, lines(page)));
        for turn in 0..8 {
            tick_at(&mut model, &policy, turn * policy.turn_ms);
        }
        let before = model.cache.memory().metadata;
        for page in 0..alike {
            let mut copy = lines(page);
            if page % (alike / patches) == 0 {
                Rng(page).fill(&mut copy[640..704]);
            }
            put(&mut model, 1000 + page, copy);
        }
        // Enough to be compared.
        (alike..100).for_each(|page| put(&mut model, 1000 + page, lines(1000 + page)));
        for turn in 8..20 {
            tick_at(&mut model, &policy, turn * policy.turn_ms);
        }
        let stat = model.cache.tier_stat();
        assert_eq!((stat.patches, stat.shared_pages), (patches, 2 * alike));
        model.verify();
        (model.cache.memory().metadata - before) / 4096
    };
    // A page of one and a patch of another, in the leaf of the pages that came, and one more.
    assert!(pages_of(1, 2) <= 2);
    // Slots of 900 pages that came, of 900 that they share, of 300 patches; and a directory.
    let taken = pages_of(300, 900);
    assert!(taken <= 2 + 2 + 1 + 1, "{taken} pages");
}
