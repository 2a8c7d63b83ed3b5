//! Hostile bytes into the LZ4 decoder.
#![no_main]

mod codec_common;

use std::cell::RefCell;

use codec_common::{DecodeCase, check_decode};
use compress::{Lz4, Lz4Workspace};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static WORKSPACE: RefCell<Lz4Workspace> = const { RefCell::new(Lz4Workspace::large()) };
}

fuzz_target!(|input: &[u8]| {
    if let Some(case) = DecodeCase::new(input) {
        WORKSPACE.with_borrow_mut(|workspace| {
            let _ = check_decode(&Lz4, workspace, &case);
        });
    }
});
