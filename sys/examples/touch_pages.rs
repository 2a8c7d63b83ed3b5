//! Touches more memory than there is, and looks whether it comes back as it was.
//!
//! `touch_pages MIB [--wait]`: fills that many MiB with pages that say their own number, reads them
//! back in another order, prints `pages P mismatches M pswpin I pswpout O`, and fails if there was a
//! mismatch. With `--wait` it prints `filled` after filling and goes on when it has read a line.

use std::io::{BufRead, Write};
use std::process::ExitCode;

/// Words of a page of 4096 bytes.
const WORDS: usize = 512;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mib: usize = arguments
        .first()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let waits = arguments.get(1).is_some_and(|text| text == "--wait");
    if mib == 0 {
        eprintln!("usage: touch_pages MIB [--wait]");
        return ExitCode::from(2);
    }
    let before = swapped();
    let pages = mib * 256;
    let mut memory = vec![0u64; pages * WORDS];
    for (number, page) in memory.chunks_exact_mut(WORDS).enumerate() {
        for (at, word) in page.iter_mut().enumerate() {
            *word = word_of(number, at);
        }
    }
    if waits {
        println!("filled");
        let _ = std::io::stdout().flush();
        let mut line = String::new();
        let _ = std::io::stdin().lock().read_line(&mut line);
    }
    // Odd, so prime to the number of pages where that is a power of two; what is left out
    // otherwise is read in a second round, in order.
    let stride = (pages / 3) | 1;
    let (mut mismatches, mut number) = (0, pages / 2);
    for _ in 0..pages {
        mismatches += usize::from(!is_whole(&memory, number));
        number = (number + stride) % pages;
    }
    mismatches += (0..pages)
        .filter(|&number| !is_whole(&memory, number))
        .count();
    let after = swapped();
    println!(
        "pages {pages} mismatches {mismatches} pswpin {} pswpout {}",
        after.0 - before.0,
        after.1 - before.1
    );
    match mismatches {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// A quarter of each page is noise, so that it compresses about as well as programs do; every
/// sixteenth page is of one word.
fn word_of(number: usize, at: usize) -> u64 {
    let number = number as u64;
    let at = at as u64;
    if number.is_multiple_of(16) {
        return number;
    }
    match at % 4 {
        0 => (number << 20 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        _ => number,
    }
}

fn is_whole(memory: &[u64], number: usize) -> bool {
    let page = &memory[number * WORDS..][..WORDS];
    page.iter()
        .enumerate()
        .all(|(at, &word)| word == word_of(number, at))
}

/// Pages swapped in and out since the system was started.
fn swapped() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let field = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let value = lines.find(|&(name, _)| name == key).map(|(_, value)| value);
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    (field("pswpin"), field("pswpout"))
}
