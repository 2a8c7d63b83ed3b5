//! Hostile bytes into the zstd decoder. The context is one for all executions: a frame must not
//! leave anything in it that changes how the next one decodes.
#![no_main]

mod codec_common;

use std::cell::RefCell;

use codec_common::{DecodeCase, check_decode};
use compress::{Codec, Zstd, ZstdWorkspace};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static WORKSPACE: RefCell<ZstdWorkspace> =
        RefCell::new(Zstd::default().workspace(4096).expect("memory for the contexts"));
}

fuzz_target!(|input: &[u8]| {
    if let Some(case) = DecodeCase::new(input) {
        WORKSPACE.with_borrow_mut(|workspace| {
            let heap_bytes = workspace.heap_bytes();
            let _ = check_decode(&Zstd::default(), workspace, &case);
            assert_eq!(workspace.heap_bytes(), heap_bytes, "a frame took memory");
        });
    }
});
