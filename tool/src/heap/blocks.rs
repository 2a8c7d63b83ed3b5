//! Buffers of whole pages: zeroes and patterns, copies, incompressible data, file blocks.

use std::alloc::Layout;

use super::rng::Rng;
use super::text::Words;

/// A page on an address of its own, as caches and pools ask for it.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// A buffer of `count` pages, all zero.
fn pages(count: usize) -> Box<[Page]> {
    debug_assert_eq!(Layout::new::<Page>().size(), 4096);
    (0..count).map(|_| Page([0; 4096])).collect()
}

/// Pages that are touched and zero, and a few that hold one word over and over.
pub(super) fn same_filled(rng: &mut Rng) {
    let mut buffer = pages(12);
    for page in &mut buffer {
        let word = match rng.below(8) {
            0 => u64::MAX,
            1 => 0x0101_0101_0101_0101 * rng.below(256),
            2 => rng.below(1 << 16),
            _ => 0,
        };
        page.0
            .chunks_exact_mut(8)
            .for_each(|chunk| chunk.copy_from_slice(&word.to_le_bytes()));
    }
    std::mem::forget(buffer);
}

/// Pages hardly used: a header and little else.
pub(super) fn nearly_empty(rng: &mut Rng) {
    let mut buffer = pages(24);
    for page in &mut buffer {
        for _ in 0..1 + rng.skewed(14) {
            let at = rng.index(512) * 8;
            page.0[at..at + 8].copy_from_slice(&rng.below(1 << 20).to_le_bytes());
        }
    }
    std::mem::forget(buffer);
}

/// Compressed or encrypted data on its way through.
pub(super) fn incompressible(rng: &mut Rng) {
    let mut buffer = pages(24);
    for page in &mut buffer {
        page.0
            .chunks_exact_mut(8)
            .for_each(|chunk| chunk.copy_from_slice(&rng.next().to_le_bytes()));
    }
    std::mem::forget(buffer);
}

/// The same resource loaded more than once: templates, modules, cached files.
pub(super) fn copies(rng: &mut Rng, words: &Words) {
    let mut first = pages(8);
    for page in &mut first {
        let mut text = String::new();
        while text.len() < 4096 {
            let count = rng.range(3, 12);
            words.sentence(rng, count, &mut text);
            text.push_str(&format!(
                "\n<td class=\"{}\">{}</td>\n",
                words.word(rng),
                rng.skewed(500)
            ));
        }
        page.0.copy_from_slice(&text.as_bytes()[..4096]);
    }
    for _ in 0..rng.range(2, 5) {
        let mut copy = pages(8);
        for (to, from) in copy.iter_mut().zip(&first) {
            to.0 = from.0;
        }
        std::mem::forget(copy);
    }
    std::mem::forget(first);
}

/// Blocks of a database: a header, an array of item offsets growing up, rows growing down, free space between.
pub(super) fn database_blocks(rng: &mut Rng, words: &Words) {
    let mut buffer = pages(64);
    let mut row = rng.below(1 << 20);
    for (nth, page) in buffer.iter_mut().enumerate() {
        let (mut lower, mut upper) = (24usize, 4096usize);
        let fill = rng.range(10, 100) as usize * 4096 / 100;
        page.0[..8].copy_from_slice(&(0x0000_002A_0000_0000u64 + nth as u64 * 0x1D8).to_le_bytes());
        while lower + 4 + (4096 - upper) < fill {
            row += 1;
            let text = format!(
                "{}{:>10}{}",
                words.word(rng),
                rng.skewed(100_000),
                words.address(rng)
            );
            let bytes = text.as_bytes();
            let need = (24 + bytes.len()).next_multiple_of(8);
            if upper < lower + 4 + need {
                break;
            }
            upper -= need;
            page.0[lower..lower + 2].copy_from_slice(&(upper as u16).to_le_bytes());
            page.0[lower + 2..lower + 4].copy_from_slice(&((need as u16) << 1).to_le_bytes());
            lower += 4;
            page.0[upper..upper + 4].copy_from_slice(&(700 + (row as u32 >> 6)).to_le_bytes());
            page.0[upper + 8..upper + 16].copy_from_slice(&row.to_le_bytes());
            page.0[upper + 16..upper + 20].copy_from_slice(&[4, 0, 2, 24]);
            page.0[upper + 24..upper + 24 + bytes.len()].copy_from_slice(bytes);
        }
        page.0[8..10].copy_from_slice(&(lower as u16).to_le_bytes());
        page.0[10..12].copy_from_slice(&(upper as u16).to_le_bytes());
    }
    std::mem::forget(buffer);
}
