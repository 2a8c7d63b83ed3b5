//! Configuration files of zram-generator: `[zram0]` sections, read as they are.
//!
//! | module | what it does |
//! |---|---|
//! | `ini` | lines to sections, keys and values |
//! | `expression` | sizes as functions of `ram` |
//! | `section` | keys to what a device is to be |
//! | `program` | the output of `set!NAME = program` |
//!
//! Source: zram-generator.conf(5), version 1.2. What cannot be had here is an error where the
//! device would be another thing (a file system), else a warning that names it.

mod expression;
mod ini;
mod program;
mod section;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub(crate) use section::Section;

use crate::output;

/// Bytes of a file.
const FILE_MAX: u64 = 1 << 20;

/// Arguments of every command that serves a device.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file of zram-generator; may be repeated, later ones replace what earlier ones say
    ///
    /// Keys of a [zramN] section: zram-size, zram-resident-limit, host-memory-limit, swap-priority, fs-type = swap,
    /// compression-algorithm, writeback-device. Of several algorithms the first is for new pages and the others for cold
    /// ones, as --recompress: 'lz4 zstd(level=6) (type=idle)'. The writeback-device is --backing. What is not understood
    /// is passed over, and a note names it. What the command line says goes before what the file says
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// With --config: the section, such as zram0; needed where there are several
    #[arg(long, value_name = "NAME", requires = "config")]
    section: Option<String>,
}

impl ConfigArgs {
    /// The section that is meant, with a note for each warning; `None` without a file.
    ///
    /// # Errors
    /// One line.
    pub(crate) fn section(&self) -> Result<Option<Section>, String> {
        if self.config.is_empty() {
            return Ok(None);
        }
        let loaded = load(&self.config, ram_mib()?).map_err(|error| error.to_string())?;
        let section =
            choose(&loaded, self.section.as_deref()).map_err(|error| error.to_string())?;
        for warning in &loaded.warnings {
            output::note(warning);
        }
        Ok(Some(section))
    }
}

/// What the files say.
#[derive(Debug)]
struct Config {
    /// Devices by name, in order of their numbers.
    sections: Vec<Section>,
    /// What is passed over, a line each.
    warnings: Vec<String>,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// It cannot be read.
    Read(PathBuf, io::Error),
    /// It is too long, or no text.
    NotAConfig(PathBuf),
    /// A line that is neither section nor setting.
    Syntax {
        /// `FILE:LINE`.
        at: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A value that its key does not take, or a key that cannot be had here.
    Value {
        /// `zram0: zram-size`.
        key: String,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// No section for a device, or none of that name.
    NoSection(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NotAConfig(path) => {
                write!(f, "{}: not a text of at most 1 MiB", path.display())
            }
            Self::Syntax { at, expected } => write!(f, "{at}: expected {expected}"),
            Self::Value { key, message } => write!(f, "{key}: {message}"),
            Self::NoSection(text) => f.write_str(text),
        }
    }
}

/// Reads files one after the other; what a later one says of a key replaces what was said before.
/// `ram_mib` is the machine's memory in MiB.
///
/// # Errors
/// [`ConfigError`].
fn load(files: &[PathBuf], ram_mib: u64) -> Result<Config, ConfigError> {
    let mut settings = ini::Settings::default();
    for path in files {
        let text = read(path)?;
        settings.add(&path.display().to_string(), &text)?;
    }
    interpret(settings, ram_mib, program::run)
}

/// The one device that is meant.
///
/// # Errors
/// [`ConfigError::NoSection`]: none, or several and no name.
fn choose(config: &Config, name: Option<&str>) -> Result<Section, ConfigError> {
    let names: Vec<&str> = config
        .sections
        .iter()
        .map(|section| &*section.name)
        .collect();
    let found = match (name, config.sections.as_slice()) {
        (_, []) => {
            return Err(ConfigError::NoSection(
                "no section such as [zram0]".to_owned(),
            ));
        }
        (None, [only]) => Some(only),
        (name, sections) => sections.iter().find(|section| Some(&*section.name) == name),
    };
    found.cloned().ok_or_else(|| {
        let names = names.join(", ");
        ConfigError::NoSection(match name {
            Some(name) => format!("no section [{name}]; there are {names}"),
            None => format!("there are several sections; choose one with --section: {names}"),
        })
    })
}

fn interpret(
    settings: ini::Settings,
    ram_mib: u64,
    run: impl Fn(&str) -> Result<String, String>,
) -> Result<Config, ConfigError> {
    let mut warnings = settings.warnings;
    let mut names = BTreeMap::from([("ram".to_owned(), ram_mib as f64)]);
    for (name, command) in settings.programs {
        let failed = |message: String| ConfigError::Value {
            key: format!("set!{name}"),
            message,
        };
        let output = run(&command).map_err(failed)?;
        let value = expression::evaluate(output.trim(), &names)
            .map_err(|error| failed(error.to_string()))?;
        names.insert(name, value);
    }
    let mut sections = Vec::new();
    for (name, keys) in settings.sections {
        sections.push(Section::read(&name, &keys, &names, &mut warnings)?);
    }
    // zram2 before zram10.
    sections.sort_by_key(|section| (section.name.len(), section.name.clone()));
    Ok(Config { sections, warnings })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |error| ConfigError::Read(path.to_owned(), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(FILE_MAX + 1).read_to_end(&mut bytes);
    match read.map_err(failed)? as u64 > FILE_MAX {
        true => Err(ConfigError::NotAConfig(path.to_owned())),
        false => String::from_utf8(bytes).map_err(|_| ConfigError::NotAConfig(path.to_owned())),
    }
}

/// This machine's memory in MiB: MemTotal.
///
/// # Errors
/// One line.
fn ram_mib() -> Result<u64, String> {
    use procfs::Current;
    let memory = procfs::Meminfo::current().map_err(|error| format!("/proc/meminfo: {error}"))?;
    Ok(memory.mem_total >> 20)
}

#[cfg(test)]
mod tests;
