//! A `[zramN]` section: what a device is to be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use compcache_device::{AnyCodec, Ladder, PAGE_SIZE};

use super::ConfigError;
use super::expression::evaluate;
use super::ini::Keys;

/// The size where none is said.
const DEFAULT_SIZE: &str = "min(ram / 2, 4096)";
/// The largest size, in MiB: what a size in bytes can say.
const MIB_MAX: f64 = (1u64 << 43) as f64;
/// Of max-zram-size, where it is not said and zram-fraction is.
const DEFAULT_SIZE_MAX_MIB: f64 = 4096.0;
/// Of zram-fraction, where max-zram-size alone is said.
const DEFAULT_FRACTION: f64 = 0.5;
const DEFAULT_PRIORITY: i16 = 100;

/// A device as a section describes it.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    /// Bytes, whole pages.
    pub(crate) size: u64,
    pub(crate) codec: AnyCodec,
    /// Denser ones, for what is cold; empty where none is named.
    pub(crate) recompress: Vec<AnyCodec>,
    /// Where to write back to.
    pub(crate) writeback_device: Option<PathBuf>,
    /// Bytes; 0 for no limit.
    pub(crate) mem_limit: u64,
    /// -1 lets the kernel choose.
    #[cfg_attr(
        not(any(feature = "fuse", feature = "ublk")),
        allow(dead_code, reason = "a build without `swap` reads it and does nothing")
    )]
    pub(crate) swap_priority: i16,
    /// Why the device is not to be made on this machine.
    pub(crate) skipped: Option<String>,
}

/// Names in expressions.
type Names = BTreeMap<String, f64>;

impl Section {
    /// Understands the keys of a section.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub(crate) fn read(
        name: &str,
        keys: &Keys,
        names: &Names,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            name,
            keys,
            names,
            warnings,
        };
        reader.refuse_file_systems()?;
        reader.warn();
        let size = reader.size()?;
        let (codec, recompress) = reader.codecs()?;
        let swap_priority =
            reader.parse("swap-priority", "a number, -1 to 32767", |&n: &i16| n >= -1)?;
        Ok(Self {
            name: name.to_owned(),
            size,
            codec,
            recompress,
            writeback_device: reader.writeback_device()?,
            mem_limit: match keys.get("zram-resident-limit") {
                Some(text) => reader.mebibytes("zram-resident-limit", text)?,
                None => 0,
            },
            swap_priority: swap_priority.unwrap_or(DEFAULT_PRIORITY),
            skipped: reader.skipped(size)?,
        })
    }
}

