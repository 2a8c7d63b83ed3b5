//! The checksum of a stored page: XXH3, cut to 32 bits, bound to the page's index.
//!
//! It covers the stored (compressed) bytes, so it is cheap, and is checked before the codec sees
//! them. The index is mixed in so that the bytes of another page do not pass for this one's.

use twox_hash::XxHash3_64;

/// Bytes that a checksum takes behind the stored bytes.
pub(crate) const CHECKSUM_LEN: usize = 4;

/// The checksum of the stored bytes of page `index`.
#[inline]
pub(crate) fn checksum(index: u64, stored: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = XxHash3_64::oneshot(stored) ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> 32) as u32 ^ hash as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::checksum;

    /// The checksum of pages that were written once must not change with the library.
    #[test]
    fn it_is_xxh3() {
        // `XXH3_64bits` of nothing, from the reference implementation.
        assert_eq!(twox_hash::XxHash3_64::oneshot(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn every_bit_and_the_index_count() {
        let mut bytes = [7u8; 600];
        let good = checksum(5, &bytes);
        assert_ne!(checksum(6, &bytes), good);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(5, &bytes), good, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
