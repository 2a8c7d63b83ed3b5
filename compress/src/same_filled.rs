//! Pages that are one 8-byte word repeated, which need no stored bytes.

#[cfg(test)]
mod tests;

/// Bytes in the word a same-filled page repeats.
const WORD_LEN: usize = 8;

/// Words compared between two branches: 256 bytes. Long enough for the compiler to keep the inner
/// loop a loop and make vector code of it (64 bytes become eight branches instead), short enough
/// to cost a few nanoseconds on a page that differs early.
const RUN_WORDS: usize = 32;

/// The word this page repeats from its first byte to its last, if it does.
///
/// The word is read as little-endian, so that it is the same number on every machine; [`fill`]
/// writes it back. A page of zeros gives `Some(0)`. Pages whose length is not a multiple of eight
/// bytes, and the empty page, are never same-filled.
///
/// # Time complexity
/// Linear, and constant for most pages that are not same-filled: the first and the last word are
/// compared before anything else, and the scan stops at the first 256 bytes with a difference.
///
/// ```
/// use compress::same_filled;
///
/// let mut page = [0_u8; 4096];
/// assert_eq!(same_filled(&page), Some(0));
/// page[2000] = 1;
/// assert_eq!(same_filled(&page), None);
/// ```
#[must_use]
pub fn same_filled(page: &[u8]) -> Option<u64> {
    let (words, tail) = page.as_chunks::<WORD_LEN>();
    if !tail.is_empty() {
        return None;
    }
    let (first, last) = (words.first()?, words.last()?);
    if first != last {
        return None;
    }
    let word = u64::from_le_bytes(*first);
    let differs = |words: &[[u8; WORD_LEN]]| {
        words
            .iter()
            .fold(0, |bits, other| bits | (u64::from_le_bytes(*other) ^ word))
            != 0
    };
    let (runs, rest) = words.as_chunks::<RUN_WORDS>();
    if runs.iter().any(|run| differs(run)) || differs(rest) {
        return None;
    }
    Some(word)
}

/// Fills the page with `word`, repeated from its first byte: the inverse of [`same_filled`].
///
/// A length that is not a multiple of eight ends in a part of the word.
///
/// # Time complexity
/// Linear.
///
/// ```
/// let mut page = [0_u8; 16];
/// compress::fill(&mut page, 0x0102);
/// assert_eq!(page[..9], [2, 1, 0, 0, 0, 0, 0, 0, 2]);
/// ```
pub fn fill(page: &mut [u8], word: u64) {
    let bytes = word.to_le_bytes();
    let (words, tail) = page.as_chunks_mut::<WORD_LEN>();
    words.fill(bytes);
    for (byte, source) in tail.iter_mut().zip(bytes) {
        *byte = source;
    }
}
