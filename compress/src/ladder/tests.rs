use std::string::ToString;
use std::vec;
use std::vec::Vec;

#[cfg(feature = "zstd")]
mod dictionaries;
#[cfg(feature = "zstd")]
mod planes;

use super::readers::EXTRA_LEN_MAX;
use super::*;
use crate::error::CompressError;
use crate::testing::{KINDS, Kind, Noise, check_hostile, check_round_trip, sample_page};

/// All ladders of this build: with each rung alone, all together, and none.
fn ladders() -> Vec<Ladder> {
    let texts = [
        "raw",
        "raw lz4hc",
        "raw zstd:1",
        "lz4",
        "lz4 lz4hc",
        "lz4hc zstd:3",
        "lz4 zstd:3",
        "lz4 lz4hc zstd:3 zstd:15",
        "zstd:1",
        "zstd:1 zstd:12",
        "zstd:-1 lz4hc zstd:19",
    ];
    let ladders: Vec<Ladder> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    assert!(ladders.len() > 1);
    ladders
}

#[test]
fn every_ladder_is_its_first_codec() {
    for ladder in ladders() {
        let page = sample_page(Kind::Text, 4096, 1);
        let first = ladder.rung(0).unwrap();
        for mut workspace in
            [ladder.workspace(4096), ladder.worker_workspace(4096)].map(Result::unwrap)
        {
            let stream = check_round_trip(&ladder, &mut workspace, &page);
            let alone = check_round_trip(&first, &mut first.workspace(4096).unwrap(), &page);
            assert_eq!(stream, alone);
        }
        check_hostile(&ladder);
    }
}

#[test]
fn every_rung_comes_back_from_pages_and_units() {
    for ladder in ladders() {
        let mut worker = ladder.worker_workspace(4096).unwrap();
        let mut reader = ladder.workspace(4096).unwrap();
        for rung in 0..=ladder.rungs() {
            for kind in KINDS {
                for len in [4096, 16384, 65536] {
                    if rung == 0 && len > 4096 {
                        continue;
                    }
                    let unit = sample_page(kind, len, 3 + rung as u64);
                    let mut out = vec![0; ladder.max_compressed_len(len)];
                    let got = ladder.compress_rung(rung, &mut worker, &unit, &mut out);
                    let (id, stream_len) = got.unwrap();
                    out.truncate(stream_len);
                    for workspace in [&mut worker, &mut reader] {
                        let mut back = vec![0xAA; len];
                        let done = ladder.decompress_id(id, workspace, &out, &mut back);
                        assert_eq!(done, Ok(()));
                        assert!(back == unit, "{ladder}, rung {rung}, {kind:?}");
                        if ladder.unit_len_max() >= len {
                            check_unit(&ladder, id, workspace, &out, &unit);
                        }
                    }
                }
            }
        }
    }
}

/// Whole, and in pieces, with a header and a trailer.
fn check_unit(
    ladder: &Ladder,
    id: CodecId,
    workspace: &mut LadderWorkspace,
    stream: &[u8],
    unit: &[u8],
) {
    let stored = [b"head", stream, b"tail"].concat();
    for cut in [0, 2, stored.len() / 2, stored.len()] {
        let (one, two) = stored.split_at(cut);
        for fragments in [&[&stored[..]][..], &[one, two], &[one, &[], two]] {
            if fragments.len() > 1 && stored.len() > UNIT_LEN_MAX + EXTRA_LEN_MAX {
                continue;
            }
            let (mut seen, mut given) = (0, 0);
            let mut verify = |bytes: &[u8]| {
                seen += 1;
                assert_eq!(bytes, stored);
                Some(4..bytes.len() - 4)
            };
            let mut done = |got: &[u8]| {
                given += 1;
                assert!(got == unit);
            };
            let len = unit.len();
            let got = ladder.decompress_unit(id, workspace, fragments, len, &mut verify, &mut done);
            assert_eq!((got, seen, given), (Ok(()), 1, 1));
        }
    }
}

