//! Pages through LZ4 and back, with one table of each size for all executions.
#![no_main]

mod codec_common;

use std::cell::RefCell;

use codec_common::{PageCase, check_round_trip};
use compress::{Lz4, Lz4Workspace, OtherDecoder};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SMALL: RefCell<Lz4Workspace> = const { RefCell::new(Lz4Workspace::small()) };
    static LARGE: RefCell<Lz4Workspace> = const { RefCell::new(Lz4Workspace::large()) };
}

fuzz_target!(|input: &[u8]| {
    let Some(case) = PageCase::new(input) else {
        return;
    };
    LARGE.with_borrow_mut(|workspace| check_round_trip(&Lz4, workspace, &case.page));
    SMALL.with_borrow_mut(|workspace| {
        if case.page.len() <= workspace.page_len_max() {
            check_round_trip(&Lz4, workspace, &case.page);
            check_round_trip(&OtherDecoder, workspace, &case.page);
        }
    });
});
