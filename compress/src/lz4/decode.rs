//! The decoder: LZ4 blocks into pages, in safe code.
//!
//! ```text
//!  sequence:  token  [length+]  literals  offset   [length+]
//!             1 byte  0 or more  0 or more  2 bytes   0 or more
//!  token:     literals << 4 | (match - 4);  15: bytes follow that are added, up to one under 255
//! ```
//!
//! Most sequences have both lengths in their token. These are copied in whole words, past their end,
//! where stream and page have room for it: what is written too much is written again by the next
//! sequence, and a stream that ends before the page does is an error. Everything else is copied exactly.
//!
//! In `lz4_flex`'s decoder a sequence costs twice the instructions without SSE, as in a kernel, and a fifth
//! less time with it: see the module above for who decodes where.

/// Why a stream is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It ends where a token, an offset or a length has to be.
    Ends,
    /// Literals reach past its end.
    Literals,
    /// A match with itself.
    OffsetZero,
    /// A match that starts before the page.
    Offset,
    /// Something that only `lz4_flex` knows.
    Other,
    /// More than a page.
    Long {
        /// Bytes that it has at least.
        got_at_least: usize,
    },
}

/// The shortest match.
const MATCH_MIN: usize = 4;
/// A length in a token that is continued behind it.
const CONTINUED: usize = 15;
/// A token, 14 literals and an offset, in words of 16 bytes.
const STREAM_ROOM: usize = 18;
/// Literals are copied in 16 bytes, matches in three words.
const LITERAL_ROOM: usize = 16;
const MATCH_ROOM: usize = 24;
/// 14 literals, and a match behind them.
const PAGE_ROOM: usize = CONTINUED - 1 + MATCH_ROOM;
const WORD: usize = 8;
/// Longer matches that do not repeat themselves are copied by a call.
const WORDS_MAX: usize = 64;

/// Decodes `stream` into the start of `page`; returns how many bytes came out.
///
/// # Time complexity
///
/// Linear in stream and page.
pub(super) fn decode(stream: &[u8], page: &mut [u8]) -> Result<usize, Fault> {
    decode_behind(&[], stream, page)
}

/// The same with matches that may begin in `history`, which lies before the page.
///
/// # Time complexity
///
/// Linear in stream and page.
#[inline(always)]
pub(super) fn decode_behind(
    history: &[u8],
    stream: &[u8],
    page: &mut [u8],
) -> Result<usize, Fault> {
    let (mut at, mut done) = (0, 0);
    loop {
        if let Some((used, made)) = short_sequence(history, stream, at, page, done)? {
            (at, done) = (used, made);
            continue;
        }
        let token = usize::from(*stream.get(at).ok_or(Fault::Ends)?);
        at += 1;
        let literals = length(token >> 4, stream, &mut at)?;
        if literals > 0 {
            let from = stream
                .get(at..)
                .and_then(|rest| rest.get(..literals))
                .ok_or(Fault::Literals)?;
            let to = page
                .get_mut(done..)
                .and_then(|rest| rest.get_mut(..literals));
            let got_at_least = done.saturating_add(literals);
            to.ok_or(Fault::Long { got_at_least })?
                .copy_from_slice(from);
            at += literals;
            done += literals;
        }
        if at >= stream.len() {
            return Ok(done);
        }
        let offset = stream.get(at..).and_then(|rest| rest.first_chunk::<2>());
        let offset = usize::from(u16::from_le_bytes(*offset.ok_or(Fault::Ends)?));
        at += 2;
        let len = length(token & CONTINUED, stream, &mut at)?.saturating_add(MATCH_MIN);
        let end = done.saturating_add(len);
        if end > page.len() {
            return Err(Fault::Long { got_at_least: end });
        }
        if offset > done {
            copy_history(history, page, done, offset, len)?;
        } else {
            copy_match(page, done, offset, len)?;
        }
        done = end;
    }
}

/// A sequence with both lengths in its token, where there is room for whole words: where the next one
/// begins in the stream, and in the page.
#[inline(always)]
fn short_sequence(
    history: &[u8],
    stream: &[u8],
    at: usize,
    page: &mut [u8],
    done: usize,
) -> Result<Option<(usize, usize)>, Fault> {
    let Some(room) = stream
        .get(at..)
        .and_then(|rest| rest.first_chunk::<STREAM_ROOM>())
    else {
        return Ok(None);
    };
    let (literals, len) = (usize::from(room[0] >> 4), usize::from(room[0]) & CONTINUED);
    if literals == CONTINUED || len == CONTINUED {
        return Ok(None);
    }
    let Some(target) = page
        .get_mut(done..)
        .and_then(|rest| rest.first_chunk_mut::<PAGE_ROOM>())
    else {
        return Ok(None);
    };
    if let (Some(to), Some(from)) = (
        target.first_chunk_mut::<LITERAL_ROOM>(),
        room[1..].first_chunk::<LITERAL_ROOM>(),
    ) {
        *to = *from;
    }
    let offset = usize::from(u16::from_le_bytes([room[1 + literals], room[2 + literals]]));
    let (at, done, len) = (at + literals + 3, done + literals, len + MATCH_MIN);
    let Some(from) = done.checked_sub(offset) else {
        copy_history(history, page, done, offset, len)?;
        return Ok(Some((at, done + len)));
    };
    let (before, after) = page.split_at_mut(done);
    let Some(to) = after.first_chunk_mut::<MATCH_ROOM>() else {
        return Err(Fault::Other);
    };
    match before
        .get(from..)
        .and_then(|rest| rest.first_chunk::<MATCH_ROOM>())
    {
        Some(whole) => *to = *whole,
        None if offset >= WORD => copy_near(page, from, offset),
        None => copy_match(page, done, offset, len)?,
    }
    Ok(Some((at, done + len)))
}

