//! Pages through zstd and back, at every level, with one context for all executions and levels; and as a denser codec
//! of a ladder, which takes words apart where that is shorter.
#![no_main]

mod codec_common;

use std::cell::RefCell;

use codec_common::{PageCase, check_round_trip};
use compress::{Codec, CodecId, Ladder, LadderWorkspace, Zstd, ZstdWorkspace};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static WORKSPACE: RefCell<ZstdWorkspace> =
        RefCell::new(Zstd::default().workspace(65536).expect("memory for the contexts"));
    static RUNG: RefCell<(Ladder, LadderWorkspace)> = {
        let ladder: Ladder = "lz4 zstd:3".parse().expect("codecs of this build");
        let workspace = ladder.worker_workspace(4096).expect("memory for the tables");
        RefCell::new((ladder, workspace))
    };
}

fn check_rung(ladder: &Ladder, workspace: &mut LadderWorkspace, page: &[u8]) {
    let mut out = vec![0; ladder.max_compressed_len(page.len())];
    let got = ladder.compress_rung(1, workspace, page, &mut out);
    let (id, len) = got.expect("room for the worst page");
    assert!(matches!(id, CodecId::Zstd | CodecId::ZstdPlanes));
    let mut back = vec![0xA5; page.len()];
    ladder
        .decompress_id(id, workspace, &out[..len], &mut back)
        .expect("its own stream");
    assert!(back == page);
    // Any bytes are read as words apart: a page, or an error.
    let _ = ladder.decompress_id(CodecId::ZstdPlanes, workspace, page, &mut back);
}

fuzz_target!(|input: &[u8]| {
    let Some(case) = PageCase::new(input) else {
        return;
    };
    let levels = Zstd::LEVEL_MAX - Zstd::LEVEL_MIN + 1;
    let level = Zstd::LEVEL_MIN + i32::from(case.level) % levels;
    let zstd = Zstd::new(level).expect("a level in the range");
    WORKSPACE.with_borrow_mut(|workspace| check_round_trip(&zstd, workspace, &case.page));
    if case.page.len() <= 65536 {
        RUNG.with_borrow_mut(|(ladder, workspace)| check_rung(ladder, workspace, &case.page));
    }
});
