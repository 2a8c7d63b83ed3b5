//! The dense encoder: the shortest LZ4 block that its matches allow.
//!
//! A match costs the same wherever it begins: two bytes of offset. So of all matches at a position only the
//! longest counts, any shorter one being a part of it, and the block is made in three passes:
//!
//! 1. **Chains**: each position is linked to the last one before it at which the same four bytes stand.
//! 2. **Longest matches**, front to back. The match at the position before, less a byte, is one already. What
//!    is longer has to have the next byte too, so the four bytes that end with that one are looked up: they
//!    are much rarer than the first four.
//! 3. **Costs**, back to front: the fewest bytes for all that follows a position is what a literal and the rest
//!    behind it take, or a match and the rest behind that.
//!
//! That the longest match with the same chain is found through its rarest part is an idea of the reference
//! implementation's HC mode ("chain swap"); the second and the third pass are the textbook's dynamic
//! programming.

use super::encode::{
    LAST_LITERALS, MATCH_BEGINS, MATCH_MIN, half_at, put_last, put_sequence, same_bytes,
};

/// The longest page, or unit, in bytes: positions have 16 bits.
pub(super) const LEN_MAX: usize = 1 << 16;
const HEADS_LOG2: u32 = 14;
const HEADS: usize = 1 << HEADS_LOG2;
/// All tables in one piece.
pub(super) const WORDS: usize = HEADS + 4 * LEN_MAX;
/// Places in a chain that are looked at for one position.
const TRIES: u32 = 32;
/// And for all positions of a page together, on average: a page of two different bytes would take ten times the
/// time of others.
const TRIES_MEAN: u32 = 12;
/// A match this long is not looked at for a longer one.
const ENOUGH: usize = 64;
/// Where a length begins to take bytes of its own, behind the token.
const CONTINUED: usize = 15;
/// Token and offset.
const SEQUENCE: usize = 3;

/// The tables, as they lie in a workspace.
struct Tables<'a> {
    heads: &'a mut [u16; HEADS],
    /// The position, and one, of the same four bytes before; 0: none. In the third pass, the literals that
    /// follow until the next match.
    chain: &'a mut [u16; LEN_MAX],
    /// The longest match; in the third pass, the one that is taken. 0: none.
    lens: &'a mut [u16; LEN_MAX],
    offsets: &'a mut [u16; LEN_MAX],
    /// The bytes for all that follows. A page that takes more than 65535 does not get any smaller.
    costs: &'a mut [u16; LEN_MAX],
}

impl<'a> Tables<'a> {
    fn new(words: &'a mut [u16; WORDS]) -> Option<Self> {
        let (heads, rest) = words.split_first_chunk_mut()?;
        let (chain, rest) = rest.split_first_chunk_mut()?;
        let (lens, rest) = rest.split_first_chunk_mut()?;
        let (offsets, rest) = rest.split_first_chunk_mut()?;
        let costs = rest.first_chunk_mut()?;
        Some(Self {
            heads,
            chain,
            lens,
            offsets,
            costs,
        })
    }
}

/// Encodes `both[prefix..]` into the start of `out`, with matches that may begin before it; the length of
/// the stream, or `None` if it does not fit. Both together have up to [`LEN_MAX`] bytes.
///
/// # Time complexity
///
/// Linear in both, with a large constant: [`TRIES_MEAN`] places are looked at for each position, and up to
/// [`ENOUGH`] bytes at each.
pub(super) fn encode(
    both: &[u8],
    prefix: usize,
    out: &mut [u8],
    words: &mut [u16; WORDS],
) -> Option<usize> {
    let (mut end, mut anchor) = (0, prefix);
    let begin = prefix.max(1);
    if let Some(last) = both.len().checked_sub(MATCH_BEGINS)
        && begin <= last
    {
        let mut tables = Tables::new(words)?;
        let matched = both.get(..both.len() - LAST_LITERALS)?;
        link(matched, &mut tables);
        find(matched, prefix, last, &mut tables);
        choose(both.len(), begin, last, &mut tables);
        let mut at = begin;
        while at <= last {
            let (len, offset) = (tables.lens[at], tables.offsets[at]);
            if len == 0 {
                // Its literals: those in front of the next match.
                at += usize::from(tables.chain[at]).max(1);
                continue;
            }
            let (len, offset) = (usize::from(len), usize::from(offset));
            end = put_sequence(both, out, end, (anchor, at), (offset, len))?;
            anchor = at + len;
            at = anchor;
        }
    }
    put_last(both, out, end, anchor)
}

/// The first pass.
fn link(matched: &[u8], tables: &mut Tables) {
    tables.heads.fill(0);
    for (at, half) in matched.windows(MATCH_MIN).enumerate() {
        let Some(half) = half.first_chunk() else {
            return;
        };
        let head = &mut tables.heads[hash(u32::from_le_bytes(*half))];
        tables.chain[at % LEN_MAX] = *head;
        // There are at least LAST_LITERALS + 3 positions behind it.
        *head = (at + 1) as u16;
    }
}

