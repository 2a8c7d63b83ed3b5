//! What the tests of all codecs share: sample pages, hostile streams, and the two checks.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::{Codec, DecompressError, decompress_fragments};

/// The page lengths in use: x86, arm64 with 16 KiB, and arm64 or POWER with 64 KiB.
pub(crate) const PAGE_LENS: [usize; 3] = [4096, 16384, 65536];

const CANARY: u8 = 0xA5;
const CANARY_LEN: usize = 64;

/// xorshift64*, for bytes that no codec can shrink.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 56) as u8).collect()
    }
}

/// Pages of the kinds found in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Zeros,
    Noise,
    Pointers,
    Text,
    HalfNoise,
}

pub(crate) const KINDS: [Kind; 5] = [
    Kind::Zeros,
    Kind::Noise,
    Kind::Pointers,
    Kind::Text,
    Kind::HalfNoise,
];

pub(crate) fn sample_page(kind: Kind, len: usize, seed: u64) -> Vec<u8> {
    let mut noise = Noise(seed | 1);
    let mut page = vec![0; len];
    match kind {
        Kind::Zeros => {}
        Kind::Noise => page = noise.bytes(len),
        Kind::Pointers => {
            for word in page.chunks_exact_mut(8) {
                let pointer = 0x7F3A_5C00_0000 + (noise.next() % 0x10_0000) * 8;
                word.copy_from_slice(&pointer.to_le_bytes());
            }
        }
        Kind::Text => {
            let words = [
                "page ", "frame ", "slot ", "block ", "handle ", "free ", "\n",
            ];
            page.clear();
            while page.len() < len {
                page.extend_from_slice(words[noise.below(words.len())].as_bytes());
            }
            page.truncate(len);
        }
        Kind::HalfNoise => {
            let half = noise.bytes(len / 2);
            page[len / 2..len / 2 + half.len()].copy_from_slice(&half);
        }
    }
    page
}

/// A page of one of the lengths in use, with some of its bytes overwritten.
pub(crate) fn any_page() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::sample::select(&KINDS[..]),
        prop::sample::select(&PAGE_LENS[..]),
        any::<u64>(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..32),
    )
        .prop_map(|(kind, len, seed, patches)| {
            let mut page = sample_page(kind, len, seed);
            for (index, byte) in patches {
                page[index.index(len)] = byte;
            }
            page
        })
}

/// The page comes back, whole and from fragments, and nothing outside the buffers changes.
/// Returns the stream.
pub(crate) fn check_round_trip<C: Codec>(
    codec: &C,
    workspace: &mut C::Workspace,
    page: &[u8],
) -> Vec<u8> {
    let room = codec.max_compressed_len(page.len());
    let mut out = vec![CANARY; room + CANARY_LEN];
    let len = codec
        .compress(workspace, page, &mut out[..room])
        .expect("enough room and a workspace that fits");
    assert!(len <= room);
    assert!(out[room..].iter().all(|byte| *byte == CANARY));
    out.truncate(len);
    for cut in [len, 0, 1, len / 3, len.saturating_sub(1)] {
        let cut = cut.min(len);
        let got = check_decode(codec, workspace, &out, cut, page.len());
        assert_eq!(got.as_deref(), Ok(page), "cut at {cut} of {len}");
    }
    out
}

/// Any stream at all gives an error or a whole page: nothing panics, nothing outside the page
/// changes, every byte of the page comes from the stream, and fragments make no difference.
pub(crate) fn check_decode<C: Codec>(
    codec: &C,
    workspace: &mut C::Workspace,
    stream: &[u8],
    cut: usize,
    page_len: usize,
) -> Result<Vec<u8>, DecompressError> {
    let mut first = vec![CANARY; page_len + 2 * CANARY_LEN];
    let mut second = first.clone();
    // Different old contents: a byte the decoder left alone would differ afterwards.
    first[CANARY_LEN..][..page_len].fill(0x00);
    second[CANARY_LEN..][..page_len].fill(0xFF);

    let (head, tail) = stream.split_at(cut);
    let mut scratch = vec![0; stream.len()];
    let whole = codec.decompress(workspace, stream, &mut first[CANARY_LEN..][..page_len]);
    let parts = decompress_fragments(
        codec,
        workspace,
        &[head, tail],
        &mut scratch,
        &mut second[CANARY_LEN..][..page_len],
    );
    assert_eq!(whole, parts, "whole and in fragments");
    for buffer in [&first, &second] {
        assert!(buffer[..CANARY_LEN].iter().all(|byte| *byte == CANARY));
        assert!(
            buffer[CANARY_LEN + page_len..]
                .iter()
                .all(|byte| *byte == CANARY)
        );
    }
    whole?;
    assert!(
        first == second,
        "the page keeps bytes the buffer held before"
    );
    first.truncate(CANARY_LEN + page_len);
    first.drain(..CANARY_LEN);
    Ok(first)
}

/// Truncated, extended, bit-flipped, spliced and random streams, a few thousand of them.
pub(crate) fn check_hostile<C: Codec>(codec: &C) {
    let mut noise = Noise(0x1234_5678_9ABC_DEF1);
    for page_len in PAGE_LENS {
        let mut workspace = codec.workspace(page_len).expect("a page length in use");
        let rounds = 2 * 4096 * 40 / page_len;
        for kind in KINDS {
            let page = sample_page(kind, page_len, noise.next());
            let good = check_round_trip(codec, &mut workspace, &page);
            for _ in 0..rounds {
                let mut bad = good.clone();
                match noise.below(5) {
                    0 => bad.truncate(noise.below(good.len())),
                    1 => bad.extend(noise.bytes(1)),
                    2 => {
                        let extra = noise.below(300);
                        bad.extend(noise.bytes(extra));
                    }
                    3 => {
                        for _ in 0..=noise.below(4) {
                            let at = noise.below(bad.len());
                            bad[at] ^= 1 << noise.below(8);
                        }
                    }
                    _ => {
                        let (from, to) = (noise.below(good.len()), noise.below(good.len()));
                        let len = noise.below(good.len() - from.max(to)).min(64);
                        bad.copy_within(from..from + len, to);
                    }
                }
                let cut = noise.below(bad.len());
                let _ = check_decode(codec, &mut workspace, &bad, cut, page_len);
            }
            for _ in 0..rounds {
                let len = noise.below(600);
                let stream = noise.bytes(len);
                let cut = noise.below(len);
                let _ = check_decode(codec, &mut workspace, &stream, cut, page_len);
            }
            // A workspace that saw hostile bytes still works.
            check_round_trip(codec, &mut workspace, &page);
            // The right stream for the wrong page.
            for wrong_len in [0, 1, page_len - 1, page_len + 1, page_len / 2] {
                let got = check_decode(codec, &mut workspace, &good, 0, wrong_len);
                assert!(got.is_err(), "{page_len} bytes decoded into {wrong_len}");
            }
        }
    }
}
