//! Patches: pages as a difference against another one.

use super::*;
use crate::testing::{KINDS, Noise};

/// Both decoders give the same page, or both give an error; nothing outside the page changes.
fn check_patch_decode(
    reference: &[u8],
    stream: &[u8],
    page_len: usize,
) -> Result<Vec<u8>, DecompressError> {
    const EDGE: usize = 64;
    let mut workspace = Lz4Workspace::small();
    let mut decode = |old: u8, other: bool| {
        let mut buffer = vec![0xA5; page_len + 2 * EDGE];
        let page = &mut buffer[EDGE..][..page_len];
        page.fill(old);
        let done = match other {
            false => Lz4.decompress_patch(&mut workspace, reference, stream, page),
            true => OtherDecoder.decompress_patch(&mut workspace, reference, stream, page),
        };
        let (head, rest) = buffer.split_at(EDGE);
        let (page, tail) = rest.split_at(page_len);
        assert!(head.iter().chain(tail).all(|byte| *byte == 0xA5));
        done.map(|()| page.to_vec())
    };
    let one = decode(0, false);
    assert_eq!(one, decode(0xFF, false), "bytes the buffer held before");
    let other = decode(0, true);
    assert_eq!(other, decode(0xFF, true), "bytes the buffer held before");
    assert_eq!(one.clone().ok(), other.ok(), "the two decoders");
    one
}

/// The page comes back; the length of its patch.
fn check_patch(workspace: &mut Lz4Workspace, reference: &[u8], page: &[u8]) -> usize {
    let both = [reference, page].concat();
    let room = Lz4.max_compressed_len(page.len());
    let mut out = vec![0xA5; room + 64];
    let len = Lz4
        .compress_patch(workspace, &both, reference.len(), &mut out[..room])
        .unwrap();
    assert!(len <= room && out[room..].iter().all(|byte| *byte == 0xA5));
    let back = check_patch_decode(reference, &out[..len], page.len());
    assert!(back.as_deref() == Ok(page), "another page came back");
    len
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_page_against_any_reference(
        kinds in (prop::sample::select(&KINDS[..]), prop::sample::select(&KINDS[..])),
        lens in (0_usize..20_000, 0_usize..20_000),
        seed in any::<u64>(),
        same_seed in any::<bool>(),
    ) {
        let reference = sample_page(kinds.0, lens.0, seed);
        let page = sample_page(kinds.1, lens.1, if same_seed { seed } else { !seed });
        check_patch(&mut Lz4Workspace::small(), &reference, &page);
    }

    #[test]
    fn short_pages_against_short_references(
        reference in prop::collection::vec(0_u8..3, 0..60),
        page in prop::collection::vec(0_u8..3, 0..60),
    ) {
        check_patch(&mut Lz4Workspace::small(), &reference, &page);
    }

    #[test]
    fn random_patches_are_errors_or_pages(
        reference in prop::collection::vec(any::<u8>(), 0..200),
        stream in prop::collection::vec(any::<u8>(), 0..400),
        page_len in 0_usize..300,
    ) {
        let _ = check_patch_decode(&reference, &stream, page_len);
    }
}

#[test]
fn every_prefix_of_a_pair_of_pages() {
    let mut workspace = Lz4Workspace::small();
    for kind in KINDS {
        let both = sample_page(kind, 600, 77);
        for prefix in 0..=both.len() {
            check_patch(&mut workspace, &both[..prefix], &both[prefix..]);
        }
    }
}

/// A page that differs from its reference in blocks costs these blocks, and a few bytes for each.
#[test]
fn changed_blocks_are_what_a_patch_costs() {
    let mut noise = Noise(99);
    let mut workspace = Lz4Workspace::small();
    for page_len in [4096, 16384] {
        for kind in [Kind::Noise, Kind::Pointers, Kind::Text] {
            for blocks in 0..6 {
                for _ in 0..20 {
                    let reference = sample_page(kind, page_len, noise.next());
                    let mut page = reference.clone();
                    for _ in 0..blocks {
                        let at = 64 * noise.below(page_len / 64);
                        page[at..at + 64].copy_from_slice(&noise.bytes(64));
                    }
                    let len = check_patch(&mut workspace, &reference, &page);
                    let most = blocks * (64 + 8) + 10 + page_len / 255;
                    assert!(len <= most, "{kind:?} {blocks}: {len}, at most {most}");
                }
            }
        }
    }
}

/// What lies elsewhere in the reference is found there.
#[test]
fn moved_pieces_are_found() {
    let mut workspace = Lz4Workspace::small();
    let reference = sample_page(Kind::Noise, 4096, 5);
    let mut page = reference.clone();
    page.rotate_left(1000);
    let len = check_patch(&mut workspace, &reference, &page);
    assert!(len < 60, "{len} bytes");
}

#[test]
fn hostile_patches_are_errors_or_pages() {
    let mut noise = Noise(0x77);
    let mut workspace = Lz4Workspace::small();
    for kind in KINDS {
        let reference = sample_page(kind, 4096, 3);
        let mut page = sample_page(kind, 4096, 4);
        page[..1024].copy_from_slice(&reference[512..1536]);
        let both = [&reference[..], &page].concat();
        let mut out = vec![0; Lz4.max_compressed_len(4096)];
        let len = Lz4
            .compress_patch(&mut workspace, &both, 4096, &mut out)
            .unwrap();
        for _ in 0..2000 {
            let mut bad = out[..len].to_vec();
            match noise.below(3) {
                0 => bad.truncate(noise.below(len)),
                1 => bad.extend(noise.bytes(9)),
                _ => {
                    for _ in 0..=noise.below(4) {
                        let at = noise.below(bad.len());
                        bad[at] ^= 1 << noise.below(8);
                    }
                }
            }
            let shorter = &reference[..4096 - noise.below(2) * noise.below(4097)];
            let _ = check_patch_decode(shorter, &bad, 4096);
        }
    }
}

#[test]
fn lengths_out_of_bounds_are_typed_errors() {
    let mut small = Lz4Workspace::small();
    let both = vec![0; 65535];
    let mut out = vec![0; 80_000];
    assert_eq!(
        Lz4.compress_patch(&mut small, &both, 32768, &mut out),
        Err(CompressError::PageTooLong {
            max: 65534,
            got: 65535
        })
    );
    assert!(
        Lz4.compress_patch(&mut small, &both[1..], 32768, &mut out)
            .is_ok()
    );
    assert_eq!(
        Lz4.compress_patch(&mut small, &both[..100], 101, &mut out),
        Err(CompressError::PrefixTooLong { max: 100, got: 101 })
    );
    assert_eq!(
        Lz4.compress_patch(&mut Lz4Workspace::large(), &both[..100], 50, &mut out),
        Err(CompressError::PageTooLong { max: 0, got: 100 })
    );
    let noise = sample_page(Kind::Noise, 8192, 1);
    assert_eq!(
        Lz4.compress_patch(&mut small, &noise, 4096, &mut out[..4096]),
        Err(CompressError::OutputTooSmall {
            needed: 4525,
            got: 4096
        })
    );
    let got = Lz4.decompress_patch(&mut small, &both[..61439], &[0], &mut out[..4096]);
    assert_eq!(
        got,
        Err(DecompressError::PageTooLong {
            max: 65534,
            got: 65535
        })
    );
}