#[test]
fn what_is_not_there_is_a_typed_error() {
    let page = sample_page(Kind::Text, 4096, 1);
    let mut out = vec![0; 80_000];
    for ladder in ladders() {
        let rungs = ladder.rungs();
        let mut reader = ladder.workspace(4096).unwrap();
        let mut worker = ladder.worker_workspace(4096).unwrap();
        assert!(!reader.is_workers());
        assert_eq!(worker.is_workers(), rungs > 0);
        assert_eq!(
            ladder.compress_rung(rungs + 1, &mut worker, &page, &mut out),
            Err(CompressError::NoSuchRung {
                max: rungs,
                got: rungs + 1
            })
        );
        for rung in 1..=rungs {
            assert_eq!(
                ladder.compress_rung(rung, &mut reader, &page, &mut out),
                Err(CompressError::ReadersWorkspace { rung })
            );
            assert!(matches!(
                ladder.compress_rung(rung, &mut worker, &vec![0; 65537], &mut out),
                Err(CompressError::PageTooLong { max: 65536, .. })
            ));
        }
        let mut back = vec![0; 4096];
        for id in [CodecId::Raw, CodecId::Lz4, CodecId::Zstd] {
            let got = ladder.decompress_id(id, &mut reader, &[1, 2, 3], &mut back);
            if ladder.knows(id) {
                assert!(!matches!(got, Err(DecompressError::UnknownCodec { .. })));
            } else {
                assert_eq!(got, Err(DecompressError::UnknownCodec { got: id }));
            }
            assert!(got.is_err());
        }
        let max = ladder.unit_len_max();
        assert_eq!(max, if rungs > 0 { 65536 } else { 0 });
        let id = ladder.id();
        let no_unit = &mut |_: &[u8]| panic!("there is no unit");
        let got = ladder.decompress_unit(id, &mut reader, &[], max + 1, &mut |_| None, no_unit);
        assert_eq!(got, Err(DecompressError::UnitTooLong { max, got: max + 1 }));
        if rungs > 0 {
            for range in [None, Some(0..4), Some(2..5), Some(9..9)] {
                let verify = &mut |_: &[u8]| range.clone();
                let got = ladder.decompress_unit(id, &mut reader, &[b"abc"], 4096, verify, no_unit);
                assert_eq!(got, Err(DecompressError::Rejected));
            }
            let long = vec![0; 40_000];
            let parts = [&long[..], &long];
            let got = ladder.decompress_unit(id, &mut reader, &parts, 4096, &mut |_| None, no_unit);
            assert!(matches!(got, Err(DecompressError::ScratchTooSmall { .. })));
        }
    }
}

#[test]
fn hostile_units_are_errors_or_units() {
    let mut noise = Noise(0xABCDEF);
    for ladder in ladders().iter().filter(|ladder| ladder.rungs() > 0) {
        let mut worker = ladder.worker_workspace(4096).unwrap();
        for rung in 1..=ladder.rungs() {
            let unit = sample_page(Kind::Text, 16384, 5);
            let mut out = vec![0; ladder.max_compressed_len(unit.len())];
            let (id, len) = ladder
                .compress_rung(rung, &mut worker, &unit, &mut out)
                .unwrap();
            out.truncate(len);
            for _ in 0..300 {
                let mut bad = out.clone();
                match noise.below(3) {
                    0 => bad.truncate(noise.below(len)),
                    1 => bad.extend(noise.bytes(5)),
                    _ => {
                        let at = noise.below(len);
                        bad[at] ^= 1 << noise.below(8);
                    }
                }
                let (one, two) = bad.split_at(noise.below(bad.len()));
                let mut verify = |all: &[u8]| Some(0..all.len());
                let mut given = None;
                let mut done = |unit: &[u8]| given = Some(unit.len());
                let parts = [one, two];
                let got =
                    ladder.decompress_unit(id, &mut worker, &parts, 16384, &mut verify, &mut done);
                assert_eq!(given, got.is_ok().then_some(16384));
            }
            check_unit(ladder, id, &mut worker, &out, &unit);
        }
    }
}

#[test]
fn patches_are_the_first_codecs() {
    let reference = sample_page(Kind::Noise, 4096, 1);
    let mut page = reference.clone();
    page[1000..1064].fill(7);
    let both = [&reference[..], &page].concat();
    for ladder in ladders() {
        let mut workspace = ladder.workspace(4096).unwrap();
        let mut out = vec![0; ladder.max_compressed_len(4096)];
        let got = ladder.compress_patch(&mut workspace, &both, 4096, &mut out);
        assert_eq!(ladder.patches(), ladder.id() == CodecId::Lz4);
        if !ladder.patches() {
            assert_eq!(got, Err(CompressError::NoPatches));
            let got = ladder.decompress_patch(&mut workspace, &reference, &[0], &mut out);
            assert_eq!(got, Err(DecompressError::NoPatches));
            continue;
        }
        let mut back = vec![0; 4096];
        let stream = &out[..got.unwrap()];
        let got = ladder.decompress_patch(&mut workspace, &reference, stream, &mut back);
        assert_eq!(got, Ok(()));
        assert!(back == page);
    }
}

