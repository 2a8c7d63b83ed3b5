//! What cold pages become, as the command line and the configuration say: arguments of every command
//! that serves a device.

use std::path::{Path, PathBuf};
use std::time::Duration;

use compcache_device::{AnyCodec, Config, Device, Ladder, PAGE_SIZE, Policy};

use crate::config::Section;
use crate::units::parse_size;

/// From this level on, pages that are zstd from the start get no denser codec where none is named.
const DENSE_LEVEL: i32 = 6;
/// The denser codec where none is named.
const DEFAULT_RUNG: &str = "zstd:6";
/// Milliseconds of the shortest and the longest turn.
const TURN_MS: std::ops::RangeInclusive<u64> = 100..=86_400_000;

/// Arguments about cold pages.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cold pages")]
pub(crate) struct TierArgs {
    /// Denser codec for pages that are not used: lz4hc, zstd or zstd:LEVEL; up to three, repeated or separated by
    /// commas, the densest last. The last is for cold pages, and lz4hc before it for those that were not used for a
    /// shorter time; `ctl NAME recompress` reaches all [default: zstd:6]
    #[arg(
        long,
        value_name = "CODEC",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub(crate) recompress: Vec<AnyCodec>,
    /// Pages that were not used for one to two such times are cold: seconds, or 5m, 1h [default: 30]
    #[arg(long, value_name = "TIME", value_parser = parse_turn, conflicts_with = "no_tiers")]
    pub(crate) idle_time: Option<Duration>,
    /// Keep pages that are the same, or nearly, each by itself, and make no dictionary of what they have in common.
    /// Whoever can time reads and writes may learn whether
    /// somebody else's page is the same: switch it off where users of one device do not trust each other
    #[arg(long)]
    pub(crate) no_dedup: bool,
    /// Do nothing to cold pages by itself: neither denser codecs nor same pages once
    #[arg(long)]
    pub(crate) no_tiers: bool,
    /// Write cold pages there when memory is short, compressed and encrypted: a block device, a file, or a directory
    /// for a file without a name. What is there is lost
    #[arg(long, value_name = "PATH")]
    pub(crate) backing: Option<PathBuf>,
    /// The most room to take there, such as 16G [default: enough for the whole device]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) backing_size: Option<usize>,
    /// The most to write there, such as 100G, to spare flash memory; `ctl NAME writeback_limit=PAGES` allows more
    /// [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) writeback_limit: Option<usize>,
}

/// What was decided.
#[derive(Clone, Debug)]
pub(crate) struct Tiers {
    pub(crate) ladder: Ladder,
    pub(crate) policy: Policy,
    backing: Option<(PathBuf, Option<u64>)>,
    writeback_limit: Option<u64>,
}

impl TierArgs {
    /// What the command line says goes before what the section says.
    ///
    /// # Errors
    /// One line: codecs that are no ladder, arguments that need others.
    pub(crate) fn tiers(
        &self,
        first: AnyCodec,
        section: Option<&Section>,
    ) -> Result<Tiers, String> {
        let said = section.map(|section| &*section.recompress);
        let rungs = match (self.recompress.as_slice(), said.unwrap_or(&[])) {
            ([], []) if self.no_tiers => Vec::new(),
            ([], []) => default_rungs(first),
            ([], said) => said.to_vec(),
            (said, _) => said.to_vec(),
        };
        let ladder = Ladder::new(first, &rungs)
            .map_err(|error| format!("--recompress: {error}; the codec of new pages is {first}"))?;
        let policy = match self.no_tiers {
            true => Policy::NONE,
            false => self.policy(&rungs),
        };
        let backing = self.backing.as_deref();
        let backing = backing.or(section.and_then(|section| section.writeback_device.as_deref()));
        let size = self.backing_size.map(|bytes| bytes as u64);
        if backing.is_none() && (size.is_some() || self.writeback_limit.is_some()) {
            return Err(
                "--backing-size and --writeback-limit need --backing PATH, or writeback-device in the file"
                    .to_owned(),
            );
        }
        Ok(Tiers {
            ladder,
            policy,
            backing: backing.map(absolute).transpose()?.map(|path| (path, size)),
            writeback_limit: self
                .writeback_limit
                .map(|bytes| (bytes as u64).div_ceil(PAGE_SIZE)),
        })
    }

    fn policy(&self, rungs: &[AnyCodec]) -> Policy {
        let mut policy = Policy::NONE;
        if let Some(turn) = self.idle_time {
            policy.turn_ms = u64::try_from(turn.as_millis()).unwrap_or(u64::MAX);
        }
        policy.cold_rung = rungs.len();
        // What decodes as fast as LZ4 costs readers nothing.
        let cool = rungs.len() > 1 && matches!(rungs.first(), Some(AnyCodec::Lz4Hc(_)));
        policy.cool_rung = usize::from(cool);
        policy.clusters = !rungs.is_empty();
        (policy.same, policy.patches) = (!self.no_dedup, !self.no_dedup);
        policy.dictionary = !self.no_dedup;
        policy
    }
}

impl Tiers {
    /// What of a device they decide.
    pub(crate) fn config(&self, size: u64) -> Config {
        Config {
            codec: self.ladder.clone(),
            policy: self.policy,
            // Requests may have a real-time priority, work that can wait has none.
            thread_start: Some(|| drop(compcache_sys::priority::as_others())),
            ..Config::new(size)
        }
    }

    /// Gives the device its backing store, if it is to have one.
    ///
    /// # Errors
    /// One line.
    pub(crate) fn back(&self, device: &Device) -> Result<(), String> {
        let Some((path, size)) = &self.backing else {
            return Ok(());
        };
        let size = size.unwrap_or_else(|| device.backing_size_max());
        device
            .set_backing(path, size)
            .map_err(|error| format!("--backing {}: {error}", path.display()))?;
        if self.writeback_limit.is_some() {
            device.set_writeback_limit(self.writeback_limit, true);
        }
        Ok(())
    }

