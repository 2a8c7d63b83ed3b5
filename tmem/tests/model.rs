//! A tmem beside a model of it, through random operations, over sources with windows and without.

mod common;

use alloc_xv::{Counting, Failing, MmapSource, PageSource};
use common::model::{Model, Step};
use common::{bank, region};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn run<S: PageSource>(source: S, steps: &[[u8; 5]]) {
    let frames = Counting::new(source);
    let source = Failing::new(&frames);
    let mut model = Model::new(&source, bank(1));
    for &step in steps {
        model.step(Step(step));
    }
    model.finish();
    assert_eq!(frames.taken(), 0, "pages are left behind");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn single_pages(steps in prop::collection::vec(any::<[u8; 5]>(), 1..400)) {
        run(region(300), &steps);
    }

    #[test]
    fn windows(steps in prop::collection::vec(any::<[u8; 5]>(), 1..400)) {
        run(MmapSource::<4096>::new(300 * 4096).unwrap(), &steps);
    }
}
