//! What an attribute is set to: zram's syntax, understood.
//!
//! The client looks at it first, so that what is wrong is said as an error of the command line; the
//! server reads it again.

use std::path::PathBuf;
use std::str::FromStr;

use compcache_device::{Policy, What, WriteBack, WriteBackKind};

use super::attribute::Attribute;
use crate::tiers::parse_turn;
use crate::units;

/// A change, or something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    MemLimit(u64),
    MemUsedMax,
    Compact,
    Reset,
    /// Pages that were not used for so many milliseconds; all where there is no number.
    Idle(Option<u64>),
    Recompress(Recompression),
    WriteBack(Vec<WriteBack>),
    WritebackLimit(u64),
    WritebackLimitEnable(bool),
    Backing {
        path: PathBuf,
        size: Option<u64>,
    },
    RecompAlgorithm {
        algo: String,
        priority: Option<usize>,
    },
    Policy(Vec<Setting>),
    Merge,
}

/// zram's `recompress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recompression {
    pub(crate) what: What,
    pub(crate) threshold: usize,
    pub(crate) max_pages: u64,
    pub(crate) algo: Option<String>,
    pub(crate) priority: Option<usize>,
}

/// A part of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    TurnMs(u64),
    ColdAge(u8),
    ColdRung(usize),
    CoolRung(usize),
    Clusters(bool),
    Same(bool),
    Patches(bool),
    Dictionary(bool),
}

impl Setting {
    pub(crate) fn apply(self, policy: &mut Policy) {
        match self {
            Self::TurnMs(ms) => policy.turn_ms = ms,
            Self::ColdAge(age) => policy.cold_age = age,
            Self::ColdRung(rung) => policy.cold_rung = rung,
            Self::CoolRung(rung) => policy.cool_rung = rung,
            Self::Clusters(on) => policy.clusters = on,
            Self::Same(on) => policy.same = on,
            Self::Patches(on) => policy.patches = on,
            Self::Dictionary(on) => policy.dictionary = on,
        }
    }
}

/// The policy as it is set.
pub(crate) fn policy_text(policy: &Policy) -> String {
    format!(
        "turn={} cold_age={} cold_rung={} cool_rung={} clusters={} same={} patches={} dictionary={}\n",
        policy.turn_ms as f64 / 1000.0,
        policy.cold_age,
        policy.cold_rung,
        policy.cool_rung,
        u8::from(policy.clusters),
        u8::from(policy.same),
        u8::from(policy.patches),
        u8::from(policy.dictionary),
    )
}

impl Change {
    /// Understands what an attribute is set to.
    ///
    /// # Errors
    /// What it takes.
    pub(crate) fn parse(attribute: Attribute, text: &str) -> Result<Self, String> {
        attribute.settable()?;
        let text = text.trim();
        let number = || text.parse::<Value>().map(|value| value.0);
        Ok(match attribute {
            Attribute::MemLimit => Self::MemLimit(number()?),
            Attribute::MemUsedMax => match number()? {
                0 => Self::MemUsedMax,
                _ => return Err("can be set to 0 only".to_owned()),
            },
            Attribute::Compact => number().map(|_| Self::Compact)?,
            Attribute::Reset => match number()? {
                0 => return Err("expected 1".to_owned()),
                _ => Self::Reset,
            },
            Attribute::Merge => number().map(|_| Self::Merge)?,
            Attribute::Idle => Self::Idle(match text {
                "all" => None,
                seconds => Some(idle_ms(seconds)?),
            }),
            Attribute::Recompress => Self::Recompress(recompression(text)?),
            Attribute::Writeback => Self::WriteBack(write_backs(text)?),
            Attribute::WritebackLimit => Self::WritebackLimit(count(text)?),
            Attribute::WritebackLimitEnable => Self::WritebackLimitEnable(flag(text)?),
            Attribute::BackingDev => backing(text)?,
            Attribute::RecompAlgorithm => recomp_algorithm(text)?,
            Attribute::Policy => Self::Policy(settings(text)?),
            _ => return Err("cannot be set".to_owned()),
        })
    }
}

fn count(text: &str) -> Result<u64, String> {
    let wrong = |_| format!("{text:?}; expected a number of pages of 4096 bytes");
    text.parse().map_err(wrong)
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(format!("{text:?}; expected 0 or 1")),
    }
}

