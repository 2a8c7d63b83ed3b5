//! The dense encoder.

use std::boxed::Box;

use super::*;
use crate::testing::KINDS;

fn workspace() -> Box<Lz4HcWorkspace> {
    Box::new(Lz4HcWorkspace::new())
}

/// The page comes back by all decoders; the length of the stream.
fn check(workspace: &mut Lz4HcWorkspace, page: &[u8]) -> usize {
    let stream = check_round_trip(&Lz4Hc, workspace, page);
    let mut small = Lz4Workspace::small();
    for back in [
        check_decode(&Lz4, &mut small, &stream, 0, page.len()),
        check_decode(&OtherDecoder, &mut small, &stream, 0, page.len()),
    ] {
        assert!(back.as_deref() == Ok(page));
    }
    stream.len()
}

/// The length of the shortest block there is, by trying everything: for each position, and each number of
/// literals in front of it, the fewest bytes for the rest.
fn shortest(page: &[u8]) -> usize {
    let n = page.len();
    let more = |len: usize| if len < 15 { 0 } else { 1 + (len - 15) / 255 };
    let mut rest = vec![vec![usize::MAX; n + 1]; n + 1];
    for at in (0..=n).rev() {
        for literals in 0..=at {
            let mut best = if at == n {
                1 + literals + more(literals)
            } else {
                rest[at + 1][literals + 1]
            };
            if at + 12 <= n {
                for from in 0..at {
                    let most = n - 5 - at;
                    let same = (0..most).take_while(|i| page[from + i] == page[at + i]);
                    for len in 4..=same.count() {
                        let sequence = 3 + literals + more(literals) + more(len - 4);
                        best = best.min(sequence + rest[at + len][0]);
                    }
                }
            }
            rest[at][literals] = best;
        }
    }
    rest[0][0]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_come_back(page in any_page()) {
        let len = check(&mut workspace(), &page);
        let mut fast = Lz4.workspace(page.len()).unwrap();
        let fast = check_round_trip(&Lz4, &mut fast, &page).len();
        // A run of one byte may cost a literal more: its longest match is far down in the chain.
        prop_assert!(len <= fast + fast / 64 + 8, "{} bytes, the fast encoder {}", len, fast);
    }

    #[test]
    fn short_pages_are_as_short_as_they_can_be(
        page in prop::collection::vec(prop::sample::select(&[0_u8, 0, 0, 1, 2][..]), 0..80),
    ) {
        let (len, best) = (check(&mut workspace(), &page), shortest(&page));
        prop_assert!(len >= best, "{} bytes, {} is the least", len, best);
        prop_assert!(len <= best + 1, "{} bytes, {} is the least", len, best);
    }
}

#[test]
fn every_length_comes_back() {
    let mut workspace = workspace();
    for kind in KINDS {
        let page = sample_page(kind, 700, 21);
        for len in 0..page.len() {
            check(&mut workspace, &page[..len]);
        }
    }
}

#[test]
fn the_longest_page_comes_back_and_no_longer_one() {
    let mut workspace = workspace();
    for kind in KINDS {
        check(&mut workspace, &sample_page(kind, 65536, 4));
    }
    let got = Lz4Hc.compress(&mut workspace, &vec![0; 65537], &mut vec![0; 80_000]);
    let too_long = CompressError::PageTooLong {
        max: 65536,
        got: 65537,
    };
    assert_eq!(got, Err(too_long));
    let refused = Lz4Hc.workspace(65537).map(drop);
    assert!(matches!(
        refused,
        Err(WorkspaceError::PageTooLong { max: 65536, .. })
    ));
}

/// The tables are not cleared from page to page, but for the heads of the chains.
#[test]
fn a_workspace_keeps_nothing_of_the_last_page() {
    let mut used = workspace();
    check(&mut used, &sample_page(Kind::HalfNoise, 65536, 5));
    for kind in KINDS {
        let page = sample_page(kind, 4096, 6);
        assert_eq!(check(&mut used, &page), check(&mut workspace(), &page));
    }
}

#[test]
fn a_short_output_buffer_is_an_error() {
    let mut workspace = workspace();
    let page = sample_page(Kind::Text, 4096, 7);
    let len = check(&mut workspace, &page);
    for room in 0..len {
        let got = Lz4Hc.compress(&mut workspace, &page, &mut vec![0; room]);
        let needed = 4525;
        assert_eq!(
            got,
            Err(CompressError::OutputTooSmall { needed, got: room })
        );
    }
    let got = Lz4Hc.compress(&mut workspace, &page, &mut vec![0; len]);
    assert_eq!(got, Ok(len));
}

#[test]
fn patches_are_shorter_than_those_of_the_fast_encoder() {
    let mut workspace = workspace();
    let mut small = Lz4Workspace::small();
    let mut out = vec![0; 8192];
    for kind in KINDS {
        let reference = sample_page(kind, 4096, 11);
        let mut page = reference.clone();
        page.rotate_left(77);
        page[100..164].fill(3);
        page[3000..3064].fill(4);
        let both = [&reference[..], &page].concat();
        let fast = Lz4
            .compress_patch(&mut small, &both, 4096, &mut out)
            .unwrap();
        let dense = Lz4Hc
            .compress_patch(&mut workspace, &both, 4096, &mut out)
            .unwrap();
        assert!(
            dense <= fast,
            "{kind:?}: {dense} bytes, the fast encoder {fast}"
        );
        let mut back = vec![0; 4096];
        let got = Lz4.decompress_patch(&mut small, &reference, &out[..dense], &mut back);
        assert_eq!(got, Ok(()));
        assert!(back == page);
    }
    assert_eq!(
        Lz4Hc.compress_patch(&mut workspace, &[0; 65535], 9, &mut out),
        Err(CompressError::PageTooLong {
            max: 65534,
            got: 65535
        })
    );
    assert_eq!(
        Lz4Hc.compress_patch(&mut workspace, &[0; 10], 11, &mut out),
        Err(CompressError::PrefixTooLong { max: 10, got: 11 })
    );
}
