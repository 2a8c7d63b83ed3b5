//! Dictionaries of the zstd rungs.

use super::*;
use crate::train_dictionary;

/// Pages that have much in common with each other, and little of it twice in a page: each has some of the same
/// 200 pieces of noise, in any order, with bytes of its own between them.
fn pages(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let pieces: Vec<Vec<u8>> = (1..=200)
        .map(|seed| Noise(seed * 0x9E37_79B9).bytes(64))
        .collect();
    let mut noise = Noise(seed);
    let page = |_| {
        let mut page = Vec::new();
        let first = noise.below(pieces.len());
        for turn in 0.. {
            if page.len() >= 4096 {
                break;
            }
            page.extend_from_slice(&pieces[(first + turn * 7) % pieces.len()]);
            page.extend(noise.bytes(6));
        }
        page.truncate(4096);
        page
    };
    (0..count).map(page).collect()
}

fn dictionary() -> Vec<u8> {
    train_dictionary(&pages(128, 1).concat(), 4096, 16 << 10).unwrap()
}

fn has_zstd(ladder: &Ladder) -> bool {
    (1..=ladder.rungs()).any(|at| matches!(ladder.rung(at), Some(AnyCodec::Zstd(_))))
}

fn with_zstd() -> impl Iterator<Item = Ladder> {
    let ladders = ladders().into_iter();
    ladders.filter(has_zstd)
}

/// The stream of a page, and the id to store it under.
fn store(
    ladder: &Ladder,
    rung: usize,
    worker: &mut LadderWorkspace,
    page: &[u8],
) -> (CodecId, Vec<u8>) {
    let mut out = vec![0; ladder.max_compressed_len(page.len())];
    let (id, len) = ladder.compress_rung(rung, worker, page, &mut out).unwrap();
    out.truncate(len);
    (id, out)
}

#[test]
fn what_was_stored_before_is_read_after_and_pages_are_denser() {
    let (dictionary, pages) = (dictionary(), pages(20, 2));
    for ladder in with_zstd() {
        let mut worker = ladder.worker_workspace(4096).unwrap();
        let mut reader = ladder.workspace(4096).unwrap();
        let rungs = 0..=ladder.rungs();
        let all = |worker: &mut LadderWorkspace| -> Vec<_> {
            let cases = rungs
                .clone()
                .flat_map(|rung| pages.iter().map(move |page| (rung, page)));
            let stored = cases.map(|(rung, page)| (rung, page, store(&ladder, rung, worker, page)));
            stored.collect()
        };
        let before = all(&mut worker);
        assert_eq!(ladder.dictionary_bytes(), 0);
        ladder.install_dictionary(&dictionary).unwrap();
        assert_eq!(ladder.dictionary_bytes(), dictionary.len());
        // Who was there before goes on without it.
        assert_eq!(all(&mut worker), before);
        let mut worker = ladder.worker_workspace(4096).unwrap();
        let after = all(&mut worker);
        let heap = ladder.readers_bytes();
        let mut lens = [(0, 0); RUNGS_MAX + 1];
        for ((rung, page, old), (_, _, new)) in before.iter().zip(&after) {
            let dense = *rung > 0 && old.0 == CodecId::Zstd;
            assert_eq!(new.0, if dense { CodecId::ZstdDict } else { old.0 });
            lens[*rung].0 += old.1.len();
            lens[*rung].1 += new.1.len();
            for (id, stream) in [old, new] {
                let mut back = vec![0xAA; 4096];
                for workspace in [&mut worker, &mut reader] {
                    let got = ladder.decompress_id(*id, workspace, stream, &mut back);
                    assert_eq!(got, Ok(()));
                    assert!(back == **page);
                }
            }
        }
        assert_eq!(ladder.readers_bytes(), heap);
        for (rung, (old, new)) in lens.into_iter().enumerate() {
            let dense = rung > 0 && matches!(ladder.rung(rung), Some(AnyCodec::Zstd(_)));
            let most = if dense { old / 2 } else { old };
            assert!(new <= most, "{ladder}, rung {rung}: {new} of {old}");
        }
    }
}

#[test]
fn units_with_a_dictionary_come_back() {
    let dictionary = dictionary();
    for ladder in with_zstd() {
        ladder.install_dictionary(&dictionary).unwrap();
        let mut worker = ladder.worker_workspace(4096).unwrap();
        let mut reader = ladder.workspace(4096).unwrap();
        for len in [1, 4096, 16384, 65536] {
            for unit in [
                pages(16, 3).concat()[..len].to_vec(),
                sample_page(Kind::Noise, len, 4),
            ] {
                for rung in 1..=ladder.rungs() {
                    let (id, stream) = store(&ladder, rung, &mut worker, &unit);
                    check_unit(&ladder, id, &mut reader, &stream, &unit);
                }
            }
        }
    }
}

