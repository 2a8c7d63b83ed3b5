//! Hostile bytes as a patch, into both LZ4 decoders: what one makes a page of, the other does too.
#![no_main]

mod codec_common;

use codec_common::{PatchCase, check_patch_decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(case) = PatchCase::new(input) {
        let _ = check_patch_decode(&case.reference, case.stream, case.page_len);
    }
});