#[test]
fn texts_round_trip() {
    for ladder in ladders() {
        assert_eq!(ladder.to_string().parse(), Ok(ladder.clone()));
        let rungs: Vec<AnyCodec> = (1..=ladder.rungs())
            .map(|at| ladder.rung(at).unwrap())
            .collect();
        assert_eq!(Ladder::new(ladder.rung(0).unwrap(), &rungs), Ok(ladder));
    }
    let parse = |text: &str| text.parse::<Ladder>();
    for text in ["", " ", "gzip", "raw gzip"] {
        let unknown = Err(LadderError::Parse(crate::ParseCodecError::UnknownName));
        assert_eq!(parse(text), unknown, "{text:?}");
    }
    #[cfg(feature = "lz4")]
    assert_eq!(parse("raw lz4"), Err(LadderError::NotDenser { rung: 1 }));
    #[cfg(feature = "zstd")]
    {
        assert_eq!(parse("zstd:3 zstd"), Err(LadderError::Repeated { rung: 1 }));
        assert_eq!(
            parse("raw zstd:1 zstd:2 zstd:3 zstd:4"),
            Err(LadderError::TooManyRungs { max: 3, got: 4 })
        );
    }
}

/// Workspaces of a ladder without rungs are those of the codec, and two pointers.
#[test]
fn without_rungs_nothing_is_added() {
    for ladder in ladders().iter().filter(|ladder| ladder.rungs() == 0) {
        assert_eq!(ladder.workspace(4096).unwrap().heap_bytes(), 0);
        assert_eq!(ladder.worker_workspace(4096).unwrap().heap_bytes(), 0);
        assert_eq!(ladder.readers_bytes(), 0);
        assert_eq!(ladder.reserve_readers(4), Ok(()));
        assert_eq!(ladder.readers_bytes(), 0);
    }
    assert!(size_of::<LadderWorkspace>() <= size_of::<AnyWorkspace>() + 64);
}

/// Readers have no tables for compressors, and nothing they read makes them grow. zstd may change a worker's
/// tables (it gives back large ones after 128 small frames), but not beyond what they were made with.
#[test]
fn reading_allocates_nothing() {
    for ladder in ladders() {
        let mut worker = ladder.worker_workspace(4096).unwrap();
        let mut reader = ladder.workspace(4096).unwrap();
        let (most, before) = (worker.heap_bytes(), ladder.readers_bytes());
        assert_eq!(reader.heap_bytes(), 0);
        assert!(before < 400 << 10, "{ladder}: a reader's takes {before}");
        assert!(most < 8 << 20, "{ladder}: a worker's takes {most}");
        let unit = sample_page(Kind::Pointers, 65536, 9);
        let mut out = vec![0; ladder.max_compressed_len(65536)];
        for rung in (1..=ladder.rungs()).chain((1..=ladder.rungs()).rev()) {
            for turn in 0..400 {
                let len = if turn % 200 == 199 { 65536 } else { 1024 };
                let got = ladder.compress_rung(rung, &mut worker, &unit[..len], &mut out);
                let (id, stream_len) = got.unwrap();
                let stream = &out[..stream_len];
                let all = &mut |_: &[u8]| Some(0..stream.len());
                assert!(
                    ladder
                        .decompress_unit(id, &mut reader, &[stream], len, all, &mut |_| ())
                        .is_ok()
                );
                assert_eq!(ladder.readers_bytes(), before, "{ladder}");
                assert!(worker.heap_bytes() <= most, "{ladder}");
            }
        }
    }
}