/// The second pass.
fn find(matched: &[u8], prefix: usize, last: usize, tables: &mut Tables) {
    let (mut len, mut offset) = (0_usize, 0);
    let mut left = TRIES;
    for at in prefix.max(1)..=last {
        len = len.saturating_sub(1);
        if len < MATCH_MIN {
            len = 0;
        }
        // What stood there in the reference, which may be far down in the chain.
        if len < ENOUGH && prefix > 0 {
            let home = same_bytes(matched, at, at - prefix);
            if home >= MATCH_MIN && home > len {
                (len, offset) = (home, prefix);
            }
        }
        if len < ENOUGH {
            let tries = left.min(TRIES);
            let (longest, unused) = longer(matched, at, (len, offset), tables.chain, tries);
            (len, offset) = longest;
            left -= tries - unused;
        }
        left += TRIES_MEAN;
        // Both are under LEN_MAX: a match begins behind the first position.
        tables.lens[at] = len as u16;
        tables.offsets[at] = offset as u16;
    }
}

/// The longest match at a position, if it is longer than one of `len` bytes; and how many of `tries` were not
/// needed.
#[inline]
fn longer(
    matched: &[u8],
    at: usize,
    (mut len, mut offset): (usize, usize),
    chain: &[u16; LEN_MAX],
    mut tries: u32,
) -> ((usize, usize), u32) {
    let most = matched.len() - at;
    if len >= most {
        return ((len, offset), tries);
    }
    // The four bytes that are looked up, as a distance from the position: the last of them is the first one
    // behind the match.
    let mut skip = (len + 1).saturating_sub(MATCH_MIN);
    let Some(mut wanted) = half_at(matched, at + skip) else {
        return ((len, offset), tries);
    };
    let mut link = usize::from(chain[(at + skip) % LEN_MAX]);
    while link > skip && tries > 0 {
        tries -= 1;
        // A link is a position and one, and before `at + skip`.
        let from = link - 1 - skip;
        if half_at(matched, link - 1) == Some(wanted) {
            let found = same_bytes(matched, at, from);
            if found > len {
                (len, offset) = (found, at - from);
                if len >= most || len >= ENOUGH {
                    break;
                }
                skip = len + 1 - MATCH_MIN;
                let Some(half) = half_at(matched, at + skip) else {
                    break;
                };
                wanted = half;
                link = usize::from(chain[(at + skip) % LEN_MAX]);
                // What is nearer has been looked at.
                while link > from + skip && tries > 0 {
                    tries -= 1;
                    link = usize::from(chain[link - 1]);
                }
                continue;
            }
        }
        link = usize::from(chain[link - 1]);
    }
    ((len, offset), tries)
}

/// The third pass.
fn choose(both_len: usize, begin: usize, last: usize, tables: &mut Tables) {
    // Behind the last match there are literals only.
    for at in (last + 1..both_len).rev() {
        let literals = both_len - at;
        tables.chain[at] = literals as u16;
        tables.costs[at] = (literals + more_bytes(literals)) as u16;
    }
    for at in (begin..=last).rev() {
        let literals = usize::from(tables.chain[at + 1]) + 1;
        let more = more_bytes(literals) - more_bytes(literals - 1);
        let mut cost = usize::from(tables.costs[at + 1]) + 1 + more;
        let longest = usize::from(tables.lens[at]);
        let mut taken = 0;
        if longest >= MATCH_MIN {
            // A shorter one is no better, but where it takes a byte less, and where another match can
            // follow it only if it ends before the last place for one.
            let before_last = longest.min((last - at).max(MATCH_MIN));
            for len in [longest, without_more(longest), before_last] {
                let more = more_bytes(len - MATCH_MIN);
                let with = usize::from(tables.costs[at + len]) + SEQUENCE + more;
                if with < cost {
                    (cost, taken) = (with, len);
                }
            }
        }
        tables.lens[at] = taken as u16;
        tables.chain[at] = if taken == 0 { literals as u16 } else { 0 };
        tables.costs[at] = cost.min(usize::from(u16::MAX)) as u16;
    }
}

/// Bytes behind the token for a length.
#[inline(always)]
fn more_bytes(length: usize) -> usize {
    if length < CONTINUED {
        0
    } else {
        1 + (length - CONTINUED) / 255
    }
}

/// The longest match that takes a byte less than one of `len` bytes, behind the token.
#[inline(always)]
fn without_more(len: usize) -> usize {
    match more_bytes(len - MATCH_MIN) {
        0 => len,
        more => MATCH_MIN + CONTINUED - 1 + (more - 1) * 255,
    }
}

#[inline(always)]
fn hash(half: u32) -> usize {
    (half.wrapping_mul(2_654_435_761) >> (32 - HEADS_LOG2)) as usize % HEADS
}