#[test]
fn a_dictionary_is_installed_once_and_clones_share_it() {
    let dictionary = dictionary();
    for ladder in ladders() {
        let clone = ladder.clone();
        let zstd = has_zstd(&ladder);
        let (min, max) = (256, 256 << 10);
        if !zstd {
            assert_eq!(
                ladder.install_dictionary(&dictionary),
                Err(DictionaryError::NoZstd)
            );
            continue;
        }
        for got in [0, 255, max + 1] {
            let refused = Err(DictionaryError::Length { min, max, got });
            assert_eq!(ladder.install_dictionary(&vec![1; got]), refused);
        }
        // The magic number of a dictionary, and nonsense behind it.
        let mut nonsense = vec![0xFF; 4096];
        nonsense[..4].copy_from_slice(&0xEC30_A437_u32.to_le_bytes());
        assert_eq!(
            ladder.install_dictionary(&nonsense),
            Err(DictionaryError::Refused)
        );
        assert_eq!(ladder.dictionary_bytes(), 0);

        assert_eq!(ladder.install_dictionary(&dictionary), Ok(()));
        assert_eq!(
            clone.install_dictionary(&dictionary),
            Err(DictionaryError::Installed)
        );
        let is_zstd = |at: &usize| matches!(clone.rung(*at), Some(AnyCodec::Zstd(_)));
        let rung = (1..=ladder.rungs()).find(is_zstd).unwrap();
        let page = &pages(1, 9)[0];
        let mut worker = ladder.worker_workspace(4096).unwrap();
        let (id, stream) = store(&ladder, rung, &mut worker, page);
        drop(ladder);
        // The workspace keeps nothing of the ladder.
        let mut back = vec![0; 4096];
        assert_eq!(
            clone.decompress_id(id, &mut worker, &stream, &mut back),
            Ok(())
        );
        assert!(back == *page);
        drop(clone);
        let other: Ladder = "raw zstd:1".parse().unwrap();
        let other_rung = other.compress_rung(1, &mut worker, page, &mut vec![0; 5000]);
        assert!(other_rung.is_ok(), "{other_rung:?}");
        assert_eq!(
            other.decompress_id(id, &mut worker, &stream, &mut back),
            Err(DecompressError::UnknownCodec { got: id })
        );
    }
}

/// Caches are made of one ladder: what one holds must not be in another's dictionary.
#[test]
fn ladders_for_other_units_have_dictionaries_of_their_own() {
    let dictionary = dictionary();
    let one: Ladder = "raw zstd:6".parse().unwrap();
    let two = one.clone().with_unit_len(32 << 10);
    two.install_dictionary(&dictionary).unwrap();
    assert_eq!(one.dictionary_bytes(), 0);
    one.install_dictionary(&dictionary[..4096]).unwrap();
    assert_eq!(two.dictionary_bytes(), dictionary.len());
    // What is there already stays.
    let three = two.with_unit_len(16 << 10);
    assert_eq!(three.dictionary_bytes(), dictionary.len());
}

#[test]
fn streams_that_were_damaged_are_errors_or_pages() {
    let mut noise = Noise(0x5EED);
    let ladder: Ladder = "raw zstd:6".parse().unwrap();
    ladder.install_dictionary(&dictionary()).unwrap();
    let mut worker = ladder.worker_workspace(4096).unwrap();
    let heap = worker.heap_bytes();
    let page = &pages(1, 11)[0];
    let (id, stream) = store(&ladder, 1, &mut worker, page);
    for _ in 0..4000 {
        let mut bad = stream.clone();
        match noise.below(3) {
            0 => bad.truncate(noise.below(stream.len())),
            1 => bad.extend(noise.bytes(9)),
            _ => {
                for _ in 0..=noise.below(3) {
                    let at = noise.below(bad.len());
                    bad[at] ^= 1 << noise.below(8);
                }
            }
        }
        let (mut one, mut two) = (vec![0; 4096], vec![0xFF; 4096]);
        let got = ladder.decompress_id(id, &mut worker, &bad, &mut one);
        assert_eq!(ladder.decompress_id(id, &mut worker, &bad, &mut two), got);
        assert!(got.is_err() || one == two, "bytes the page held before");
    }
    assert!(worker.heap_bytes() <= heap);
    // For a page and level without a dictionary, and the other way round: never a panic.
    let (mut back, len) = (vec![0; 4096], stream.len());
    let _ = ladder.decompress_id(CodecId::Zstd, &mut worker, &stream[..len], &mut back);
    assert_eq!(
        ladder.decompress_id(id, &mut worker, &stream, &mut back),
        Ok(())
    );
    assert!(back == *page);
}

/// A short buffer is an error of one frame; the next one is made as before, with the dictionary and without.
#[test]
fn a_failed_frame_leaves_nothing_behind() {
    let ladder: Ladder = "raw zstd:3 zstd:9".parse().unwrap();
    let mut worker = ladder.worker_workspace(4096).unwrap();
    let page = &pages(1, 12)[0];
    let plain = store(&ladder, 1, &mut worker, page).1;
    ladder.install_dictionary(&dictionary()).unwrap();
    let mut worker = ladder.worker_workspace(4096).unwrap();
    let stream = store(&ladder, 1, &mut worker, page).1;
    assert!(stream.len() < plain.len());
    for room in [0, 5, 17, stream.len() - 1] {
        let got = ladder.compress_rung(1, &mut worker, page, &mut vec![0; room]);
        assert!(matches!(got, Err(CompressError::OutputTooSmall { .. })));
        assert_eq!(store(&ladder, 1, &mut worker, page).1, stream);
    }
    let other: Ladder = "raw zstd:3".parse().unwrap();
    assert_eq!(store(&other, 1, &mut worker, page), (CodecId::Zstd, plain));
}

#[test]
fn samples_are_checked() {
    let sample = pages(64, 1).concat();
    let bad = |pages: &[u8], page_len| {
        let got = pages.len();
        let error = Err(DictionaryError::Samples { page_len, got });
        assert_eq!(train_dictionary(pages, page_len, 4096), error);
    };
    bad(&[], 4096);
    bad(&sample, 0);
    bad(&sample[1..], 4096);
    bad(&sample, 1 << 30);
    for got in [0, 255, 262_145] {
        let (min, max) = (256, 262_144);
        let error = Err(DictionaryError::Length { min, max, got });
        assert_eq!(train_dictionary(&sample, 4096, got), error);
    }
    // Nothing in common.
    assert_eq!(
        train_dictionary(&sample[..4096], 4096, 4096),
        Err(DictionaryError::Refused)
    );
    assert!(train_dictionary(&sample, 4096, 4096).is_ok_and(|bytes| bytes.len() <= 4096));
}
