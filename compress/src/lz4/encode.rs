//! The encoder for pages whose positions have 16 bits: LZ4 blocks, in safe code.
//!
//! A hash of the next five bytes says where something like them was seen last. Where there is nothing for
//! a while, positions are passed over, more and more of them. That is the search of the reference
//! implementation at its fastest; streams are as long as those of `lz4_flex`, which takes a fifth
//! more instructions for them without SSE, as in a kernel.

/// Entries of the table.
pub(super) const ENTRIES: usize = 1 << ENTRIES_LOG2;
const ENTRIES_LOG2: u32 = 12;
/// By the format: the last match begins 12 bytes before the end at least, and the last 5 bytes are
/// literals.
pub(super) const MATCH_BEGINS: usize = 12;
pub(super) const LAST_LITERALS: usize = 5;
pub(super) const MATCH_MIN: usize = 4;
/// A length in a token that is continued behind it.
const CONTINUED: usize = 15;
/// After so many misses (as a power of two) every second position is looked at, after as many more
/// every third.
const PATIENCE_LOG2: u32 = 5;
/// Literals that are copied in one piece, also where there are fewer.
const LITERAL_ROOM: usize = 16;
/// A token, these, and an offset.
const SEQUENCE_ROOM: usize = 1 + LITERAL_ROOM + 2;
/// Prime, for hashes of five bytes: the reference implementation's.
pub(super) const PRIME: u64 = 889_523_592_379;

/// Encodes `page`, of up to 65535 bytes, into the start of `out`; the length of the stream, or `None` if
/// it does not fit.
///
/// # Time complexity
///
/// Linear in the page.
pub(super) fn encode(page: &[u8], out: &mut [u8], table: &mut [u16; ENTRIES]) -> Option<usize> {
    let (mut end, mut anchor) = (0, 0);
    if let (Some(last_begin), Some(first)) =
        (page.len().checked_sub(MATCH_BEGINS + 1), word_at(page, 0))
    {
        table.fill(0);
        table[hash(first)] = 0;
        let matched = page.get(..page.len() - LAST_LITERALS)?;
        let mut begin = 1;
        while let Some((at, from)) = search(page, table, begin, last_begin + 1) {
            // What is the same before both belongs to the match.
            let (at, from) = extend_back(page, at, from, anchor);
            let len = MATCH_MIN + same_bytes(matched, at + MATCH_MIN, from + MATCH_MIN);
            end = put_sequence(page, out, end, (anchor, at), (at - from, len))?;
            anchor = at + len;
            begin = anchor;
            if let Some(word) = word_at(page, anchor - 2) {
                table[hash(word)] = (anchor - 2) as u16;
            }
        }
    }
    put_last(page, out, end, anchor)
}

/// The next position from `begin` to `last` at which four bytes stand that were seen before, and
/// where.
#[inline(always)]
fn search(
    page: &[u8],
    table: &mut [u16; ENTRIES],
    begin: usize,
    last: usize,
) -> Option<(usize, usize)> {
    let (mut at, mut misses) = (begin, 1_usize << PATIENCE_LOG2);
    while at <= last {
        let word = word_at(page, at)?;
        let entry = &mut table[hash(word)];
        let from = usize::from(*entry);
        // Positions have 16 bits: see `encode`.
        *entry = at as u16;
        if half_at(page, from) == Some(word as u32) {
            return Some((at, from));
        }
        at += misses >> PATIENCE_LOG2;
        misses += 1;
    }
    None
}

#[inline(always)]
pub(super) fn extend_back(
    page: &[u8],
    mut at: usize,
    mut from: usize,
    anchor: usize,
) -> (usize, usize) {
    while at > anchor && from > 0 && page.get(at - 1) == page.get(from - 1) {
        at -= 1;
        from -= 1;
    }
    (at, from)
}

/// How many bytes are the same from two positions on.
#[inline(always)]
pub(super) fn same_bytes(bytes: &[u8], at: usize, from: usize) -> usize {
    let mut same = 0;
    while let (Some(one), Some(other)) = (word_at(bytes, at + same), word_at(bytes, from + same)) {
        let difference = one ^ other;
        if difference != 0 {
            return same + (difference.trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    while let (Some(one), Some(other)) = (bytes.get(at + same), bytes.get(from + same)) {
        if one != other {
            break;
        }
        same += 1;
    }
    same
}

/// Writes a sequence: the literals between two positions, and a match.
#[inline(always)]
pub(super) fn put_sequence(
    page: &[u8],
    out: &mut [u8],
    mut end: usize,
    (anchor, at): (usize, usize),
    (offset, len): (usize, usize),
) -> Option<usize> {
    let (literals, more) = (at - anchor, len - MATCH_MIN);
    let offset = (offset as u16).to_le_bytes();
    if literals < CONTINUED
        && let Some(from) = page
            .get(anchor..)
            .and_then(|rest| rest.first_chunk::<LITERAL_ROOM>())
        && let Some(room) = out
            .get_mut(end..)
            .and_then(|rest| rest.first_chunk_mut::<SEQUENCE_ROOM>())
    {
        room[0] = (literals << 4 | more.min(CONTINUED)) as u8;
        if let Some(to) = room[1..].first_chunk_mut::<LITERAL_ROOM>() {
            *to = *from;
        }
        room[1 + literals] = offset[0];
        room[2 + literals] = offset[1];
        end += literals + 3;
    } else {
        end = put_token(out, end, literals, more)?;
        put(out, &mut end, page.get(anchor..at)?)?;
        put(out, &mut end, &offset)?;
    }
    if more >= CONTINUED {
        put_length(out, &mut end, more)?;
    }
    Some(end)
}

/// Writes the literals behind the last match, which end the block; returns its length.
pub(super) fn put_last(
    page: &[u8],
    out: &mut [u8],
    mut end: usize,
    anchor: usize,
) -> Option<usize> {
    let literals = page.get(anchor..)?;
    end = put_token(out, end, literals.len(), 0)?;
    put(out, &mut end, literals)?;
    Some(end)
}

/// Writes a token, and what is left of the number of literals.
#[inline]
pub(super) fn put_token(
    out: &mut [u8],
    mut end: usize,
    literals: usize,
    more: usize,
) -> Option<usize> {
    let token = literals.min(CONTINUED) << 4 | more.min(CONTINUED);
    put(out, &mut end, &[token as u8])?;
    if literals >= CONTINUED {
        put_length(out, &mut end, literals)?;
    }
    Some(end)
}

/// Writes what is left of a length.
#[inline]
fn put_length(out: &mut [u8], end: &mut usize, length: usize) -> Option<()> {
    let mut left = length - CONTINUED;
    while left >= 255 {
        put(out, end, &[u8::MAX])?;
        left -= 255;
    }
    put(out, end, &[left as u8])
}

#[inline]
pub(super) fn put(out: &mut [u8], end: &mut usize, bytes: &[u8]) -> Option<()> {
    out.get_mut(*end..)?
        .get_mut(..bytes.len())?
        .copy_from_slice(bytes);
    *end += bytes.len();
    Some(())
}

/// Which entry stands for the first five bytes of a word.
#[inline(always)]
fn hash(word: u64) -> usize {
    ((word << 24).wrapping_mul(PRIME) >> (64 - ENTRIES_LOG2)) as usize % ENTRIES
}

#[inline(always)]
pub(super) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at + 8)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}

#[inline(always)]
pub(super) fn half_at(bytes: &[u8], at: usize) -> Option<u32> {
    let half = bytes.get(at..at + 4)?.first_chunk()?;
    Some(u32::from_le_bytes(*half))
}
