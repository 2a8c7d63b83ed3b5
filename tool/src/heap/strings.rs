//! Text: log lines, documents, source, lists of names.

use super::rng::Rng;
use super::text::Words;

/// Lines of a log, each a string of its own.
pub(super) fn log_lines(rng: &mut Rng, words: &Words) {
    let mut second = rng.below(1 << 24);
    let mut lines = Vec::new();
    for _ in 0..3000 {
        second += rng.below(4);
        lines.push(words.log_line(rng, second));
    }
    std::mem::forget(lines);
}

/// Names, paths and addresses, short strings by the thousand.
pub(super) fn short_strings(rng: &mut Rng, words: &Words) {
    let mut strings = Vec::with_capacity(6000);
    for _ in 0..6000 {
        strings.push(match rng.below(3) {
            0 => words.word(rng).to_owned(),
            1 => words.path(rng),
            _ => words.address(rng),
        });
    }
    // Some are dropped again: their chunks stay as they are, or are taken by the next section.
    let mut nth = 0u32;
    strings.retain(|_| {
        nth += 1;
        !nth.is_multiple_of(7)
    });
    std::mem::forget(strings);
}

/// One long text in one buffer.
pub(super) fn document(rng: &mut Rng, words: &Words) {
    let mut text = String::with_capacity(400_000);
    while text.len() < 390_000 {
        let count = rng.range(6, 22);
        words.sentence(rng, count, &mut text);
        text.push_str(if rng.one_in(6) { ".\n\n" } else { ". " });
    }
    std::mem::forget(text);
}

/// Text of two bytes a character, as many languages hold it.
pub(super) fn wide_text(rng: &mut Rng, words: &Words) {
    let mut texts: Vec<Vec<u16>> = Vec::new();
    for _ in 0..700 {
        let mut text = String::new();
        let count = rng.range(4, 40);
        words.sentence(rng, count, &mut text);
        texts.push(text.encode_utf16().collect());
    }
    std::mem::forget(texts);
}
