//! Keyed pools beside a map with tmem's rules: pools and pages come and go, limits move, pages run out
//! and the source fails at any step. Ephemeral pages may vanish, in order and counted, and never
//! come back.
#![no_main]

#[path = "../../tmem/tests/common/model.rs"]
mod model;
mod model_common;

use alloc_xv::{Counting, Failing, PageSource};
use compcache::{Codec, Lz4, Shared};
use libfuzzer_sys::fuzz_target;
use model::{Model, Step};
use model_common::{Counted, Input, OPS_MAX, Regions};

type Bank = &'static [Shared<Lz4, 4096>];

fn run<P: PageSource + 'static>(pages: &'static P, bank: Bank, mut input: Input<'_>) {
    let frames: Counted<P> = Counting::new(pages);
    let source = Failing::new(&frames);
    let mut model = Model::new(&source, bank);
    for _ in 0..OPS_MAX {
        if input.is_empty() {
            break;
        }
        model.step(Step([0; 5].map(|_: u8| input.byte())));
    }
    model.finish();
    assert_eq!(frames.taken(), 0);
}

thread_local! {
    static KEPT: (Regions, Bank) = {
        let workspace = Lz4.workspace(4096).expect("memory for a workspace");
        (Regions::new(), Vec::leak(vec![Shared::new(workspace)]))
    };
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let how = input.byte();
    KEPT.with(|(regions, bank)| match how % 4 {
        0 | 1 => run(regions.small, bank, input),
        2 => run(regions.middle, bank, input),
        _ => run(regions.windows, bank, input),
    });
});
