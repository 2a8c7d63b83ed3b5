use std::vec;

use proptest::prelude::*;

use super::*;
use crate::testing::PAGE_LENS;

/// The definition, word by word.
fn same_filled_plainly(page: &[u8]) -> Option<u64> {
    let word = u64::from_le_bytes(page.get(..8)?.try_into().ok()?);
    let same = page
        .chunks(8)
        .all(|other| other == word.to_le_bytes().as_slice());
    same.then_some(word)
}

#[test]
fn every_differing_byte_is_seen() {
    let mut page = vec![0; 4096];
    fill(&mut page, 0x1122_3344_5566_7788);
    for index in 0..page.len() {
        page[index] ^= 0x80;
        assert_eq!(same_filled(&page), None, "byte {index}");
        page[index] ^= 0x80;
    }
    assert_eq!(same_filled(&page), Some(0x1122_3344_5566_7788));
}

#[test]
fn lengths_without_whole_words_are_never_same_filled() {
    assert_eq!(same_filled(&[]), None);
    for len in 1..200 {
        let page = vec![7; len];
        assert_eq!(same_filled(&page).is_some(), len % 8 == 0, "{len} bytes");
    }
}

proptest! {
    #[test]
    fn filled_pages_are_same_filled(
        word: u64,
        len in prop::sample::select(&PAGE_LENS[..]),
    ) {
        let mut page = vec![0xEE; len];
        fill(&mut page, word);
        prop_assert_eq!(same_filled(&page), Some(word));
    }

    #[test]
    fn agrees_with_the_definition(
        // Few different bytes, so that many pages are same-filled or nearly so.
        word in prop::array::uniform8(0_u8..2),
        words in 0_usize..40,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..2), 0..3),
        cut in 0_usize..3,
    ) {
        let mut page = word.repeat(words);
        for (index, byte) in changes {
            if !page.is_empty() {
                let at = index.index(page.len());
                page[at] = byte;
            }
        }
        page.truncate(page.len().saturating_sub(cut / 2));
        prop_assert_eq!(same_filled(&page), same_filled_plainly(&page));
    }

    #[test]
    fn fill_repeats_the_word_to_any_length(word: u64, len in 0_usize..100) {
        let mut page = vec![0; len];
        fill(&mut page, word);
        for (index, byte) in page.iter().enumerate() {
            prop_assert_eq!(*byte, word.to_le_bytes()[index % 8]);
        }
    }
}
