//! Units whose words are taken apart.

use super::*;

/// Floating point numbers that rise slowly, with noise in their low bits: no text that repeats.
fn numbers(len: usize, seed: u64) -> Vec<u8> {
    let mut noise = Noise(seed);
    let words = (0..len.div_ceil(8)).map(|at| {
        let low = u64::from_le_bytes(noise.bytes(8).try_into().unwrap()) >> 24;
        (1.0 + at as f64 / 1000.0).to_bits() & !0xFF_FFFF_FFFF | low
    });
    let mut unit: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    unit.truncate(len);
    unit
}

fn ladders_with_zstd() -> impl Iterator<Item = Ladder> {
    let is_zstd = |codec| matches!(codec, Some(AnyCodec::Zstd(_)));
    ladders()
        .into_iter()
        .filter(move |ladder| (1..=ladder.rungs()).any(|at| is_zstd(ladder.rung(at))))
}

fn dense(ladder: &Ladder, worker: &mut LadderWorkspace, unit: &[u8]) -> (CodecId, Vec<u8>) {
    let mut rungs = 1..=ladder.rungs();
    let rung = rungs.rfind(|at| matches!(ladder.rung(*at), Some(AnyCodec::Zstd(_))));
    let mut out = vec![0; ladder.max_compressed_len(unit.len())];
    let got = ladder.compress_rung(rung.unwrap(), worker, unit, &mut out);
    let (id, len) = got.unwrap();
    out.truncate(len);
    (id, out)
}

#[test]
fn numbers_are_denser_apart_and_come_back() {
    for ladder in ladders_with_zstd() {
        let mut worker = ladder.worker_workspace(4096).unwrap();
        let mut reader = ladder.workspace(4096).unwrap();
        for len in [1024, 4096, 4099, 32768, 40_000, 65536] {
            let unit = numbers(len, 5);
            let (id, stream) = dense(&ladder, &mut worker, &unit);
            assert_eq!(id, CodecId::ZstdPlanes, "{ladder}, {len}");
            // Five of eight bytes are noise.
            assert!(stream.len() < len * 4 / 5, "{ladder}: {}", stream.len());
            for workspace in [&mut worker, &mut reader] {
                let mut back = vec![0xAA; len];
                let got = ladder.decompress_id(id, workspace, &stream, &mut back);
                assert_eq!(got, Ok(()));
                assert!(back == unit);
                check_unit(&ladder, id, workspace, &stream, &unit);
            }
        }
        // Text is not, and noise not either.
        for kind in [Kind::Text, Kind::Noise, Kind::Zeros] {
            let (id, _) = dense(&ladder, &mut worker, &sample_page(kind, 32768, 1));
            assert_eq!(id, CodecId::Zstd, "{kind:?}");
        }
        let (id, _) = dense(&ladder, &mut worker, &numbers(1023, 1));
        assert_eq!(id, CodecId::Zstd);
    }
}

#[test]
fn damaged_planes_are_errors_or_units() {
    let mut noise = Noise(0xF00D);
    for ladder in ladders_with_zstd().take(2) {
        let mut worker = ladder.worker_workspace(4096).unwrap();
        let unit = numbers(16384, 3);
        let (id, stream) = dense(&ladder, &mut worker, &unit);
        assert_eq!(id, CodecId::ZstdPlanes);
        for _ in 0..500 {
            let mut bad = stream.clone();
            match noise.below(3) {
                0 => bad.truncate(noise.below(stream.len())),
                1 => bad.extend(noise.bytes(7)),
                _ => {
                    let at = noise.below(bad.len());
                    bad[at] ^= 1 << noise.below(8);
                }
            }
            let (mut one, mut two) = (vec![0; 16384], vec![0xFF; 16384]);
            let got = ladder.decompress_id(id, &mut worker, &bad, &mut one);
            assert_eq!(ladder.decompress_id(id, &mut worker, &bad, &mut two), got);
            assert!(got.is_err() || one == two, "bytes that were there before");
        }
        let mut back = vec![0; 65537];
        let (max, got) = (65536, 65537);
        assert_eq!(
            ladder.decompress_id(id, &mut worker, &stream, &mut back),
            Err(DecompressError::UnitTooLong { max, got })
        );
    }
}

/// Who has no zstd among its rungs has no such streams.
#[test]
fn planes_are_a_ladders_with_zstd() {
    let ladder: Ladder = "zstd:1".parse().unwrap();
    let mut workspace = ladder.workspace(4096).unwrap();
    let got = CodecId::ZstdPlanes;
    assert_eq!(
        ladder.decompress_id(got, &mut workspace, &[1, 2, 3], &mut [0; 4096]),
        Err(DecompressError::UnknownCodec { got })
    );
    let error = AnyCodec::try_from(got).unwrap_err();
    assert_eq!(error, crate::ParseCodecError::NeedsLadder);
}
