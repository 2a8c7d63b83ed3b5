//! The encoder of patches: a page as LZ4 block whose matches may begin in another page, the reference.
//!
//! ```text
//!   both:  [ reference             ][ page                  ]
//!           0                        prefix            ^ at
//!                 ^ home = at - prefix: what stood there in the reference
//! ```
//!
//! A position is compared with three others: its home, what lies as far back as the last match did, and what
//! the table says. The first two find the way back behind a piece that was changed, whatever the table
//! has lost; the table finds what was moved. It knows every position of the reference. The longest of the
//! three is taken.

use super::encode::{
    LAST_LITERALS, MATCH_BEGINS, MATCH_MIN, PRIME, extend_back, half_at, put_last, put_sequence,
    same_bytes, word_at,
};

/// Entries of the table: twice the positions of a page of 4 KiB.
pub(super) const ENTRIES: usize = 1 << ENTRIES_LOG2;
const ENTRIES_LOG2: u32 = 13;
/// After so many misses (as a power of two) every second position is looked at, after as many more
/// every third: more than a changed block has.
const PATIENCE_LOG2: u32 = 7;

/// Encodes `both[prefix..]` into the start of `out`; the length of the stream, or `None` if it does not
/// fit. Both together have up to 65535 bytes.
///
/// # Time complexity
///
/// Linear in both.
pub(super) fn encode(
    both: &[u8],
    prefix: usize,
    out: &mut [u8],
    table: &mut [u16],
) -> Option<usize> {
    let table: &mut [u16; ENTRIES] = table.first_chunk_mut()?;
    let (mut end, mut anchor) = (0, prefix);
    // Where the first match may begin, and the last.
    let begin = prefix.max(1);
    if let Some(last) = both.len().checked_sub(MATCH_BEGINS)
        && begin <= last
    {
        table.fill(0);
        for (at, word) in (0..begin).zip(both.windows(8)) {
            if let Some(word) = word_at(word, 0) {
                table[hash(word)] = at as u16;
            }
        }
        let matched = both.get(..both.len() - LAST_LITERALS)?;
        let search = Search { matched, prefix };
        let mut offset = prefix;
        while let Some(found) = search.next(table, anchor.max(begin), last, offset) {
            // What is the same before both belongs to the match.
            let (at, from) = extend_back(both, found.at, found.from, anchor);
            let len = found.len + (found.at - at);
            offset = at - from;
            end = put_sequence(both, out, end, (anchor, at), (offset, len))?;
            anchor = at + len;
            if let Some(word) = word_at(both, anchor - 2) {
                table[hash(word)] = (anchor - 2) as u16;
            }
        }
    }
    put_last(both, out, end, anchor)
}

struct Match {
    at: usize,
    from: usize,
    len: usize,
}

struct Search<'a> {
    /// Reference and page, without what has to be literals.
    matched: &'a [u8],
    prefix: usize,
}

impl Search<'_> {
    /// The longest match at the next position, from `at` to `last`, that has any.
    fn next(
        &self,
        table: &mut [u16; ENTRIES],
        mut at: usize,
        last: usize,
        offset: usize,
    ) -> Option<Match> {
        let mut misses = 1_usize << PATIENCE_LOG2;
        while at <= last {
            let half = half_at(self.matched, at)?;
            let word = word_at(self.matched, at);
            let mut froms = [at - self.prefix, at.saturating_sub(offset), at];
            if let Some(word) = word {
                let entry = &mut table[hash(word)];
                froms[2] = usize::from(*entry);
                // Positions have 16 bits: see `encode`.
                *entry = at as u16;
            }
            if let Some(best) = self.best(at, half, froms) {
                return Some(best);
            }
            at += misses >> PATIENCE_LOG2;
            misses += 1;
        }
        None
    }

    #[inline]
    fn best(&self, at: usize, half: u32, froms: [usize; 3]) -> Option<Match> {
        let mut best: Option<Match> = None;
        for from in froms {
            if from < at && half_at(self.matched, from) == Some(half) {
                let len = MATCH_MIN + same_bytes(self.matched, at + MATCH_MIN, from + MATCH_MIN);
                if best.as_ref().is_none_or(|best| best.len < len) {
                    best = Some(Match { at, from, len });
                }
            }
        }
        best
    }
}

/// Which entry stands for the first five bytes of a word.
#[inline(always)]
fn hash(word: u64) -> usize {
    ((word << 24).wrapping_mul(PRIME) >> (64 - ENTRIES_LOG2)) as usize % ENTRIES
}
