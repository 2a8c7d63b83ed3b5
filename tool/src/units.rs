//! Sizes and times as people write and read them.

/// Reads a size: bytes, or a number with `K`, `M` or `G` (1024 each), as `64M` or `64MiB`.
///
/// # Errors
/// Where it is something else, zero, or too large for this machine.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err("expected a size such as 64M, 512K or 1G".to_owned()),
    };
    let number: usize = number
        .parse()
        .map_err(|_| "expected a size such as 64M, 512K or 1G".to_owned())?;
    match number.checked_mul(1 << shift) {
        None => Err("too large for this machine".to_owned()),
        Some(0) => Err("must not be zero".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

/// `1.5 MiB`: three digits, binary units.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{} {unit}", three_digits(value))
}

/// `1.5 µs`: three digits.
pub(crate) fn nanoseconds(count: f64) -> String {
    let (value, unit) = match count {
        c if c < 1e3 => (c, "ns"),
        c if c < 1e6 => (c / 1e3, "µs"),
        c if c < 1e9 => (c / 1e6, "ms"),
        c => (c / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// `61 440`: groups of three, with a space that does not break.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `part` of `whole` in percent; nothing of nothing is 0 %.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    };
    format!("{share:.1} %")
}

fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 || v.fract() == 0.0 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("1", 1),
            ("4096", 4096),
            ("64k", 65536),
            ("64M", 64 << 20),
            ("2GiB", 2 << 30),
            ("3mb", 3 << 20),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad_sizes_are_refused() {
        for text in [
            "",
            "M",
            "64X",
            "-1",
            "1.5M",
            "0",
            "0K",
            "99999999999999999999",
            "99999999999G",
            "12 M",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(240 << 20), "240 MiB");
        assert_eq!(bytes(1_500_000), "1.43 MiB");
        assert_eq!(nanoseconds(1234.0), "1.23 µs");
        assert_eq!(nanoseconds(87.4), "87.4 ns");
        assert_eq!(grouped(61_440), "61\u{202f}440");
        assert_eq!(grouped(7), "7");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(0, 0), "0.0 %");
    }
}