fn idle_ms(text: &str) -> Result<u64, String> {
    let seconds: Result<u64, _> = text.parse();
    let ms = seconds.ok().and_then(|seconds| seconds.checked_mul(1000));
    ms.ok_or_else(|| format!("{text:?}; expected all, or a number of seconds"))
}

/// `key=value` and words alone.
fn words(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let words = text.split_ascii_whitespace();
    words.map(|word| match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    })
}

fn priority(text: &str) -> Result<usize, String> {
    let found = text.parse().ok().filter(|rung| (1..=3).contains(rung));
    found.ok_or_else(|| format!("priority={text}: expected 1 to 3"))
}

fn recompression(text: &str) -> Result<Recompression, String> {
    let mut found = Recompression {
        what: What::All,
        threshold: 0,
        max_pages: 0,
        algo: None,
        priority: None,
    };
    let expected = "expected type=idle|huge|huge_idle, threshold=BYTES, max_pages=N, algo=CODEC, priority=1..3";
    let mut said = false;
    for (key, value) in words(text) {
        let Some(value) = value else {
            return Err(format!("{key:?}; {expected}"));
        };
        let number = || {
            let number: Result<u64, _> = value.parse();
            number.map_err(|_| format!("{key}={value}: expected a number"))
        };
        match key {
            "type" => {
                found.what = match value {
                    "idle" => What::Idle,
                    "huge" => What::Huge,
                    "huge_idle" => What::HugeIdle,
                    _ => return Err(format!("type={value}: expected idle, huge or huge_idle")),
                }
            }
            "threshold" => {
                let bytes = number()?;
                found.threshold = usize::try_from(bytes)
                    .ok()
                    .filter(|&bytes| bytes <= 4096)
                    .ok_or_else(|| format!("threshold={value}: a page has 4096 bytes"))?;
            }
            "max_pages" => found.max_pages = number()?,
            "algo" => found.algo = Some(value.to_owned()),
            "priority" => found.priority = Some(priority(value)?),
            _ => return Err(format!("{key:?}; {expected}")),
        }
        said = true;
    }
    match said {
        true => Ok(found),
        false => Err(expected.to_owned()),
    }
}

fn write_backs(text: &str) -> Result<Vec<WriteBack>, String> {
    let expected =
        "expected idle, huge, huge_idle, incompressible, page_index=N or page_indexes=A-B";
    let kind = |word: &str| match word {
        "idle" => Ok(WriteBack::Kind(WriteBackKind::Idle)),
        "huge" => Ok(WriteBack::Kind(WriteBackKind::Huge)),
        "huge_idle" => Ok(WriteBack::Kind(WriteBackKind::HugeIdle)),
        "incompressible" => Ok(WriteBack::Kind(WriteBackKind::Incompressible)),
        _ => Err(format!("{word:?}; {expected}")),
    };
    let pages = |first: &str, last: &str| {
        let ends: Option<(u64, u64)> = first.parse().ok().zip(last.parse().ok());
        let range = ends.filter(|(first, last)| first <= last && *last < u64::MAX);
        let range = range.map(|(first, last)| WriteBack::Pages(first..last + 1));
        range.ok_or_else(|| format!("{first}-{last}: expected pages by number, the first first"))
    };
    let mut found = Vec::new();
    for (key, value) in words(text) {
        found.push(match (key, value) {
            (word, None) => kind(word)?,
            ("type", Some(value)) => kind(value)?,
            ("page_index", Some(value)) => pages(value, value)?,
            ("page_indexes", Some(value)) => match value.split_once('-') {
                Some((first, last)) => pages(first, last)?,
                None => return Err(format!("page_indexes={value}: expected A-B")),
            },
            _ => return Err(format!("{key:?}; {expected}")),
        });
    }
    match found.is_empty() {
        true => Err(expected.to_owned()),
        false => Ok(found),
    }
}

/// A path, and behind it perhaps ` size=16G`.
fn backing(text: &str) -> Result<Change, String> {
    let (path, size) = match text.rsplit_once(" size=") {
        Some((path, size)) => (path, Some(units::parse_size(size)? as u64)),
        None => (text, None),
    };
    match path.trim() {
        "none" => {
            Err("a backing store stays as long as the device; start a new one without".to_owned())
        }
        path if path.starts_with('/') => Ok(Change::Backing {
            path: path.into(),
            size,
        }),
        _ => Err("expected a path that begins with /, and perhaps size=16G behind it".to_owned()),
    }
}