/// A length whose first part is in a token.
#[inline]
fn length(first: usize, stream: &[u8], at: &mut usize) -> Result<usize, Fault> {
    let mut length = first;
    if first == CONTINUED {
        loop {
            let more = *stream.get(*at).ok_or(Fault::Ends)?;
            *at += 1;
            // A stream has at most 2^29 / 255 bytes: see PAGE_LEN_MAX.
            length += usize::from(more);
            if more != u8::MAX {
                break;
            }
        }
    }
    Ok(length)
}

/// Copies a match. The page has room for it; where it has room for whole words, what is behind it may be
/// written too.
fn copy_match(page: &mut [u8], done: usize, offset: usize, len: usize) -> Result<(), Fault> {
    if offset == 0 {
        return Err(Fault::OffsetZero);
    }
    let from = done.checked_sub(offset).ok_or(Fault::Offset)?;
    let words = len.next_multiple_of(WORD);
    if let Some(both) = page.get_mut(from..done + words) {
        if offset >= WORD && (len <= WORDS_MAX || offset < len) {
            copy_words(both, offset, words);
            return Ok(());
        }
        if let Some(word) = repeated(both, offset) {
            let (_, target) = both.split_at_mut(offset);
            for room in target.as_chunks_mut::<WORD>().0 {
                *room = word.to_ne_bytes();
            }
            return Ok(());
        }
    }
    copy_doubling(page, from, done, len);
    Ok(())
}

/// Copies a match that begins in the history, and may go on in the page. The page has room for it.
#[cold]
fn copy_history(
    history: &[u8],
    page: &mut [u8],
    done: usize,
    offset: usize,
    len: usize,
) -> Result<(), Fault> {
    let back = offset - done;
    let from = history.len().checked_sub(back).ok_or(Fault::Offset)?;
    let first = len.min(back);
    if let (Some(from), Some(to)) = (
        history.get(from..from + first),
        page.get_mut(done..done + first),
    ) {
        to.copy_from_slice(from);
    }
    if first < len {
        copy_match(page, done + first, offset, len - first)?;
    }
    Ok(())
}

/// A word of the `offset` bytes at the start, repeated, where that comes out even.
#[inline]
fn repeated(bytes: &[u8], offset: usize) -> Option<u64> {
    match offset {
        1 => Some(u64::from_ne_bytes([*bytes.first()?; WORD])),
        2 => Some(u64::from(u16::from_ne_bytes(*bytes.first_chunk()?)) * 0x0001_0001_0001_0001),
        4 => Some(u64::from(u32::from_ne_bytes(*bytes.first_chunk()?)) * 0x0000_0001_0000_0001),
        _ => None,
    }
}

/// Copies three words, as `copy_words` does.
#[inline(always)]
fn copy_near(page: &mut [u8], from: usize, offset: usize) {
    if let Some(both) = page.get_mut(from..from + offset + MATCH_ROOM) {
        for word in [0, WORD, 2 * WORD] {
            copy_word(both, offset, word);
        }
    }
}

/// Copies words, each of which begins where its source ends, or behind that. The first source is at the
/// start of `both`.
#[inline]
fn copy_words(both: &mut [u8], offset: usize, words: usize) {
    let mut word = 0;
    while word < words {
        copy_word(both, offset, word);
        word += WORD;
    }
}

#[inline(always)]
fn copy_word(both: &mut [u8], offset: usize, word: usize) {
    let source = both.get(word..).and_then(|rest| rest.first_chunk());
    let Some(bytes) = source.map(|bytes| u64::from_ne_bytes(*bytes)) else {
        return;
    };
    if let Some(to) = both
        .get_mut(word + offset..)
        .and_then(|rest| rest.first_chunk_mut())
    {
        *to = bytes.to_ne_bytes();
    }
}

/// Copies exactly `len` bytes; what is copied at once doubles as long as it repeats itself.
fn copy_doubling(page: &mut [u8], from: usize, done: usize, len: usize) {
    let mut copied = 0;
    while copied < len {
        let part = (done - from + copied).min(len - copied);
        page.copy_within(from..from + part, done + copied);
        copied += part;
    }
}
