use proptest::prelude::*;

use super::*;
use crate::testing::{any_page, check_decode, check_hostile, check_round_trip};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_come_back(page in any_page()) {
        check_round_trip(&Raw, &mut (), &page);
    }

    #[test]
    fn only_the_exact_length_is_a_page(stream in prop::collection::vec(any::<u8>(), 0..64)) {
        for page_len in 0..64 {
            let got = check_decode(&Raw, &mut (), &stream, stream.len() / 2, page_len);
            prop_assert_eq!(got.is_ok(), page_len == stream.len());
        }
    }
}

#[test]
fn hostile_streams_are_errors_or_pages() {
    check_hostile(&Raw);
}

#[test]
fn fragments_go_straight_to_the_page() {
    let mut page = [0; 4];
    let done = Raw.decompress_fragments(&mut (), &[b"ab", b"cd"], &mut [], &mut page);
    assert_eq!(done, Ok(()));
    assert_eq!(&page, b"abcd");
}

#[test]
fn fragments_of_another_length_are_errors() {
    let mut page = [0; 4];
    let long = Raw.decompress_fragments(&mut (), &[b"ab", b"cde"], &mut [], &mut page);
    assert_eq!(
        long,
        Err(DecompressError::Long {
            expected: 4,
            got_at_least: 5
        })
    );
    let short = Raw.decompress_fragments(&mut (), &[b"ab", b"c"], &mut [], &mut page);
    assert_eq!(
        short,
        Err(DecompressError::Short {
            expected: 4,
            got: 3
        })
    );
}

#[test]
fn a_short_output_buffer_is_an_error() {
    assert_eq!(
        Raw.compress(&mut (), &[0; 10], &mut [0; 9]),
        Err(CompressError::OutputTooSmall { needed: 10, got: 9 })
    );
}

#[test]
fn page_lengths_have_a_limit() {
    assert!(Raw.workspace(crate::PAGE_LEN_MAX).is_ok());
    assert!(Raw.workspace(crate::PAGE_LEN_MAX + 1).is_err());
}
