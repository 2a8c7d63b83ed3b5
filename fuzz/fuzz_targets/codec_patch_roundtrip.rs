//! Pages as patches against a reference and back, by both encoders, with one table of each for all
//! executions.
#![no_main]

mod codec_common;

use std::cell::RefCell;

use codec_common::{PairCase, check_patch_round_trip};
use compress::{AnyCodec, AnyWorkspace, Codec, Lz4, Lz4Workspace};
use libfuzzer_sys::fuzz_target;

fn lz4hc() -> AnyCodec {
    "lz4hc".parse().expect("a codec of this build")
}

thread_local! {
    static FAST: RefCell<Lz4Workspace> = const { RefCell::new(Lz4Workspace::small()) };
    static DENSE: RefCell<AnyWorkspace> =
        RefCell::new(lz4hc().workspace(4096).expect("memory for the tables"));
}

fuzz_target!(|input: &[u8]| {
    let Some(PairCase { both, prefix }) = PairCase::new(input) else {
        return;
    };
    FAST.with_borrow_mut(|workspace| check_patch_round_trip(&Lz4, workspace, &both, prefix));
    DENSE.with_borrow_mut(|workspace| check_patch_round_trip(&lz4hc(), workspace, &both, prefix));
});
