//! [`Token`]: where a record lies.

use core::fmt;

/// Bytes of a unit: records begin at units and take whole ones.
pub const UNIT_LEN: usize = 16;
/// Units of a segment.
pub const SEGMENT_UNITS: u32 = 1 << 14;
/// Bytes of a segment: 256 KiB.
pub const SEGMENT_LEN: u64 = SEGMENT_UNITS as u64 * UNIT_LEN as u64;
/// Segments that a token can name.
pub const SEGMENTS_MAX: u32 = 1 << 28;
/// Bytes of the longest record.
pub const RECORD_MAX: usize = 65_600;

/// Where a record lies: 56 bits.
///
/// ```text
///   55          28 27        14 13       0
///  [   segment    ][ first unit ][ units-1 ]
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// Bits of a token.
    pub const BITS: u32 = 56;

    /// `units` units from `first_unit` on; none if they do not lie in one segment.
    #[must_use]
    pub const fn new(segment: u32, first_unit: u32, units: u32) -> Option<Self> {
        if segment >= SEGMENTS_MAX || units == 0 || units > SEGMENT_UNITS {
            return None;
        }
        if first_unit > SEGMENT_UNITS - units {
            return None;
        }
        let place = ((first_unit as u64) << 14) | (units as u64 - 1);
        Some(Self(((segment as u64) << 28) | place))
    }

    /// A token out of [`bits`](Self::bits); none if no token has them.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits >> Self::BITS != 0 {
            return None;
        }
        let token = Self(bits);
        Self::new(token.segment(), token.first_unit(), token.units())
    }

    /// The lower 56 bits of a number; the others are zero.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The segment's number.
    #[must_use]
    pub const fn segment(self) -> u32 {
        (self.0 >> 28) as u32
    }

    /// The unit in the segment that the record begins at.
    #[must_use]
    pub const fn first_unit(self) -> u32 {
        (self.0 >> 14) as u32 & (SEGMENT_UNITS - 1)
    }

    /// Units that the record takes, tag and padding included: what counts as live in its segment.
    #[must_use]
    pub const fn units(self) -> u32 {
        (self.0 as u32 & (SEGMENT_UNITS - 1)) + 1
    }

    /// Bytes that the record takes in the store.
    #[must_use]
    pub const fn stored_len(self) -> usize {
        self.units() as usize * UNIT_LEN
    }

    /// The record's first byte in the store.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.segment() as u64 * SEGMENT_LEN + self.first_unit() as u64 * UNIT_LEN as u64
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (segment, first, units) = (self.segment(), self.first_unit(), self.units());
        write!(f, "Token({segment}:{first}+{units})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_parts_agree_at_the_edges() {
        for (segment, first, units) in [
            (0, 0, 1),
            (0, SEGMENT_UNITS - 1, 1),
            (SEGMENTS_MAX - 1, 0, SEGMENT_UNITS),
            (77, 1234, 4102),
        ] {
            let token = Token::new(segment, first, units).unwrap();
            assert_eq!(
                (token.segment(), token.first_unit(), token.units()),
                (segment, first, units)
            );
            assert_eq!(Token::from_bits(token.bits()), Some(token));
            assert!(token.bits() < 1 << 56);
        }
    }

    #[test]
    fn what_lies_in_no_segment_is_no_token() {
        assert_eq!(Token::new(SEGMENTS_MAX, 0, 1), None);
        assert_eq!(Token::new(0, 0, 0), None);
        assert_eq!(Token::new(0, SEGMENT_UNITS - 1, 2), None);
        assert_eq!(Token::new(0, u32::MAX, 1), None);
        assert_eq!(Token::from_bits(1 << 56), None);
        // The last unit of a segment, and one more.
        assert_eq!(Token::from_bits(0x3fff << 14 | 1), None);
    }
}
