//! Sizes as util-linux writes them: one letter, one digit after the point.

const SUFFIXES: [&str; 7] = ["B", "K", "M", "G", "T", "P", "E"];

/// `23.5M`, `4G`, `0B`.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = (bytes.max(1).ilog2() / 10) as usize;
    let whole = |unit: usize| 1u128 << (10 * unit);
    // In tenths, rounded; what rounds up to 1024 of a unit is one of the next.
    let tenths = |unit: usize| (u128::from(bytes) * 10 + whole(unit) / 2) / whole(unit);
    if tenths(unit) >= 10_240 && unit + 1 < SUFFIXES.len() {
        unit += 1;
    }
    let (suffix, tenths) = (SUFFIXES.get(unit).unwrap_or(&"E"), tenths(unit));
    match tenths % 10 {
        0 => format!("{}{suffix}", tenths / 10),
        digit => format!("{}.{digit}{suffix}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_util_linuxs() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (1023, "1023B"),
            (1024, "1K"),
            (1536, "1.5K"),
            (4096, "4K"),
            (24_641_536, "23.5M"),
            (4 << 30, "4G"),
            ((4 << 30) + (1 << 20), "4G"),
            ((1 << 20) - 1, "1M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
