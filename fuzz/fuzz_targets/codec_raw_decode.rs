//! Hostile bytes into the raw codec: a page only if the length is exactly that of the page.
#![no_main]

mod codec_common;

use codec_common::{DecodeCase, check_decode};
use compress::Raw;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(case) = DecodeCase::new(input) else {
        return;
    };
    let got = check_decode(&Raw, &mut (), &case);
    assert_eq!(got.is_ok(), case.stream.len() == case.page_len);
    if let Ok(page) = got {
        assert_eq!(page, case.stream);
    }
});