fn recomp_algorithm(text: &str) -> Result<Change, String> {
    let expected = "expected algo=CODEC priority=1..3";
    let (mut algo, mut rung) = (None, None);
    for (key, value) in words(text) {
        match (key, value) {
            ("algo", Some(value)) => algo = Some(value.to_owned()),
            ("priority", Some(value)) => rung = Some(priority(value)?),
            _ => return Err(format!("{key:?}; {expected}")),
        }
    }
    let algo = algo.ok_or(expected)?;
    Ok(Change::RecompAlgorithm {
        algo,
        priority: rung,
    })
}

fn settings(text: &str) -> Result<Vec<Setting>, String> {
    let expected = "expected some of turn=SECONDS, cold_age=1..3, cold_rung=0..3, cool_rung=0..3, clusters=0|1, same=0|1, patches=0|1, dictionary=0|1";
    let mut found = Vec::new();
    for (key, value) in words(text) {
        let value = value.ok_or_else(|| format!("{key:?}; {expected}"))?;
        let wrong = |what: &str| format!("{key}={value}: expected {what}");
        let rung = || {
            let rung = value.parse().ok().filter(|rung| *rung <= 3);
            rung.ok_or_else(|| wrong("0 to 3"))
        };
        let on = || flag(value).map_err(|_| wrong("0 or 1"));
        found.push(match key {
            "turn" => {
                let turn = parse_turn(value).map_err(|error| format!("{key}={value}: {error}"))?;
                Setting::TurnMs(u64::try_from(turn.as_millis()).unwrap_or(u64::MAX))
            }
            "cold_age" => {
                let age = value.parse().ok().filter(|age| (1..=3).contains(age));
                Setting::ColdAge(age.ok_or_else(|| wrong("1 to 3"))?)
            }
            "cold_rung" => Setting::ColdRung(rung()?),
            "cool_rung" => Setting::CoolRung(rung()?),
            "clusters" => Setting::Clusters(on()?),
            "same" => Setting::Same(on()?),
            "patches" => Setting::Patches(on()?),
            "dictionary" => Setting::Dictionary(on()?),
            _ => return Err(format!("{key:?}; {expected}")),
        });
    }
    match found.is_empty() {
        true => Err(expected.to_owned()),
        false => Ok(found),
    }
}

/// A number, or a size such as 1G.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value(u64);

