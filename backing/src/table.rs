//! [`Table`]: which records lie in a segment.
//!
//! ```text
//!  entry of a record   [ length, 1..=65,600 ][ key, as a difference to the one before ]
//!  entry of a gap      [ 0 ][ units ]
//! ```
//!
//! Numbers are LEB128, differences zigzag: 3 to 5 bytes a record where keys are near each other.
//! Entries follow the segment's units from the first on, so places need not be said. The table is
//! sealed behind the last record when the segment is full. Records are readable without it; it
//! only tells the cleaner what there is.

use crate::seal::sealed_units;
use crate::token::{RECORD_MAX, SEGMENT_UNITS};

/// A record of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: u64,
    pub(crate) first: u32,
    pub(crate) len: usize,
}

impl Entry {
    pub(crate) const fn units(&self) -> u32 {
        sealed_units(self.len)
    }

    pub(crate) const fn end(&self) -> u32 {
        self.first + self.units()
    }
}

/// The entries of a segment while it is filled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    bytes: Vec<u8>,
    key_before: u64,
}

/// Bytes of the longest entry: three of a length, ten of a difference.
pub(crate) const ENTRY_MAX: usize = 13;

impl Table {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Units of the table, sealed, with one more entry of any kind.
    pub(crate) fn units_with_one_more(&self) -> u32 {
        sealed_units(self.bytes.len() + ENTRY_MAX)
    }

    pub(crate) fn push(&mut self, key: u64, len: usize) {
        let difference = key.wrapping_sub(self.key_before).cast_signed();
        put(&mut self.bytes, len as u64);
        put(
            &mut self.bytes,
            ((difference << 1) ^ (difference >> 63)).cast_unsigned(),
        );
        self.key_before = key;
    }

    pub(crate) fn push_gap(&mut self, units: u32) {
        put(&mut self.bytes, 0);
        put(&mut self.bytes, u64::from(units));
    }

    /// How it is now, to come back to.
    pub(crate) fn mark(&self) -> (usize, u64) {
        (self.bytes.len(), self.key_before)
    }

    pub(crate) fn reset_to(&mut self, (len, key): (usize, u64)) {
        self.bytes.truncate(len);
        self.key_before = key;
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn get(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Reads a table. None if it is none: it was authentic, but is not trusted for that.
pub(crate) fn decode(mut bytes: &[u8], entries: &mut Vec<Entry>) -> Option<()> {
    entries.clear();
    let (mut first, mut key) = (0u32, 0u64);
    while !bytes.is_empty() {
        let len = usize::try_from(get(&mut bytes)?).ok()?;
        let number = get(&mut bytes)?;
        let units = if len == 0 {
            u32::try_from(number).ok()?
        } else if len <= RECORD_MAX {
            let difference = (number >> 1) ^ (number & 1).wrapping_neg();
            key = key.wrapping_add(difference);
            entries.push(Entry { key, first, len });
            sealed_units(len)
        } else {
            return None;
        };
        first = first
            .checked_add(units)
            .filter(|&end| end <= SEGMENT_UNITS)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_comes_back(pieces in prop::collection::vec(
            (any::<u64>(), prop_oneof![4 => 1usize..200, 1 => Just(0usize)]), 0..60,
        )) {
            let (mut table, mut expected, mut first) = (Table::default(), Vec::new(), 0);
            for (key, len) in pieces {
                let room = table.units_with_one_more();
                if len == 0 {
                    table.push_gap((key % 9) as u32);
                    first += (key % 9) as u32;
                } else {
                    table.push(key, len);
                    expected.push(Entry { key, first, len });
                    first += sealed_units(len);
                }
                prop_assert!(sealed_units(table.bytes().len()) <= room);
            }
            let mut entries = Vec::new();
            prop_assert_eq!(decode(table.bytes(), &mut entries), Some(()));
            prop_assert_eq!(entries, expected);
        }

        #[test]
        fn any_bytes_give_entries_inside_the_segment(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut entries = Vec::new();
            if decode(&bytes, &mut entries).is_some() {
                for entry in entries {
                    prop_assert!(entry.end() <= SEGMENT_UNITS);
                }
            }
        }
    }
}