    /// For people: what is done to pages.
    #[cfg(any(feature = "fuse", feature = "ublk"))]
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let turn = Duration::from_millis(self.policy.turn_ms);
        if let Some(codec) = self
            .ladder
            .rung(self.policy.cold_rung)
            .filter(|_| self.policy.cold_rung > 0)
        {
            lines.push(format!(
                "make pages denser ({codec}) that were not used for {turn:?}"
            ));
        }
        if self.policy.same {
            lines.push("keep pages that are the same once, similar ones as differences".to_owned());
        }
        if let Some((path, size)) = &self.backing {
            let most = size.map_or(String::new(), |size| {
                format!(", at most {}", crate::units::bytes(size))
            });
            lines.push(format!(
                "write back to {}{most}, when memory is short",
                path.display()
            ));
        }
        lines
    }
}

/// A server in the background has another working directory.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// What is denser than the first codec, and takes a time that background work may take.
fn default_rungs(first: AnyCodec) -> Vec<AnyCodec> {
    let dense = match first {
        AnyCodec::Raw(_) => true,
        AnyCodec::Zstd(zstd) => zstd.level() >= DENSE_LEVEL,
        _ => false,
    };
    let rung = DEFAULT_RUNG.parse().ok().filter(|_| !dense);
    rung.into_iter().collect()
}

/// Reads a turn of the policy's clock: `30`, `0.5`, `30s`, `5m`, `1h`.
///
/// # Errors
/// What is none, or too short or long.
pub(crate) fn parse_turn(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 30, 5m or 1h, from 0.1 seconds to a day".to_owned();
    let (number, unit_ms) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1_000.0),
        Some((at, 'm')) => (&text[..at], 60_000.0),
        Some((at, 'h')) => (&text[..at], 3_600_000.0),
        _ => (text, 1_000.0),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let ms = (number * unit_ms).round();
    match ms.is_finite() && TURN_MS.contains(&(ms as u64)) {
        true => Ok(Duration::from_millis(ms as u64)),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tiers: TierArgs,
    }

    fn tiers(first: &str, arguments: &[&str]) -> Result<Tiers, String> {
        let line = Line::try_parse_from([&["x"], arguments].concat());
        let line = line.map_err(|error| error.to_string())?;
        line.tiers.tiers(first.parse().unwrap(), None)
    }

    #[test]
    fn turns_are_times() {
        for (text, ms) in [
            ("30", 30_000),
            ("0.5", 500),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("7s", 7_000),
        ] {
            assert_eq!(parse_turn(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "0", "0.01", "-1", "2d", "inf", "NaN", "25h", "é"] {
            assert!(parse_turn(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tiers_are_on_unless_switched_off() {
        let found = tiers("lz4", &[]).unwrap();
        assert_eq!(found.ladder.to_string(), "lz4 zstd:6");
        let mut all = Policy::ALL;
        all.turn_ms = 30_000;
        assert_eq!(found.policy, all);
        assert_eq!(
            tiers("zstd:3", &[]).unwrap().ladder.to_string(),
            "zstd:3 zstd:6"
        );
        // What is dense already, and what is not to be compressed.
        for first in ["zstd:6", "zstd:19", "raw"] {
            let found = tiers(first, &[]).unwrap();
            assert_eq!(found.ladder.to_string(), first);
            assert_eq!((found.policy.cold_rung, found.policy.clusters), (0, false));
            assert!(found.policy.same);
        }
        let off = tiers("lz4", &["--no-tiers"]).unwrap();
        assert_eq!(
            (off.ladder.to_string(), off.policy),
            ("lz4".to_owned(), Policy::NONE)
        );
        // By hand only.
        let off = tiers("lz4", &["--no-tiers", "--recompress", "zstd:9"]).unwrap();
        assert_eq!(
            (off.ladder.to_string(), off.policy),
            ("lz4 zstd:9".to_owned(), Policy::NONE)
        );
        let plain = tiers("lz4", &["--no-dedup", "--idle-time", "5m"]).unwrap();
        assert_eq!((plain.policy.same, plain.policy.patches), (false, false));
        assert!(!plain.policy.dictionary);
        assert_eq!(plain.policy.turn_ms, 300_000);
    }

    #[test]
    fn denser_codecs_have_an_order() {
        let found = tiers(
            "lz4",
            &["--recompress", "lz4hc,zstd:6", "--recompress", "zstd:15"],
        )
        .unwrap();
        assert_eq!(found.ladder.to_string(), "lz4 lz4hc zstd:6 zstd:15");
        assert_eq!((found.policy.cool_rung, found.policy.cold_rung), (1, 3));
        let found = tiers("lz4", &["--recompress", "lz4hc"]).unwrap();
        assert_eq!((found.policy.cool_rung, found.policy.cold_rung), (0, 1));
        for (first, arguments, part) in [
            ("lz4", ["--recompress", "lz4"], "--recompress"),
            ("zstd:6", ["--recompress", "zstd:6"], "--recompress"),
            (
                "lz4",
                ["--recompress", "lz4hc,zstd:1,zstd:2,zstd:3"],
                "--recompress",
            ),
            ("lz4", ["--recompress", "gzip"], "gzip"),
            ("lz4", ["--backing-size", "1G"], "need --backing"),
            ("lz4", ["--writeback-limit", "1G"], "need --backing"),
        ] {
            let error = tiers(first, &arguments).unwrap_err();
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
}
