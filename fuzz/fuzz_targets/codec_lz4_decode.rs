//! Hostile bytes into both LZ4 decoders, of which a target uses one: what one makes a page of, the
//! other does too.
#![no_main]

mod codec_common;

use std::cell::RefCell;

use codec_common::{DecodeCase, check_decode};
use compress::{Lz4, Lz4Workspace, OtherDecoder};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static WORKSPACE: RefCell<Lz4Workspace> = const { RefCell::new(Lz4Workspace::large()) };
}

fuzz_target!(|input: &[u8]| {
    if let Some(case) = DecodeCase::new(input) {
        WORKSPACE.with_borrow_mut(|workspace| {
            let one = check_decode(&Lz4, workspace, &case);
            let other = check_decode(&OtherDecoder, workspace, &case);
            assert!(one.ok() == other.ok());
        });
    }
});
