//! Lines to sections, keys and values, as systemd.syntax(7) has them.

use std::collections::BTreeMap;

use super::ConfigError;

/// Sections of all files.
const SECTIONS_MAX: usize = 256;
/// Keys of a section.
const KEYS_MAX: usize = 64;
/// `set!` lines.
const PROGRAMS_MAX: usize = 16;

/// Keys of a section, with their values.
pub(crate) type Keys = BTreeMap<String, String>;

/// What the files say, not yet understood.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) sections: BTreeMap<String, Keys>,
    /// `set!NAME = PROGRAM`, in order.
    pub(crate) programs: Vec<(String, String)>,
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// Adds a file.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`].
    pub(crate) fn add(&mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        // What the keys that come now belong to.
        let mut section = Where::Top;
        for (line, number) in joined(text).into_iter() {
            let at = || format!("{file}:{number}");
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            section = match line.strip_prefix('[') {
                Some(rest) => self.enter(rest, &at)?,
                None => {
                    self.set(&section, line, &at)?;
                    continue;
                }
            };
        }
        Ok(())
    }

    fn enter(&mut self, rest: &str, at: &impl Fn() -> String) -> Result<Where, ConfigError> {
        let expected = |expected| ConfigError::Syntax { at: at(), expected };
        let name = rest
            .strip_suffix(']')
            .ok_or_else(|| expected("a section such as [zram0]"))?;
        let number = name.strip_prefix("zram").unwrap_or_default();
        if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            self.warnings.push(format!(
                "{}: section [{name}] is not for a device and is passed over",
                at()
            ));
            return Ok(Where::Other);
        }
        if self.sections.len() >= SECTIONS_MAX && !self.sections.contains_key(name) {
            return Err(expected("at most 256 sections"));
        }
        self.sections.entry(name.to_owned()).or_default();
        Ok(Where::Device(name.to_owned()))
    }

    fn set(
        &mut self,
        section: &Where,
        line: &str,
        at: &impl Fn() -> String,
    ) -> Result<(), ConfigError> {
        let expected = |expected| ConfigError::Syntax { at: at(), expected };
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| expected("KEY = VALUE, or a section such as [zram0]"))?;
        let (key, value) = (key.trim(), value.trim());
        if let Some(name) = key.strip_prefix("set!") {
            let first = |c: char| c.is_ascii_alphabetic() || c == '_';
            let good =
                name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
            if !good {
                return Err(expected(
                    "set!NAME = PROGRAM, with a name of letters, digits and '_'",
                ));
            }
            if self.programs.len() >= PROGRAMS_MAX {
                return Err(expected("at most 16 lines of set!"));
            }
            self.programs.push((name.to_owned(), value.to_owned()));
            return Ok(());
        }
        let keys = match section {
            Where::Top => return Err(expected("a section such as [zram0] first")),
            Where::Other => return Ok(()),
            Where::Device(name) => self.sections.entry(name.clone()).or_default(),
        };
        if keys.len() >= KEYS_MAX && !keys.contains_key(key) {
            return Err(expected("at most 64 keys a section"));
        }
        keys.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

/// Which section lines belong to.
enum Where {
    /// None yet.
    Top,
    Device(String),
    /// One that is none of ours.
    Other,
}

/// Lines with their numbers; one that ends in a backslash goes on in the next.
fn joined(text: &str) -> Vec<(String, usize)> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    let mut goes_on = false;
    for (line, number) in text.lines().zip(1..) {
        let comment = line.trim_start().starts_with(['#', ';']);
        let (line, more) = match line.strip_suffix('\\') {
            Some(line) if !comment => (line, true),
            _ => (line, false),
        };
        match lines.last_mut() {
            Some((last, _)) if goes_on => {
                last.push(' ');
                last.push_str(line);
            }
            _ => lines.push((line.to_owned(), number)),
        }
        goes_on = more;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_joins_lines() {
        let lines = joined("a = 1 + \\\n  2\n# b \\\nc");
        assert_eq!(
            lines,
            [
                ("a = 1 +    2".to_owned(), 1),
                ("# b \\".to_owned(), 3),
                ("c".to_owned(), 4)
            ]
        );
    }

    #[test]
    fn everything_has_a_limit() {
        let many = |line: fn(usize) -> String| (0..1000).map(line).collect::<String>();
        for text in [
            many(|nth| format!("[zram{nth}]\n")),
            "[zram0]\n".to_owned() + &many(|nth| format!("k{nth}=1\n")),
            many(|nth| format!("set!n{nth}=true\n")),
        ] {
            assert!(Settings::default().add("x", &text).is_err());
        }
    }
}
