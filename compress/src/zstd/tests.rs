use std::vec;

use proptest::prelude::*;

use super::*;
use crate::PAGE_LEN_MAX;
use crate::testing::{
    KINDS, Kind, PAGE_LENS, any_page, check_decode, check_hostile, check_round_trip, sample_page,
};

fn levels() -> impl Iterator<Item = Zstd> {
    (Zstd::LEVEL_MIN..=Zstd::LEVEL_MAX).map(|level| Zstd::new(level).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_come_back(page in any_page(), level in Zstd::LEVEL_MIN..=Zstd::LEVEL_MAX) {
        let zstd = Zstd::new(level).unwrap();
        let mut workspace = zstd.workspace(page.len()).unwrap();
        check_round_trip(&zstd, &mut workspace, &page);
    }

    #[test]
    fn short_pages_come_back(page in prop::collection::vec(0_u8..4, 0..200)) {
        let zstd = Zstd::default();
        check_round_trip(&zstd, &mut zstd.workspace(200).unwrap(), &page);
    }

    #[test]
    fn random_streams_are_errors_or_pages(
        stream in prop::collection::vec(any::<u8>(), 0..100),
        page_len in 0_usize..300,
    ) {
        let zstd = Zstd::default();
        let mut workspace = zstd.workspace(300).unwrap();
        let _ = check_decode(&zstd, &mut workspace, &stream, stream.len() / 2, page_len);
    }
}

#[test]
fn hostile_streams_are_errors_or_pages() {
    check_hostile(&Zstd::default());
}

#[test]
fn levels_outside_the_range_are_refused() {
    for got in [i32::MIN, -6, 20, 22, i32::MAX] {
        assert_eq!(
            Zstd::new(got),
            Err(ParseCodecError::LevelOutOfRange {
                min: -5,
                max: 19,
                got
            })
        );
    }
    assert_eq!(Zstd::default().level(), 3);
}

/// All memory is taken by `workspace()`: no page of any kind makes the contexts grow.
#[test]
fn compressing_allocates_nothing() {
    for zstd in levels() {
        for page_len in PAGE_LENS {
            let mut workspace = zstd.workspace(page_len).unwrap();
            let before = workspace.heap_bytes();
            for kind in KINDS {
                check_round_trip(&zstd, &mut workspace, &sample_page(kind, page_len, 8));
                check_round_trip(&zstd, &mut workspace, &sample_page(kind, page_len / 2, 8));
            }
            assert_eq!(workspace.heap_bytes(), before, "{zstd:?}, {page_len} bytes");
        }
    }
}

/// Two bytes of frame header and three of block header, then the block: no magic number, no
/// content size, no checksum.
#[test]
fn nothing_unneeded_is_stored() {
    let zstd = Zstd::default();
    let mut workspace = zstd.workspace(4096).unwrap();
    let noise = sample_page(Kind::Noise, 4096, 9);
    let stream = check_round_trip(&zstd, &mut workspace, &noise);
    assert_eq!(stream.len(), 2 + 3 + 4096);

    let mut regular = vec![0; 8192];
    for kind in KINDS {
        let page = sample_page(kind, 4096, 9);
        let stream = check_round_trip(&zstd, &mut workspace, &page);
        let len = zstd_safe::compress(regular.as_mut_slice(), &page, zstd.level()).unwrap();
        assert_eq!(stream.len() + 5, len, "{kind:?}");
    }
}

#[test]
fn the_room_asked_for_is_what_the_library_insists_on() {
    let zstd = Zstd::default();
    for len in (0..5000).chain([16384, 65536, 131_071, 131_072, 131_073, PAGE_LEN_MAX]) {
        assert_eq!(zstd.max_compressed_len(len), zstd_safe::compress_bound(len));
    }
    assert_eq!(zstd.max_compressed_len(usize::MAX), usize::MAX);
}

#[test]
fn a_short_output_buffer_is_an_error_and_the_workspace_survives() {
    let mut workspace = Zstd::default().workspace(4096).unwrap();
    let page = sample_page(Kind::Pointers, 4096, 10);
    for zstd in levels() {
        for room in [0, 1, 5, 17, 300] {
            assert_eq!(
                zstd.compress(&mut workspace, &page, &mut vec![0; room]),
                Err(CompressError::OutputTooSmall {
                    needed: 4174,
                    got: room
                })
            );
        }
        check_round_trip(&zstd, &mut workspace, &page);
    }
}

/// An output buffer below the worst case is a way to say what a page must shrink to.
#[test]
fn a_page_that_fits_a_short_output_buffer_is_compressed() {
    let zstd = Zstd::default();
    let mut workspace = zstd.workspace(4096).unwrap();
    let page = sample_page(Kind::Text, 4096, 10);
    assert!(zstd.compress(&mut workspace, &page, &mut [0; 3000]).is_ok());
}

#[test]
fn a_page_longer_than_the_workspace_is_an_error() {
    let zstd = Zstd::default();
    let mut workspace = zstd.workspace(4096).unwrap();
    assert_eq!(
        zstd.compress(&mut workspace, &[0; 4097], &mut [0; 8192]),
        Err(CompressError::PageTooLong {
            max: 4096,
            got: 4097
        })
    );
    assert!(zstd.workspace(PAGE_LEN_MAX + 1).is_err());
}

#[test]
fn the_longest_page_comes_back() {
    let zstd = Zstd::default();
    let mut workspace = zstd.workspace(PAGE_LEN_MAX).unwrap();
    let page = sample_page(Kind::HalfNoise, PAGE_LEN_MAX, 3);
    check_round_trip(&zstd, &mut workspace, &page);
}

/// A few bytes may claim to be a gigabyte of zeros: the decoder stops at the end of the page.
#[test]
fn a_bomb_is_long() {
    let mut bomb = vec![0x00, 0xA0]; // frame descriptor; window of 1 GiB
    let run_len = 128 << 10;
    for _ in 0..8 {
        let header: u32 = run_len << 3 | 1 << 1; // a run of one byte, not the last block
        bomb.extend_from_slice(&header.to_le_bytes()[..3]);
        bomb.push(0);
    }
    let zstd = Zstd::default();
    let mut workspace = zstd.workspace(4096).unwrap();
    let before = workspace.heap_bytes();
    assert_eq!(
        check_decode(&zstd, &mut workspace, &bomb, 3, 4096),
        Err(DecompressError::Long {
            expected: 4096,
            got_at_least: 4097
        })
    );
    assert_eq!(workspace.heap_bytes(), before);
}
