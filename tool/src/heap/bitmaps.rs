//! Bitmaps of several densities, and pictures.

use super::rng::Rng;

/// Bytes of a bitmap.
const LEN: usize = 192 * 1024;

/// Sparse, clustered or dense bits.
pub(super) fn bits(rng: &mut Rng) {
    let mut words = vec![0u64; LEN / 8];
    match rng.below(3) {
        // One bit here and there.
        0 => {
            for _ in 0..LEN / 40 {
                let at = rng.index(words.len());
                words[at] |= 1 << rng.below(64);
            }
        }
        // Runs: a block map of a file system.
        1 => {
            let mut at = 0;
            while at < words.len() {
                let (run, fill) = (
                    1 + rng.skewed(24) as usize,
                    if rng.one_in(3) { 0 } else { u64::MAX },
                );
                let end = (at + run).min(words.len());
                words[at..end].fill(fill);
                words[end - 1] = rng.next();
                at = end;
            }
        }
        // A filter, a third of its bits set.
        _ => words
            .iter_mut()
            .for_each(|word| *word = rng.next() & (rng.next() | rng.next() & rng.next())),
    }
    std::mem::forget(words);
}

/// A picture of four bytes a pixel: flat areas, gradients, some noise.
pub(super) fn picture(rng: &mut Rng) {
    let width = 256;
    let mut pixels: Vec<[u8; 4]> = Vec::with_capacity(width * width);
    let noise = rng.range(1, 6);
    for y in 0..width {
        let mut colour = [rng.next() as u8, rng.next() as u8, (y / 2) as u8, 255];
        for _ in 0..width {
            if rng.one_in(24) {
                colour = [rng.next() as u8, colour[1], (y / 2) as u8, 255];
            }
            let grain = rng.below(noise) as u8;
            pixels.push([
                colour[0].wrapping_add(grain),
                colour[1].wrapping_add(grain),
                colour[2],
                255,
            ]);
        }
    }
    std::mem::forget(pixels);
}
