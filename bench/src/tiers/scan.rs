//! Is there any plain text of the pages in a file?

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::store::Page;
use crate::rng::mix;

/// Bytes of a run.
const RUN: usize = 16;
/// A run of fewer different bytes (blanks, dashes, zeroes) may be anywhere.
const DIFFERENT_MIN: u32 = 8;
/// Runs that are looked for, at most: 64 MiB of them.
const RUNS_MAX: usize = 4 << 20;
/// Bits of the filter in front of the search.
const FILTER_BITS: u64 = 1 << 28;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Runs of 16 bytes of text out of pages, to be looked for.
pub struct TextRuns {
    sorted: Vec<u128>,
    filter: Vec<u64>,
}

impl TextRuns {
    /// Runs of printable characters, at least eight of them different: at every place of every page,
    /// or, if those are more than four million, at every second, third, ... place.
    pub fn of(pages: &[Page]) -> Self {
        let texts = || {
            let windows = pages.iter().flat_map(|page| page.windows(RUN));
            windows.filter(|window| is_text(window))
        };
        let every = texts().count().div_ceil(RUNS_MAX).max(1);
        let mut sorted: Vec<u128> = texts().step_by(every).map(number).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut filter = vec![0; (FILTER_BITS / 64) as usize];
        for &run in &sorted {
            let (word, bit) = place(run);
            filter[word] |= bit;
        }
        Self { sorted, filter }
    }

    /// How many different runs there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none: the pages have no text.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Places of the first `bytes` of the file, every one of them looked at, where one of the runs begins.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn count_in(&self, file: &Path, bytes: u64) -> io::Result<u64> {
        let mut file = File::open(file)?.take(bytes);
        let mut buffer = vec![0; CHUNK];
        let (mut kept, mut found) = (0, 0);
        loop {
            let read = file.read(&mut buffer[kept..])?;
            if read == 0 {
                return Ok(found);
            }
            let len = kept + read;
            found += buffer[..len]
                .windows(RUN)
                .filter(|window| self.has(window))
                .count() as u64;
            // Runs that begin here and end in the next chunk.
            kept = len.min(RUN - 1);
            buffer.copy_within(len - kept..len, 0);
        }
    }

    fn has(&self, window: &[u8]) -> bool {
        let run = number(window);
        let (word, bit) = place(run);
        self.filter[word] & bit != 0 && self.sorted.binary_search(&run).is_ok()
    }
}

fn is_text(window: &[u8]) -> bool {
    let mut seen = 0u128;
    for &byte in window {
        if !(0x20..0x7f).contains(&byte) {
            return false;
        }
        seen |= 1 << byte;
    }
    seen.count_ones() >= DIFFERENT_MIN
}

fn number(window: &[u8]) -> u128 {
    window
        .iter()
        .fold(0, |number, &byte| number << 8 | u128::from(byte))
}

fn place(run: u128) -> (usize, u64) {
    let bit = mix(mix(run as u64) ^ (run >> 64) as u64) % FILTER_BITS;
    ((bit / 64) as usize, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const TEXT: &[u8; 29] = b"The quick brown fox; 42 times";

    fn page() -> Page {
        let mut page = [0; 4096];
        page[100..100 + TEXT.len()].copy_from_slice(TEXT);
        page[2000..2040].fill(b'-');
        page
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut rng = Rng::new(1);
        (0..len).map(|_| rng.next_u64() as u8).collect()
    }

    #[test]
    fn text_is_found_wherever_it_is() {
        let runs = TextRuns::of(&[page()]);
        assert_eq!(runs.len(), TEXT.len() - RUN + 1);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let clean = noise(2 * CHUNK + 77);
        std::fs::write(&file, &clean).unwrap();
        assert_eq!(runs.count_in(&file, u64::MAX).unwrap(), 0);
        for at in [0, 5, CHUNK - 7, CHUNK - 1, 2 * CHUNK + 61] {
            let mut leaking = clean.clone();
            leaking[at..at + RUN].copy_from_slice(&TEXT[3..3 + RUN]);
            std::fs::write(&file, &leaking).unwrap();
            assert_eq!(runs.count_in(&file, u64::MAX).unwrap(), 1, "at {at}");
        }
    }

    /// A stored LZ4 stream has the page's text in it: the search would see a file that is not encrypted.
    #[test]
    fn a_stream_that_is_not_encrypted_is_seen() {
        use compress::{Codec, Lz4, Lz4Workspace};
        let mut out = [0; 8192];
        let len = Lz4
            .compress(&mut Lz4Workspace::small(), &page(), &mut out)
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, &out[..len]).unwrap();
        assert!(TextRuns::of(&[page()]).count_in(&file, u64::MAX).unwrap() > 0);
    }

    #[test]
    fn pages_without_text_have_no_runs() {
        assert!(TextRuns::of(&[[0; 4096], [b' '; 4096], [0xff; 4096]]).is_empty());
    }
}
