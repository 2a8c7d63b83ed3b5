//! What a slot says about a page: the tag of an object, and words in the slot itself.
//!
//! ```text
//!  tag    11            5  4  3        0
//!        [  0 (reserved) | C | kind      ]    kind 0..2: codec, 15: one 8-byte word
//!                                             C: a checksum follows the stored bytes
//!
//!  value  60                      2  1  0
//!        [        59 bits           | how ]   how 0: the word      1: the word inverted
//!                                             how 2: 32 bits twice 3: the word shifted right by 5
//! ```
//!
//! A same-filled page is a word of 64 bits, of which a slot holds 61. Zeroes, small numbers of
//! either sign, pointers, repeated 32-bit patterns (so every repeated byte) and round floating
//! point numbers fit; what does not becomes an object of eight bytes.

use compress::CodecId;

const KIND_MASK: u16 = 0xf;
const KIND_WORD: u16 = 0xf;
const CHECKED: u16 = 0x10;

/// How the bytes of an object are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A page made by this codec; `checked` if a checksum follows.
    Page { codec: CodecId, checked: bool },
    /// The word of a same-filled page; `checked` if a checksum follows.
    Word { checked: bool },
}

impl Stored {
    pub(crate) fn tag(self) -> u16 {
        let (kind, checked) = match self {
            Self::Word { checked } => (KIND_WORD, checked),
            Self::Page { codec, checked } => (u16::from(codec.as_u8()), checked),
        };
        kind | if checked { CHECKED } else { 0 }
    }

    /// `None` for a tag that this version does not write.
    pub(crate) fn from_tag(tag: u16) -> Option<Self> {
        if tag & !(KIND_MASK | CHECKED) != 0 {
            return None;
        }
        let checked = tag & CHECKED != 0;
        if tag & KIND_MASK == KIND_WORD {
            return Some(Self::Word { checked });
        }
        let codec = CodecId::try_from((tag & KIND_MASK) as u8).ok()?;
        Some(Self::Page { codec, checked })
    }
}

const HOW_BITS: u32 = 2;
const ROOM: u64 = 1 << (61 - HOW_BITS);
const SHIFT: u32 = 5;

/// The value that stands for a word in a slot, if there is one.
pub(crate) fn word_to_value(word: u64) -> Option<u64> {
    let (high, low) = (word >> 32, word & 0xffff_ffff);
    if word < ROOM {
        Some(word << HOW_BITS)
    } else if !word < ROOM {
        Some(!word << HOW_BITS | 1)
    } else if high == low {
        Some(low << HOW_BITS | 2)
    } else if word.trailing_zeros() >= SHIFT {
        Some((word >> SHIFT) << HOW_BITS | 3)
    } else {
        None
    }
}

/// The word that a slot's value stands for.
pub(crate) fn value_to_word(value: u64) -> u64 {
    let bits = value >> HOW_BITS;
    match value & 3 {
        0 => bits,
        1 => !bits,
        2 => bits << 32 | bits & 0xffff_ffff,
        _ => bits << SHIFT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        let words = [
            0,
            1,
            u64::MAX,
            1 << 63,
            0x7fff_ffff_ffff,
            0x0000_7f12_3456_7890,
            0x6161_6161_6161_6161,
            0xdead_beef_dead_beef,
            f64::to_bits(1.0),
            f64::to_bits(-0.5),
            (-77i64) as u64,
            ROOM - 1,
        ];
        for word in words {
            let value = word_to_value(word).expect("a common word");
            assert!(value <= alloc_xv::VALUE_MAX);
            assert_eq!(value_to_word(value), word);
        }
        assert_eq!(word_to_value(0x0123_4567_89ab_cdef | 1 << 62), None);
    }

    #[test]
    fn tags_come_back() {
        let pages = [CodecId::Raw, CodecId::Lz4, CodecId::Zstd]
            .map(|codec| move |checked| Stored::Page { codec, checked });
        for checked in [false, true] {
            let word = Stored::Word { checked };
            for stored in pages.map(|page| page(checked)).into_iter().chain([word]) {
                assert!(stored.tag() <= alloc_xv::TAG_MAX);
                assert_eq!(Stored::from_tag(stored.tag()), Some(stored));
            }
        }
        assert_eq!(Stored::from_tag(0x20), None);
        assert_eq!(Stored::from_tag(9), None);
    }
}
