//! Arrays of numbers. Only additions, multiplications, divisions and square roots: those
//! are exact everywhere, where sines and logarithms depend on the library.

use super::rng::Rng;

/// Numbers in an array.
const LEN: usize = 48 * 1024;

/// 64-bit integers: time stamps, identifiers, offsets, or small counts.
pub(super) fn integers(rng: &mut Rng) {
    let mut array: Vec<i64> = Vec::with_capacity(LEN);
    let kind = rng.below(4);
    let mut at = rng.below(1 << 40) as i64;
    for nth in 0..LEN {
        at += match kind {
            0 => 1000 + rng.below(16) as i64,
            1 => rng.skewed(5000) as i64,
            _ => 8,
        };
        array.push(match kind {
            2 => rng.skewed(60) as i64,
            3 if nth % 4 != 0 => 0,
            _ => at,
        });
    }
    std::mem::forget(array);
}

/// 32-bit integers: indexes, pixel values, sparse columns.
pub(super) fn narrow_integers(rng: &mut Rng) {
    let mut array: Vec<u32> = Vec::with_capacity(2 * LEN);
    let kind = rng.below(3);
    let mut at = 0u32;
    for _ in 0..2 * LEN {
        at = at.wrapping_add(rng.skewed(20) as u32);
        array.push(match kind {
            0 => at,
            1 => rng.skewed(300) as u32,
            _ => 0xFF00_0000 | (rng.skewed(12) as u32 * 0x01_0101),
        });
    }
    std::mem::forget(array);
}

/// Columns of measurements with as many digits as the instrument has, and columns of whole numbers.
pub(super) fn rounded_floats(rng: &mut Rng) {
    let mut array: Vec<f64> = Vec::with_capacity(LEN);
    let divisor = rng.pick(&[1.0, 2.0, 4.0, 10.0, 100.0]);
    let mut level = rng.range(200, 5000) as f64;
    for _ in 0..LEN {
        level += rng.below(9) as f64 - 4.0;
        array.push(if rng.one_in(12) { 0.0 } else { level / divisor });
    }
    std::mem::forget(array);
}

/// Results of computations: every bit of the fraction in use, next to incompressible.
pub(super) fn full_floats(rng: &mut Rng) {
    let mut array: Vec<f64> = Vec::with_capacity(LEN / 2);
    for _ in 0..LEN / 2 {
        array.push((rng.unit() * 3.0 + 0.5).sqrt());
    }
    std::mem::forget(array);
}

/// Weights and vertices: single precision, of a narrow range.
pub(super) fn single_floats(rng: &mut Rng) {
    let mut array: Vec<f32> = Vec::with_capacity(LEN);
    let steps = 1 << rng.range(6, 15);
    for _ in 0..LEN {
        array.push((rng.below(steps) as f32 - (steps / 2) as f32) / 1024.0);
    }
    std::mem::forget(array);
}

/// A record of a table that is allocated at once and filled as needed.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Entry {
    key: u64,
    state: u32,
    references: u32,
    first: u64,
    last: u64,
    limits: [u32; 4],
    next: u64,
    reserved: u64,
}

/// Tables of records, most of them as they were initialised.
pub(super) fn records(rng: &mut Rng) {
    let empty = Entry {
        limits: [u32::MAX, 0, 1024, 0],
        next: u64::MAX,
        ..Entry::default()
    };
    let mut table = vec![empty; 3 * 1024];
    // The fill varies from part to part, and so does what a page comes to.
    let mut one_in = 2;
    for (nth, entry) in table.iter_mut().enumerate() {
        if nth % 128 == 0 {
            one_in = rng.range(1, 12);
        }
        if rng.one_in(one_in) {
            entry.key = rng.below(1 << 32);
            entry.state = 1 + rng.below(4) as u32;
            entry.references = rng.skewed(2) as u32;
            entry.first = 1_741_000_000 + nth as u64 * 60;
            entry.last = entry.first + rng.skewed(5000);
            entry.next = rng.below(3 * 1024);
        }
    }
    std::mem::forget(table);
}