impl FromStr for Value {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // `parse_size` takes no zero, which means something here.
        if !text.is_empty() && text.bytes().all(|digit| digit == b'0') {
            return Ok(Self(0));
        }
        units::parse_size(text).map(|bytes| Self(bytes as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_examples_are_understood() {
        let all = Recompression {
            what: What::All,
            threshold: 0,
            max_pages: 0,
            algo: None,
            priority: None,
        };
        let kind = |kind| Change::WriteBack(vec![WriteBack::Kind(kind)]);
        for (attribute, text, change) in [
            (Attribute::Idle, "all", Change::Idle(None)),
            (Attribute::Idle, "86400", Change::Idle(Some(86_400_000))),
            (
                Attribute::Recompress,
                "type=huge_idle",
                Change::Recompress(Recompression {
                    what: What::HugeIdle,
                    ..all.clone()
                }),
            ),
            (
                Attribute::Recompress,
                "type=idle threshold=3000 max_pages=42 algo=zstd",
                Change::Recompress(Recompression {
                    what: What::Idle,
                    threshold: 3000,
                    max_pages: 42,
                    algo: Some("zstd".to_owned()),
                    priority: None,
                }),
            ),
            (
                Attribute::Recompress,
                "priority=2\n",
                Change::Recompress(Recompression {
                    priority: Some(2),
                    ..all
                }),
            ),
            (Attribute::Writeback, "huge", kind(WriteBackKind::Huge)),
            (Attribute::Writeback, "idle", kind(WriteBackKind::Idle)),
            (
                Attribute::Writeback,
                "type=huge_idle",
                kind(WriteBackKind::HugeIdle),
            ),
            (
                Attribute::Writeback,
                "incompressible",
                kind(WriteBackKind::Incompressible),
            ),
            (
                Attribute::Writeback,
                "page_index=1251 page_indexes=1-100",
                Change::WriteBack(vec![WriteBack::Pages(1251..1252), WriteBack::Pages(1..101)]),
            ),
            (
                Attribute::WritebackLimit,
                "102400",
                Change::WritebackLimit(102_400),
            ),
            (
                Attribute::WritebackLimitEnable,
                "1",
                Change::WritebackLimitEnable(true),
            ),
            (
                Attribute::BackingDev,
                "/dev/a b size=16G",
                Change::Backing {
                    path: "/dev/a b".into(),
                    size: Some(16 << 30),
                },
            ),
            (
                Attribute::RecompAlgorithm,
                "algo=zstd priority=1",
                Change::RecompAlgorithm {
                    algo: "zstd".to_owned(),
                    priority: Some(1),
                },
            ),
            (
                Attribute::Policy,
                "turn=5m cold_age=3 same=0",
                Change::Policy(vec![
                    Setting::TurnMs(300_000),
                    Setting::ColdAge(3),
                    Setting::Same(false),
                ]),
            ),
            (Attribute::MemLimit, "1G", Change::MemLimit(1 << 30)),
            (Attribute::MemLimit, "0\n", Change::MemLimit(0)),
            (Attribute::Merge, "1", Change::Merge),
        ] {
            assert_eq!(
                Change::parse(attribute, text),
                Ok(change),
                "{attribute} {text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (attribute, text, part) in [
            (Attribute::Idle, "", "all, or"),
            (Attribute::Idle, "-1", "all, or"),
            (Attribute::Idle, "99999999999999999999", "all, or"),
            (Attribute::Recompress, "", "type="),
            (Attribute::Recompress, "idle", "type="),
            (
                Attribute::Recompress,
                "type=cold",
                "idle, huge or huge_idle",
            ),
            (Attribute::Recompress, "threshold=4097", "4096"),
            (Attribute::Recompress, "threshold=x", "a number"),
            (Attribute::Recompress, "priority=4", "1 to 3"),
            (Attribute::Recompress, "prio=1", "type="),
            (Attribute::Writeback, "", "page_index"),
            (Attribute::Writeback, "all", "page_index"),
            (Attribute::Writeback, "page_index=x", "by number"),
            (Attribute::Writeback, "page_indexes=5", "A-B"),
            (Attribute::Writeback, "page_indexes=9-5", "the first first"),
            (
                Attribute::Writeback,
                "page_indexes=0-18446744073709551615",
                "by number",
            ),
            (Attribute::WritebackLimit, "1G", "pages"),
            (Attribute::WritebackLimitEnable, "2", "0 or 1"),
            (Attribute::BackingDev, "none", "as long as"),
            (Attribute::BackingDev, "sdb", "begins with /"),
            (Attribute::BackingDev, "/x size=0", "zero"),
            (Attribute::RecompAlgorithm, "zstd", "algo="),
            (Attribute::RecompAlgorithm, "priority=1", "algo="),
            (Attribute::Policy, "", "turn="),
            (Attribute::Policy, "turn", "turn="),
            (Attribute::Policy, "turn=0", "0.1 seconds"),
            (Attribute::Policy, "cold_age=4", "1 to 3"),
            (Attribute::Policy, "cold_rung=9", "0 to 3"),
            (Attribute::Policy, "same=yes", "0 or 1"),
            (Attribute::MmStat, "1", "cannot be set"),
            (Attribute::BdStat, "1", "cannot be set"),
        ] {
            let error = Change::parse(attribute, text).unwrap_err();
            assert!(error.contains(part), "{attribute} {text}: {error}");
        }
    }

    #[test]
    fn a_policy_can_be_set_as_it_is_shown() {
        let mut policy = Policy::ALL;
        policy.turn_ms = 1500;
        let text = policy_text(&policy);
        assert_eq!(
            text,
            "turn=1.5 cold_age=2 cold_rung=1 cool_rung=0 clusters=1 same=1 patches=1 dictionary=1\n"
        );
        let Ok(Change::Policy(settings)) = Change::parse(Attribute::Policy, &text) else {
            panic!("{text}")
        };
        let mut again = Policy::NONE;
        settings
            .iter()
            .for_each(|setting| setting.apply(&mut again));
        assert_eq!(again, policy);
    }
}
