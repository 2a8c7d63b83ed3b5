//! What a slot says about a page: the tag of an object, and words in the slot itself.
//!
//! ```text
//!  tag    11     10        9      8  7   6  5   4   3    0
//!        [ seen | refault | mark | rung | age | C | kind  ]   kind 0..13: codec, 14: patch,
//!                                                                  15: one 8-byte word
//!                                             C: a checksum follows the stored bytes
//!
//!  value  60                      2  1  0
//!        [        59 bits           | how ]   how 0: the word      1: the word inverted
//!                                             how 2: 32 bits twice 3: the word shifted right by 5
//!
//!  link   60  58 57                  2  1  0
//!        [ what |   56 bits           | 2  ]  what 1: member of a cluster  2: a shared page
//!                                             what 3: written back         4: the same, and marked
//! ```
//!
//! A same-filled page is a word of 64 bits, of which a slot holds 61. Zeroes, small numbers of
//! either sign, pointers, repeated 32-bit patterns (so every repeated byte) and round floating
//! point numbers fit; what does not becomes an object of eight bytes. The pattern of 32 bits leaves
//! 27 bits, which are zero; links are the values in which they are not.
//!
//! The upper half of a tag, and the same bits in a link, are a page's [`Life`].

use compress::CodecId;

const KIND_MASK: u16 = 0xf;
const KIND_WORD: u16 = 0xf;
const KIND_PATCH: u16 = 0xe;
const CHECKED: u16 = 0x10;
const LIFE_SHIFT: u32 = 5;

/// How the bytes of an object are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A page made by this codec; `checked` if a checksum follows.
    Page { codec: CodecId, checked: bool },
    /// The word of a same-filled page; `checked` if a checksum follows.
    Word { checked: bool },
    /// The difference between a page and a shared one, which stands before it.
    Patch { checked: bool },
}

impl Stored {
    pub(crate) fn tag(self) -> u16 {
        let (kind, checked) = match self {
            Self::Word { checked } => (KIND_WORD, checked),
            Self::Patch { checked } => (KIND_PATCH, checked),
            Self::Page { codec, checked } => (u16::from(codec.as_u8()), checked),
        };
        kind | if checked { CHECKED } else { 0 }
    }

    /// `None` for a tag that this version does not write.
    pub(crate) fn from_tag(tag: u16) -> Option<Self> {
        let checked = tag & CHECKED != 0;
        match tag & KIND_MASK {
            KIND_WORD => Some(Self::Word { checked }),
            KIND_PATCH => Some(Self::Patch { checked }),
            kind => {
                let codec = CodecId::try_from(kind as u8).ok()?;
                Some(Self::Page { codec, checked })
            }
        }
    }
}

/// What is known of a page's past: seven bits of a tag or a link.
///
/// ```text
///   6      5         4      3  2   1  0
///  [ seen | refault | mark | rung | age ]
/// ```
///
/// A page that is put has none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life(u8);

impl Life {
    const AGE: u8 = 0b11;
    const RUNG_SHIFT: u32 = 2;
    const RUNG: u8 = 0b11 << Self::RUNG_SHIFT;
    const MARK: u8 = 1 << 4;
    const REFAULT: u8 = 1 << 5;
    const SEEN: u8 = 1 << 6;
    const ALL: u8 = 0x7f;

    /// Of a page that was just put.
    pub(crate) const NEW: Self = Self(0);

    /// The oldest age.
    pub(crate) const AGE_MAX: u8 = 3;
    /// The highest rung.
    pub(crate) const RUNG_MAX: u8 = 3;

    pub(crate) fn of_tag(tag: u16) -> Self {
        Self((tag >> LIFE_SHIFT) as u8 & Self::ALL)
    }

    /// A tag with this life instead of its own.
    pub(crate) fn on(self, tag: u16) -> u16 {
        tag & !(u16::from(Self::ALL) << LIFE_SHIFT) | u16::from(self.0) << LIFE_SHIFT
    }

    /// Passes of the clock since the page was last read or written, up to [`AGE_MAX`](Self::AGE_MAX).
    pub(crate) fn age(self) -> u8 {
        self.0 & Self::AGE
    }

    pub(crate) fn with_age(self, age: u8) -> Self {
        Self(self.0 & !Self::AGE | age.min(Self::AGE_MAX))
    }

    /// The highest rung of the codec's ladder that was tried; 0 for none.
    pub(crate) fn rung(self) -> u8 {
        (self.0 & Self::RUNG) >> Self::RUNG_SHIFT
    }

    pub(crate) fn with_rung(self, rung: u8) -> Self {
        Self(self.0 & !Self::RUNG | rung.min(Self::RUNG_MAX) << Self::RUNG_SHIFT)
    }

    /// The worker has read the page, and it was not overwritten since.
    pub(crate) fn is_marked(self) -> bool {
        self.0 & Self::MARK != 0
    }

    pub(crate) fn with_mark(self, mark: bool) -> Self {
        Self(if mark {
            self.0 | Self::MARK
        } else {
            self.0 & !Self::MARK
        })
    }

    /// The page was moved to a denser form once and came back: it is not moved again so soon.
    pub(crate) fn is_refault(self) -> bool {
        self.0 & Self::REFAULT != 0
    }

