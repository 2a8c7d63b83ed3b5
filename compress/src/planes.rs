//! Words taken apart: the first bytes of all of them, then the second bytes, and so on.
//!
//! ```text
//!  a0 a1 .. a7 | b0 b1 .. b7 | c0 ..    ◀──▶    a0 b0 c0 .. | a1 b1 c1 .. | .. | a7 b7 c7 ..
//! ```
//! Arrays of numbers and of pointers have bytes that hardly change from word to word, and others that look like
//! noise. Side by side they are no text that repeats; apart the first take next to nothing, and the others no more
//! than before.

/// Bytes of a block: eight words of eight bytes, taken apart at once.
const BLOCK: usize = 64;
const WORD: usize = 8;

/// Takes the words of `bytes` apart. What is no whole block at the end stays as it is. Both have the same
/// length, or nothing behind the shorter one's is looked at.
pub(crate) fn apart(bytes: &[u8], planes: &mut [u8]) {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let Some((body, tail)) = planes.split_at_mut_checked(blocks.len() * BLOCK) else {
        return;
    };
    for (at, block) in blocks.iter().enumerate() {
        let mut words = [0; WORD];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<WORD>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        turn(&mut words);
        for (word, plane) in words.iter().zip(body.chunks_exact_mut(blocks.len() * WORD)) {
            if let Some(place) = plane.as_chunks_mut::<WORD>().0.get_mut(at) {
                *place = word.to_le_bytes();
            }
        }
    }
    for (place, byte) in tail.iter_mut().zip(rest) {
        *place = *byte;
    }
}

/// Puts them together again.
pub(crate) fn together(planes: &[u8], bytes: &mut [u8]) {
    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK>();
    let Some((body, tail)) = planes.split_at_checked(blocks.len() * BLOCK) else {
        return;
    };
    let plane_len = (blocks.len() * WORD).max(1);
    for (at, block) in blocks.iter_mut().enumerate() {
        let mut words = [0; WORD];
        for (word, plane) in words.iter_mut().zip(body.chunks_exact(plane_len)) {
            if let Some(bytes) = plane.as_chunks::<WORD>().0.get(at) {
                *word = u64::from_le_bytes(*bytes);
            }
        }
        turn(&mut words);
        for (word, bytes) in words.iter().zip(block.as_chunks_mut::<WORD>().0) {
            *bytes = word.to_le_bytes();
        }
    }
    for (place, byte) in rest.iter_mut().zip(tail) {
        *place = *byte;
    }
}

/// Byte `i` of word `j` becomes byte `j` of word `i`: squares of four bytes, of two, and of one change sides.
fn turn(words: &mut [u64; WORD]) {
    for (half, mask) in [
        (4, 0x0000_0000_FFFF_FFFF_u64),
        (2, 0x0000_FFFF_0000_FFFF),
        (1, 0x00FF_00FF_00FF_00FF),
    ] {
        for low in (0..WORD).filter(|at| at & half == 0) {
            let (one, two) = (words[low], words[low + half]);
            let differing = (one >> (8 * half) ^ two) & mask;
            words[low] = one ^ differing << (8 * half);
            words[low + half] = two ^ differing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;
    use std::vec;

    #[test]
    fn words_are_apart_and_come_together() {
        let mut noise = Noise(0x9E37);
        for len in [0, 1, 7, 63, 64, 65, 128, 200, 4096, 4097, 32768, 65536] {
            let bytes = noise.bytes(len);
            let mut planes = vec![0xAA; len];
            apart(&bytes, &mut planes);
            let words = len / BLOCK * WORD;
            for (at, byte) in bytes.iter().enumerate() {
                let place = match at < words * WORD {
                    true => at % WORD * words + at / WORD,
                    false => at,
                };
                assert_eq!(planes[place], *byte, "{len}, byte {at}");
            }
            let mut back = vec![0x55; len];
            together(&planes, &mut back);
            assert!(back == bytes, "{len}");
        }
    }

    #[test]
    fn other_lengths_are_no_panic() {
        for (len, other) in [(0, 64), (64, 0), (4096, 100), (100, 4096)] {
            apart(&vec![1; len], &mut vec![2; other]);
            together(&vec![1; len], &mut vec![2; other]);
        }
    }
}
