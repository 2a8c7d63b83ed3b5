//! What a ladder's workspaces do once they are made takes nothing from the global allocator. (zstd's contexts are on
//! the C heap; the unit tests look at their size.)
#![cfg(all(feature = "lz4", feature = "alloc"))]

use allocation_counter::measure;
use compress::{Codec, Ladder, LadderWorkspace};

/// A page that compresses, with something in it that does not.
fn unit(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut byte = |at: usize| {
        state = state.wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
        match at / 256 % 3 {
            0 => (state >> 24) as u8,
            1 => (at / 7) as u8,
            _ => b"free slot "[at % 10],
        }
    };
    (0..len).map(&mut byte).collect()
}

fn work(ladder: &Ladder, worker: &mut LadderWorkspace, reader: &mut LadderWorkspace) {
    let (big, small) = (unit(65536, 1), unit(4096, 2));
    let both = [&small[..], &unit(4096, 3)].concat();
    let mut out = vec![0; ladder.max_compressed_len(65536)];
    let mut back = vec![0; 4096];

    let taken = measure(|| {
        for rung in 0..=ladder.rungs() {
            let got = ladder.compress_rung(rung, worker, &small, &mut out);
            let (id, len) = got.expect("room for a page");
            ladder
                .decompress_id(id, reader, &out[..len], &mut back)
                .expect("its own stream");
            assert!(back == small);
            if rung > 0 {
                let got = ladder.compress_rung(rung, worker, &big, &mut out);
                let (id, len) = got.expect("room for a unit");
                let (head, tail) = out[..len].split_at(100);
                let all = &mut |bytes: &[u8]| Some(0..bytes.len());
                let mut same = false;
                let done = &mut |got: &[u8]| same = got == big;
                ladder
                    .decompress_unit(id, reader, &[head, tail], big.len(), all, done)
                    .expect("its own stream");
                assert!(same);
            }
        }
        let len = ladder.compress_patch(reader, &both, 4096, &mut out);
        let patch = &out[..len.expect("room for a page")];
        ladder
            .decompress_patch(reader, &small, patch, &mut back)
            .expect("its own patch");
        assert!(back == both[4096..]);
    });
    assert_eq!(taken.count_total, 0, "{ladder}: taken while at work");
}

#[test]
fn nothing_is_allocated_after_the_workspaces_are_made() {
    let texts: &[&str] = if cfg!(feature = "zstd") {
        &["lz4", "lz4 lz4hc", "lz4 zstd:1", "lz4 lz4hc zstd:6 zstd:15"]
    } else {
        &["lz4", "lz4 lz4hc"]
    };
    for text in texts {
        let ladder: Ladder = text.parse().expect("a ladder of this build");
        let mut made = None;
        let taken =
            measure(|| made = Some((ladder.worker_workspace(4096), ladder.workspace(4096))));
        let taken = taken.count_total;
        let (worker, reader) = made.expect("it was run");
        let (mut worker, mut reader) = (worker.expect("memory"), reader.expect("memory"));
        // A ladder without rungs takes none at all; the counter counts.
        assert_eq!(taken == 0, ladder.rungs() == 0, "{text}: {taken}");
        work(&ladder, &mut worker, &mut reader);
    }
}
