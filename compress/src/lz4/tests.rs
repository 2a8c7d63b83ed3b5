use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::testing::{Kind, any_page, check_decode, check_hostile, check_round_trip, sample_page};

mod hc;
mod patches;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_come_back(page in any_page()) {
        let mut workspace = Lz4.workspace(page.len()).unwrap();
        check_round_trip(&Lz4, &mut workspace, &page);
        check_round_trip(&OtherDecoder, &mut workspace, &page);
    }

    #[test]
    fn short_pages_come_back(page in prop::collection::vec(0_u8..4, 0..200)) {
        check_round_trip(&Lz4, &mut Lz4Workspace::small(), &page);
        check_round_trip(&Lz4, &mut Lz4Workspace::large(), &page);
        check_round_trip(&OtherDecoder, &mut Lz4Workspace::small(), &page);
    }

    #[test]
    fn random_streams_are_errors_or_pages(
        stream in prop::collection::vec(any::<u8>(), 0..400),
        page_len in 0_usize..300,
    ) {
        let mut workspace = Lz4Workspace::small();
        let one = check_decode(&Lz4, &mut workspace, &stream, stream.len() / 2, page_len);
        let other = check_decode(&OtherDecoder, &mut workspace, &stream, stream.len() / 2, page_len);
        prop_assert_eq!(one.ok(), other.ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Streams are LZ4: another implementation reads ours, and we read its.
    #[test]
    fn others_read_our_streams_and_we_theirs(page in any_page()) {
        let mut out = vec![0; Lz4.max_compressed_len(page.len())];
        let mut workspace = Lz4.workspace(page.len()).unwrap();
        let len = Lz4.compress(&mut workspace, &page, &mut out).unwrap();
        let mut back = vec![0; page.len()];
        let read = lz4_flex::block::decompress_into(&out[..len], &mut back);
        prop_assert_eq!(read.ok(), Some(page.len()));
        prop_assert_eq!(&back, &page);

        let theirs = lz4_flex::block::compress_into(&page, &mut out).unwrap();
        back.fill(0xAA);
        prop_assert_eq!(Lz4.decompress(&mut workspace, &out[..theirs], &mut back), Ok(()));
        prop_assert_eq!(&back, &page);
        back.fill(0xAA);
        prop_assert_eq!(OtherDecoder.decompress(&mut workspace, &out[..theirs], &mut back), Ok(()));
        prop_assert_eq!(&back, &page);
        // As long as theirs, or hardly longer.
        prop_assert!(len <= theirs + theirs / 64 + 8, "{} bytes, theirs {}", len, theirs);
    }
}

#[test]
fn hostile_streams_are_errors_or_pages() {
    check_hostile(&Lz4);
    check_hostile(&OtherDecoder);
}

#[test]
fn the_room_asked_for_is_what_the_library_insists_on() {
    assert_eq!(Lz4.max_compressed_len(4096), 4525);
    for len in (0..5000).chain([16384, 65536, PAGE_LEN_MAX]) {
        let theirs = lz4_flex::block::get_maximum_output_size(len);
        assert_eq!(Lz4.max_compressed_len(len), theirs);
    }
    assert_eq!(Lz4.max_compressed_len(usize::MAX), usize::MAX);

    let mut out = vec![0; 4525];
    let mut workspace = Lz4Workspace::small();
    assert!(Lz4.compress(&mut workspace, &[0; 4096], &mut out).is_ok());
    assert_eq!(
        Lz4.compress(&mut workspace, &[0; 4096], &mut out[..4524]),
        Err(CompressError::OutputTooSmall {
            needed: 4525,
            got: 4524
        })
    );
}

/// Were a page one byte too long let through, the library would build a larger table on the
/// stack and put it into the workspace.
#[test]
fn a_small_workspace_never_becomes_large() {
    let page = sample_page(Kind::Text, SMALL_PAGE_LEN_MAX + 1, 1);
    let mut out = vec![0; Lz4.max_compressed_len(page.len())];
    let mut workspace = Lz4Workspace::small();
    assert_eq!(
        Lz4.compress(&mut workspace, &page, &mut out),
        Err(CompressError::PageTooLong {
            max: 65534,
            got: 65535
        })
    );
    check_round_trip(&Lz4, &mut workspace, &page[1..]);
    assert!(matches!(workspace.table, Table::Small(_)));
}

#[test]
fn workspaces_fit_the_page_they_were_made_for() {
    for len in [0, 1, 4096, 65534, 65535, 65536, PAGE_LEN_MAX] {
        assert!(Lz4.workspace(len).unwrap().page_len_max() >= len);
    }
    assert_eq!(
        Lz4.workspace(PAGE_LEN_MAX + 1).unwrap_err(),
        WorkspaceError::PageTooLong {
            max: PAGE_LEN_MAX,
            got: PAGE_LEN_MAX + 1
        }
    );
    assert_eq!(Lz4Workspace::large().page_len_max(), PAGE_LEN_MAX);
}

#[test]
fn the_longest_page_comes_back() {
    let page = sample_page(Kind::HalfNoise, PAGE_LEN_MAX, 3);
    check_round_trip(&Lz4, &mut Lz4Workspace::large(), &page);
    let long = check_decode(&Lz4, &mut Lz4Workspace::large(), &[0], 0, PAGE_LEN_MAX + 1);
    assert!(matches!(long, Err(DecompressError::PageTooLong { .. })));
}

/// A table left from one page must not be read for the next: its positions mean nothing there.
#[test]
fn a_workspace_keeps_nothing_of_the_last_page() {
    let mut used = Lz4Workspace::small();
    let text = sample_page(Kind::Text, 4096, 5);
    let other = sample_page(Kind::Pointers, 4096, 6);
    check_round_trip(&Lz4, &mut used, &text);
    let after = check_round_trip(&Lz4, &mut used, &other);
    let fresh = check_round_trip(&Lz4, &mut Lz4Workspace::small(), &other);
    assert_eq!(after, fresh);
}

#[test]
fn each_fault_has_its_error() {
    each_fault(&Lz4);
    each_fault(&OtherDecoder);
}

fn each_fault<C: Codec<Workspace = Lz4Workspace>>(codec: &C) {
    let decode = |stream: &[u8], page_len| {
        check_decode(codec, &mut Lz4Workspace::small(), stream, 0, page_len)
    };
    let malformed = |reason| {
        Err(DecompressError::Malformed {
            codec: CodecId::Lz4,
            reason,
        })
    };
    assert_eq!(decode(&[], 16), malformed("stream ends inside a sequence"));
    assert_eq!(
        decode(&[0x40, b'a'], 16),
        malformed("literals reach past the end of the stream")
    );
    assert_eq!(
        decode(&[0x10, b'a', 0, 0, 0], 16),
        malformed("match with offset zero")
    );
    assert_eq!(
        decode(&[0x10, b'a', 2, 0, 0], 16),
        malformed("match starts before the page")
    );
    assert_eq!(
        decode(&[0x20, b'a', b'b'], 16),
        Err(DecompressError::Short {
            expected: 16,
            got: 2
        })
    );
    assert_eq!(
        decode(&[0x20, b'a', b'b'], 1),
        Err(DecompressError::Long {
            expected: 1,
            got_at_least: 2
        })
    );
}

/// The longest length a stream can spell: all its bytes 255. The limit on the stream keeps the
/// sum small on 32-bit targets as well.
#[test]
fn endless_lengths_are_refused() {
    let stream = vec![0xFF; 4526];
    let mut workspace = Lz4Workspace::small();
    assert_eq!(
        check_decode(&Lz4, &mut workspace, &stream, 9, 4096),
        Err(DecompressError::StreamTooLong {
            max: 4525,
            got: 4526
        })
    );
    let got = check_decode(&Lz4, &mut workspace, &stream[1..], 9, 4096);
    assert!(matches!(got, Err(DecompressError::Malformed { .. })));
    let got = check_decode(&OtherDecoder, &mut workspace, &stream[1..], 9, 4096);
    assert!(matches!(got, Err(DecompressError::Malformed { .. })));
}