#[cfg(feature = "lz4")]
#[test]
fn shorter_units_need_smaller_workspaces_and_longer_ones_are_refused() {
    let ladder: Ladder = "lz4 lz4hc".parse().unwrap();
    let short = ladder.clone().with_unit_len(16384);
    assert_eq!(
        (ladder.unit_len_max(), short.unit_len_max()),
        (65536, 16384)
    );
    let mut worker = short.worker_workspace(4096).unwrap();
    let _ = ladder.worker_workspace(4096).unwrap();
    assert!(short.readers_bytes() + 96 * 1024 <= ladder.readers_bytes());
    let unit = vec![7; 16385];
    let mut out = vec![0; 20000];
    assert!(matches!(
        short.compress_rung(1, &mut worker, &unit, &mut out),
        Err(CompressError::PageTooLong {
            max: 16384,
            got: 16385
        })
    ));
    let (_, len) = short
        .compress_rung(1, &mut worker, &unit[..16384], &mut out)
        .unwrap();
    let mut back = Vec::new();
    let got = short.decompress_unit(
        CodecId::Lz4,
        &mut worker,
        &[&out[..len]],
        16384,
        &mut |all| Some(0..all.len()),
        &mut |unit| back.extend_from_slice(unit),
    );
    assert_eq!(got, Ok(()));
    assert_eq!(back, &unit[..16384]);
    assert_eq!(ladder.clone().with_unit_len(1).unit_len_max(), 4096);
    assert_eq!(ladder.with_unit_len(1 << 20).unit_len_max(), 65536);
}

/// One set is enough until several read at once; then there are as many as read, and no more.
#[cfg(feature = "lz4")]
#[test]
fn readers_share_what_they_read_with() {
    let ladder: Ladder = "lz4 lz4hc".parse().unwrap();
    let mut worker = ladder.worker_workspace(4096).unwrap();
    let unit = sample_page(Kind::Text, 16384, 21);
    let mut out = vec![0; 20_000];
    let len = ladder.compress_rung(1, &mut worker, &unit, &mut out);
    let stream = &out[..len.unwrap().1];
    let one = ladder.readers_bytes();
    let read = |workspace: &mut LadderWorkspace, inside: &mut dyn FnMut()| {
        let all = &mut |bytes: &[u8]| Some(0..bytes.len());
        let done = &mut |got: &[u8]| {
            assert!(got == unit);
            inside();
        };
        let (id, len) = (CodecId::Lz4, unit.len());
        let got = ladder.decompress_unit(id, workspace, &[stream], len, all, done);
        assert_eq!(got, Ok(()));
    };
    let mut readers: [_; 3] = std::array::from_fn(|_| ladder.workspace(4096).unwrap());
    for reader in &mut readers {
        read(reader, &mut || ());
    }
    assert_eq!(ladder.readers_bytes(), one);
    // One inside another; then they are there.
    for _ in 0..2 {
        let [a, b, c] = &mut readers;
        read(a, &mut || read(b, &mut || read(c, &mut || ())));
        assert!(ladder.readers_bytes() > one + 2 * 2 * UNIT_LEN_MAX);
        assert!(ladder.readers_bytes() < one + 2 * 3 * UNIT_LEN_MAX);
    }
    let three = ladder.readers_bytes();
    ladder.reserve_readers(3).unwrap();
    assert_eq!(ladder.readers_bytes(), three);
    ladder.reserve_readers(usize::MAX).unwrap();
    assert!(ladder.readers_bytes() > 30 * 2 * UNIT_LEN_MAX);
    assert!(ladder.readers_bytes() < 33 * 3 * UNIT_LEN_MAX);
}

/// Where all are in use and no more can be made, who reads waits.
#[cfg(feature = "lz4")]
#[test]
fn readers_wait_for_each_other() {
    let ladder: Ladder = "lz4 lz4hc".parse().unwrap();
    let mut worker = ladder.worker_workspace(4096).unwrap();
    let sets = ladder.readers.clone().unwrap();
    let mut lent: Vec<_> = (0..READERS_MAX).map(|_| sets.lend(&ladder)).collect();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let all = &mut |bytes: &[u8]| Some(0..bytes.len());
            // Four literals.
            let stream: &[&[u8]] = &[b"\x40page"];
            ladder.decompress_unit(CodecId::Lz4, &mut worker, stream, 4, all, &mut |_| ())
        });
        lent.pop();
        assert_eq!(waits.join().unwrap(), Ok(()));
    });
    assert!(lent.iter_mut().all(|lent| lent.set().is_some()));
}
