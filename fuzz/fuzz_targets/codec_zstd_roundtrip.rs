//! Pages through zstd and back, at every level, with one context for all executions and levels.
#![no_main]

mod codec_common;

use std::cell::RefCell;

use codec_common::{PageCase, check_round_trip};
use compress::{Codec, Zstd, ZstdWorkspace};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static WORKSPACE: RefCell<ZstdWorkspace> =
        RefCell::new(Zstd::default().workspace(65536).expect("memory for the contexts"));
}

fuzz_target!(|input: &[u8]| {
    let Some(case) = PageCase::new(input) else {
        return;
    };
    let levels = Zstd::LEVEL_MAX - Zstd::LEVEL_MIN + 1;
    let level = Zstd::LEVEL_MIN + i32::from(case.level) % levels;
    let zstd = Zstd::new(level).expect("a level in the range");
    WORKSPACE.with_borrow_mut(|workspace| check_round_trip(&zstd, workspace, &case.page));
});