struct Reader<'a> {
    name: &'a str,
    keys: &'a Keys,
    names: &'a Names,
    warnings: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn error(&self, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            key: format!("{}: {key}", self.name),
            message: message.into(),
        }
    }

    /// A value that is read as it stands, if it is there; `expected` says what it is to be.
    fn parse<T: FromStr>(
        &self,
        key: &str,
        expected: &str,
        good: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.keys.get(key) else {
            return Ok(None);
        };
        match text.parse::<T>().ok().filter(good) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(key, format!("{text:?}; expected {expected}"))),
        }
    }

    /// An expression in MiB, as bytes in whole pages.
    fn mebibytes(&self, key: &str, text: &str) -> Result<u64, ConfigError> {
        let value =
            evaluate(text, self.names).map_err(|error| self.error(key, error.to_string()))?;
        if !(0.0..MIB_MAX).contains(&value) {
            let message = format!("{text:?} is {value} MiB; expected 0 to 2^43");
            return Err(self.error(key, message));
        }
        let bytes = (value * 1024.0 * 1024.0) as u64;
        Ok(bytes / PAGE_SIZE * PAGE_SIZE)
    }

    fn size(&self) -> Result<u64, ConfigError> {
        let share = |share: &f64| (0.0..=1e6).contains(share);
        let fraction = self.parse("zram-fraction", "a number such as 0.5", share)?;
        let max = self.limit("max-zram-size")?;
        if fraction.is_none() && max.is_none() {
            let text = self
                .keys
                .get("zram-size")
                .map_or(DEFAULT_SIZE, String::as_str);
            return self.mebibytes("zram-size", text);
        }
        // The obsolete keys, which win over the new one.
        let ram = self.names.get("ram").copied().unwrap_or(0.0);
        let size = (fraction.unwrap_or(DEFAULT_FRACTION) * ram).floor();
        let size = size.min(max.unwrap_or(DEFAULT_SIZE_MAX_MIB));
        self.mebibytes("zram-fraction", &size.to_string())
    }

    /// MiB, or infinitely many for `none`.
    fn limit(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        if self.keys.get(key).is_some_and(|text| text == "none") {
            return Ok(Some(f64::INFINITY));
        }
        let mebibytes = self.parse(key, "a number of megabytes, or none", |_: &u32| true)?;
        Ok(mebibytes.map(f64::from))
    }

    fn skipped(&self, size: u64) -> Result<Option<String>, ConfigError> {
        let ram = self.names.get("ram").copied().unwrap_or(0.0);
        let limit = match self.limit("host-memory-limit")? {
            Some(limit) => Some(limit),
            None => self.limit("memory-limit")?,
        };
        Ok(match limit {
            Some(limit) if limit < ram => Some(format!(
                "{}: the machine has {ram} MiB, more than host-memory-limit = {limit}",
                self.name
            )),
            _ if size == 0 => Some(format!("{}: its size is 0", self.name)),
            _ => None,
        })
    }

    /// The first algorithm is for what is written, the others are for what is cold.
    fn codecs(&mut self) -> Result<(AnyCodec, Vec<AnyCodec>), ConfigError> {
        let key = "compression-algorithm";
        let lz4 = AnyCodec::Lz4(compress::Lz4);
        let text = self.keys.get(key).map_or("", String::as_str);
        let Algorithms {
            list,
            recompression,
        } = algorithms(text);
        for parameter in recompression {
            match parameter.as_str() {
                "type=idle" if list.len() > 1 => {}
                _ => self.warn_of(
                    key,
                    &format!(
                        "{parameter}: passed over; what is cold is recompressed, whatever it is"
                    ),
                ),
            }
        }
        let mut codecs = Vec::new();
        for (nth, (name, parameters)) in list.into_iter().enumerate() {
            let found = self.codec(key, &name, &parameters)?;
            match (found, nth) {
                (Some(codec), _) => codecs.push(codec),
                (None, 0) => {
                    self.warn_of(key, &format!("{name} is not to be had here; lz4 is used"));
                    codecs.push(lz4);
                }
                (None, _) => {
                    self.warn_of(key, &format!("{name} is not to be had here, passed over"))
                }
            }
        }
        let mut codecs = codecs.into_iter();
        let first = codecs.next().unwrap_or(lz4);
        let mut rungs = Vec::new();
        for codec in codecs {
            rungs.push(codec);
            // A list that cannot be had says so here, with the line's name.
            if let Err(error) = Ladder::new(first, &rungs) {
                rungs.pop();
                self.warn_of(key, &format!("{codec}: passed over: {error}"));
            }
        }
        Ok((first, rungs))
    }

    /// One algorithm; `None` if there is none of this name.
    fn codec(
        &mut self,
        key: &str,
        name: &str,
        parameters: &[String],
    ) -> Result<Option<AnyCodec>, ConfigError> {
        let mut level = None;
        for parameter in parameters {
            match parameter.strip_prefix("level=") {
                Some(number) if name == "zstd" => level = Some(number),
                _ => self.warn_of(key, &format!("parameter {parameter}: passed over")),
            }
        }
        match (name, level) {
            ("lz4" | "lz4hc" | "zstd", None) => Ok(name.parse().ok()),
            ("zstd", Some(level)) => {
                let name = format!("zstd:{level}");
                let codec = name.parse();
                codec
                    .map(Some)
                    .map_err(|error| self.error(key, format!("{name}: {error}")))
            }
            _ => Ok(None),
        }
    }

    /// As zram-generator, it takes devices; files and directories work as well.
    fn writeback_device(&self) -> Result<Option<PathBuf>, ConfigError> {
        let key = "writeback-device";
        match self.keys.get(key).map(String::as_str) {
            None | Some("") => Ok(None),
            Some(path) if path.starts_with('/') => Ok(Some(path.into())),
            Some(path) => {
                Err(self.error(key, format!("{path:?}; expected a path that begins with /")))
            }
        }
    }

    fn refuse_file_systems(&self) -> Result<(), ConfigError> {
        let next = "not supported; make the file system on the served device instead";
        if self.keys.contains_key("mount-point") {
            return Err(self.error("mount-point", next));
        }
        match self.keys.get("fs-type").map(String::as_str) {
            None | Some("swap") => Ok(()),
            Some(_) => Err(self.error("fs-type", next)),
        }
    }

    fn warn(&mut self) {
        for (key, value) in self.keys {
            match key.as_str() {
                "zram-size"
                | "zram-resident-limit"
                | "compression-algorithm"
                | "swap-priority"
                | "host-memory-limit"
                | "memory-limit"
                | "zram-fraction"
                | "max-zram-size"
                | "fs-type"
                | "writeback-device"
                | "mount-point" => {}
                "options" => {
                    let mut unknown = value.split(',').filter(|word| !word.is_empty());
                    if let Some(option) = unknown.find(|word| *word != "discard") {
                        self.warn_of(key, &format!("{option}: passed over"));
                    }
                }
                _ => self.warn_of(key, "unknown key, passed over"),
            }
        }
    }

    fn warn_of(&mut self, key: &str, text: &str) {
        self.warnings.push(format!("{}: {key}: {text}", self.name));
    }
}

/// What a list of algorithms says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Algorithms {
    /// Names with the parameters that follow them at once.
    list: Vec<(String, Vec<String>)>,
    /// Parameters that stand alone: how to recompress.
    recompression: Vec<String>,
}

/// `lz4 zstd(level=6) (type=idle)`.
fn algorithms(text: &str) -> Algorithms {
    let mut found = Algorithms::default();
    let mut rest = text.trim_start();
    let mut alone = true;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('(') {
            let (parameters, after) = inside.split_once(')').unwrap_or((inside, ""));
            let parameters = parameters.split([',', ' ']).filter(|word| !word.is_empty());
            let parameters = parameters.map(str::to_owned);
            match found.list.last_mut().filter(|_| !alone) {
                Some((_, known)) => known.extend(parameters),
                None => found.recompression.extend(parameters),
            }
            (rest, alone) = (after.trim_start(), true);
            continue;
        }
        let end = rest.find(['(', ' ', '\t']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        found.list.push((name.to_owned(), Vec::new()));
        alone = !after.starts_with('(');
        rest = after.trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_have_parameters() {
        let found = algorithms(" zstd(level=3,type=x)  lz4 (type=idle) 842 ");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(
            found.list,
            [
                ("zstd".to_owned(), words(&["level=3", "type=x"])),
                ("lz4".to_owned(), words(&[])),
                ("842".to_owned(), words(&[])),
            ]
        );
        assert_eq!(found.recompression, ["type=idle"]);
        assert_eq!(algorithms(""), Algorithms::default());
        assert_eq!(algorithms("(x").recompression, ["x"]);
        assert_eq!(algorithms("a((").list.len(), 1);
    }
}