    pub(crate) fn with_refault(self) -> Self {
        Self(self.0 | Self::REFAULT)
    }

    /// A link's payload: the life, and a number below it.
    fn beside(self, number: u32) -> u64 {
        u64::from(self.0) << LINK_LIFE_SHIFT | u64::from(number)
    }

    /// The page was compared with others.
    pub(crate) fn is_seen(self) -> bool {
        self.0 & Self::SEEN != 0
    }

    pub(crate) fn with_seen(self) -> Self {
        Self(self.0 | Self::SEEN)
    }
}

const WHAT_SHIFT: u32 = 56;
const PAYLOAD: u64 = (1 << WHAT_SHIFT) - 1;
const WHAT_CLUSTER: u64 = 1;
const WHAT_SHARED: u64 = 2;
const WHAT_BACKED: u64 = 3;
const WHAT_BACKED_MARKED: u64 = 4;
const LINK_LIFE_SHIFT: u32 = 32;

/// Where the bytes of a slot's page are, if not in an object of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// In the cluster of the pages around it. Of a shared page: with its references.
    Cluster(Life, u32),
    /// In the shared object of this number.
    Shared(u32, Life),
    /// Written back: the token of 56 bits that the store gave; `true` if the worker reads it.
    Backed(u64, bool),
}

impl Link {
    /// The link that a value is, if it is one.
    #[inline]
    pub(crate) fn of(value: u64) -> Option<Self> {
        let field = value >> HOW_BITS;
        if value & 3 != 2 || field >> WHAT_SHIFT == 0 {
            return None;
        }
        let payload = field & PAYLOAD;
        let life = Life((payload >> LINK_LIFE_SHIFT) as u8 & Life::ALL);
        match field >> WHAT_SHIFT {
            WHAT_CLUSTER => Some(Self::Cluster(life, payload as u32)),
            WHAT_SHARED => Some(Self::Shared(payload as u32, life)),
            WHAT_BACKED => Some(Self::Backed(payload, false)),
            WHAT_BACKED_MARKED => Some(Self::Backed(payload, true)),
            _ => None,
        }
    }

    /// The value that stands for it.
    pub(crate) fn value(self) -> u64 {
        let (what, payload) = match self {
            Self::Cluster(life, count) => (WHAT_CLUSTER, life.beside(count)),
            Self::Shared(number, life) => (WHAT_SHARED, life.beside(number)),
            Self::Backed(token, false) => (WHAT_BACKED, token & PAYLOAD),
            Self::Backed(token, true) => (WHAT_BACKED_MARKED, token & PAYLOAD),
        };
        (what << WHAT_SHIFT | payload) << HOW_BITS | 2
    }

    /// The past of the page.
    pub(crate) fn life(self) -> Life {
        match self {
            Self::Cluster(life, _) | Self::Shared(_, life) => life,
            Self::Backed(_, mark) => Life::default().with_age(Life::AGE_MAX).with_mark(mark),
        }
    }

    /// The same link with another past.
    pub(crate) fn with_life(self, life: Life) -> Self {
        match self {
            Self::Cluster(_, count) => Self::Cluster(life, count),
            Self::Shared(number, _) => Self::Shared(number, life),
            Self::Backed(token, _) => Self::Backed(token, life.is_marked()),
        }
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
            let patch = Stored::Patch { checked };
            for stored in pages
                .map(|page| page(checked))
                .into_iter()
                .chain([word, patch])
            {
                assert!(stored.tag() <= alloc_xv::TAG_MAX);
                assert_eq!(Stored::from_tag(stored.tag()), Some(stored));
            }
        }
        assert_eq!(Stored::from_tag(9), None);
    }

    #[test]
    fn lives_and_tags_do_not_touch_each_other() {
        let stored = Stored::Patch { checked: true };
        for bits in 0..=Life::ALL {
            let life = Life(bits);
            let tag = life.on(stored.tag());
            assert!(tag <= alloc_xv::TAG_MAX);
            assert_eq!(Stored::from_tag(tag), Some(stored));
            assert_eq!(Life::of_tag(tag), life);
            assert_eq!(Life::default().on(tag), stored.tag());
            let again = Life::default()
                .with_age(life.age())
                .with_rung(life.rung())
                .with_mark(life.is_marked());
            assert_eq!(again.0, bits & !(Life::SEEN | Life::REFAULT));
        }
    }

    #[test]
    fn links_come_back_and_are_no_words() {
        let life = Life(0x55);
        let links = [
            Link::Cluster(life, 0),
            Link::Cluster(life, u32::MAX),
            Link::Shared(0, Life::default()),
            Link::Shared(u32::MAX, life),
            Link::Backed(0, false),
            Link::Backed((1 << 56) - 1, true),
        ];
        for link in links {
            assert!(link.value() <= alloc_xv::VALUE_MAX);
            assert_eq!(Link::of(link.value()), Some(link));
            assert_eq!(link.with_life(link.life()), link);
        }
        for word in [0, u64::MAX, 0x6161_6161_6161_6161, 1 << 63, 77] {
            assert_eq!(Link::of(word_to_value(word).unwrap()), None);
        }
    }
}
