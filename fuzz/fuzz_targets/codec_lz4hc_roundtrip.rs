//! Pages through the dense LZ4 encoder and back, by both decoders, with one set of tables for all executions.
#![no_main]

mod codec_common;

use std::cell::RefCell;

use codec_common::{DecodeCase, PageCase, check_decode, check_round_trip};
use compress::{AnyCodec, AnyWorkspace, Codec, Lz4Workspace, OtherDecoder};
use libfuzzer_sys::fuzz_target;

fn lz4hc() -> AnyCodec {
    "lz4hc".parse().expect("a codec of this build")
}

thread_local! {
    static WORKSPACE: RefCell<AnyWorkspace> =
        RefCell::new(lz4hc().workspace(65536).expect("memory for the tables"));
}

fuzz_target!(|input: &[u8]| {
    let Some(case) = PageCase::new(input) else {
        return;
    };
    // Of every length, too: the ends of pages are where matches have to stop.
    let short = &case.page[..input.len().min(case.page.len())];
    WORKSPACE.with_borrow_mut(|workspace| {
        for page in [&case.page, short] {
            check_round_trip(&lz4hc(), workspace, page);
            let mut out = vec![0; lz4hc().max_compressed_len(page.len())];
            let len = lz4hc().compress(workspace, page, &mut out);
            let len = len.expect("what was compressed a moment ago");
            let case = DecodeCase {
                page_len: page.len(),
                cuts: [0, len],
                stream: &out[..len],
            };
            let back = check_decode(&OtherDecoder, &mut Lz4Workspace::small(), &case);
            assert!(back.as_deref() == Ok(page), "another page came back");
        }
    });
});
