//! zram's attributes by name, in the formats of /sys/block/zram0.
//!
//! | attribute | read | set |
//! |---|---|---|
//! | `mm_stat`, `io_stat`, `debug_stat` | as zram's files | |
//! | `disksize`, `comp_algorithm`, `max_comp_streams`, `initstate` | as zram's files | |
//! | `mem_limit` | bytes (zram: not readable) | a size, 0 for no limit |
//! | `mem_used_max` | bytes (zram: not readable) | 0 starts it again |
//! | `compact` | | packs the pages, whatever the value |
//! | `reset` | | forgets all pages; refused while clients are connected, and to a device that is mounted or swapped to |
//! | `recomp_algorithm` | as zram's file | settled once the device is up |
//! | `recompress`, `idle`, `writeback` | | as zram's files |
//! | `writeback_limit`, `writeback_limit_enable` | as zram's files | as zram's files |
//! | `backing_dev` | as zram's file | `PATH`, `PATH size=16G`; once |
//! | `bd_stat` | as zram's file | |
//! | `tiers` | in which forms pages are: `name value` a line | |
//! | `policy` | what is done by itself: `turn=30 cold_age=2 ...` | any of these |
//! | `merge` | | keeps same and similar pages once, now |

use std::fmt;
use std::str::FromStr;

use super::change::{Change, policy_text};
use super::protocol::{Failure, FailureKind, Tiers};
use super::subject::Subject;
use super::work::{self, Report};

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    MmStat,
    IoStat,
    DebugStat,
    Disksize,
    CompAlgorithm,
    MaxCompStreams,
    Initstate,
    MemLimit,
    MemUsedMax,
    Compact,
    Reset,
    RecompAlgorithm,
    Recompress,
    Idle,
    Writeback,
    WritebackLimit,
    WritebackLimitEnable,
    BackingDev,
    BdStat,
    Tiers,
    Policy,
    Merge,
}

/// All of them.
const ATTRIBUTES: [(Attribute, &str, Access); 22] = [
    (Attribute::MmStat, "mm_stat", Access::Read),
    (Attribute::IoStat, "io_stat", Access::Read),
    (Attribute::DebugStat, "debug_stat", Access::Read),
    (Attribute::Disksize, "disksize", Access::Read),
    (Attribute::CompAlgorithm, "comp_algorithm", Access::Read),
    (Attribute::MaxCompStreams, "max_comp_streams", Access::Read),
    (Attribute::Initstate, "initstate", Access::Read),
    (Attribute::MemLimit, "mem_limit", Access::Both),
    (Attribute::MemUsedMax, "mem_used_max", Access::Both),
    (Attribute::Compact, "compact", Access::Act),
    (Attribute::Reset, "reset", Access::Act),
    (Attribute::RecompAlgorithm, "recomp_algorithm", Access::Both),
    (Attribute::Recompress, "recompress", Access::Write),
    (Attribute::Idle, "idle", Access::Write),
    (Attribute::Writeback, "writeback", Access::Write),
    (Attribute::WritebackLimit, "writeback_limit", Access::Both),
    (
        Attribute::WritebackLimitEnable,
        "writeback_limit_enable",
        Access::Both,
    ),
    (Attribute::BackingDev, "backing_dev", Access::Both),
    (Attribute::BdStat, "bd_stat", Access::Read),
    (Attribute::Tiers, "tiers", Access::Read),
    (Attribute::Policy, "policy", Access::Both),
    (Attribute::Merge, "merge", Access::Act),
];

/// What can be done with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Both,
    /// What is done is said by the value; there is nothing to read.
    Write,
    /// Something is done; the value is 1.
    Act,
}

impl Attribute {
    fn access(self) -> Access {
        let found = ATTRIBUTES.iter().find(|row| row.0 == self);
        found.map_or(Access::Read, |row| row.2)
    }

    /// Whether naming it without a value means to do it.
    pub(crate) fn acts(self) -> bool {
        self.access() == Access::Act
    }

    /// Whether it says anything.
    pub(crate) fn is_readable(self) -> bool {
        matches!(self.access(), Access::Read | Access::Both)
    }

    /// The text of its file, with the newline.
    ///
    /// # Errors
    /// [`FailureKind::Invalid`] where there is nothing to read.
    pub(crate) fn get(self, subject: &Subject) -> Result<String, Failure> {
        let device = &subject.device;
        let mm = || device.mm_stat();
        Ok(match self {
            Self::MmStat => format!("{}\n", mm()),
            Self::IoStat => {
                let io = device.io_stat();
                let (reads, writes) = (io.failed_reads, io.failed_writes);
                let (invalid, free) = (io.invalid_io, io.notify_free);
                format!("{reads:8} {writes:8} {invalid:8} {free:8}\n")
            }
            // Writers that waited for memory, frees that found their slot locked: neither happens.
            Self::DebugStat => format!("version: 1\n{:8} {:8}\n", 0, 0),
            Self::Disksize => format!("{}\n", subject.status().disksize),
            Self::CompAlgorithm => algorithms(&subject.codec.to_string()),
            Self::MaxCompStreams => format!("{}\n", subject.streams()),
            Self::Initstate => "1\n".to_owned(),
            Self::MemLimit => format!("{}\n", mm().mem_limit),
            Self::MemUsedMax => format!("{}\n", mm().mem_used_max),
            Self::RecompAlgorithm => recomp_algorithms(&device.cache().codec().to_string()),
            Self::WritebackLimit => format!("{}\n", device.writeback_limit().0),
            Self::WritebackLimitEnable => {
                format!("{}\n", u8::from(device.writeback_limit().1))
            }
            Self::BackingDev => match device.backing_path() {
                Some(path) => format!("{}\n", path.display()),
                None => "none\n".to_owned(),
            },
            Self::BdStat => {
                let stat = device.stat();
                // In units of 4 KiB, as zram counts.
                let (reads, writes) = (stat.backing.read >> 12, stat.backing.written >> 12);
                format!("{:8} {reads:8} {writes:8}\n", stat.tiers.bd_count())
            }
            Self::Tiers => tiers_text(&subject.status().tiers),
            Self::Policy => policy_text(&device.tiered().policy()),
            Self::Compact
            | Self::Reset
            | Self::Recompress
            | Self::Idle
            | Self::Writeback
            | Self::Merge => {
                let message = format!("{self}: there is nothing to read");
                return Err(Failure::new(FailureKind::Invalid, message));
            }
        })
    }

    /// Sets it. What takes long tells `report` how far it is, and ends when that says so. Returns what was
    /// done, `name value` a line; nothing where there is nothing to count.
    ///
    /// # Errors
    /// [`FailureKind::Invalid`] for a value that it does not take, [`FailureKind::Busy`] where
    /// the device is in use, or what is asked for is settled once it is up.
    pub(crate) fn set(
        self,
        value: &str,
        subject: &Subject,
        report: &mut Report<'_>,
    ) -> Result<String, Failure> {
        let change = Change::parse(self, value).map_err(|message| invalid(self, &message))?;
        match change {
            Change::MemLimit(bytes) => subject.device.set_mem_limit(bytes),
            Change::MemUsedMax => subject.device.cache().reset_mem_used_max(),
            Change::Compact => drop(subject.device.cache().compact(u64::MAX)),
            Change::Reset => {
                return subject.reset().map(|()| String::new()).map_err(|text| {
                    let message = format!("reset: Device or resource busy ({text})");
                    Failure::new(FailureKind::Busy, message)
                });
            }
            change => return work::do_it(self, change, subject, report),
        }
        Ok(String::new())
    }

    /// Whether it can be set at all.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn settable(self) -> Result<(), String> {
        match (self.access(), self) {
            (Access::Read, Self::Disksize | Self::CompAlgorithm) => {
                Err("cannot be changed while the device is up; start a new one".to_owned())
            }
            (Access::Read, _) => Err("cannot be set".to_owned()),
            _ => Ok(()),
        }
    }
}

pub(super) fn invalid(attribute: Attribute, message: &str) -> Failure {
    Failure::new(FailureKind::Invalid, format!("{attribute}: {message}"))
}

/// `[lz4] lz4hc zstd raw`: the one in use in brackets.
fn algorithms(in_use: &str) -> String {
    marked(&["lz4", "lz4hc", "zstd", "raw"], in_use) + "\n"
}

/// A line for each of the denser codecs: `#1: lz4hc [zstd:6]`.
fn recomp_algorithms(ladder: &str) -> String {
    let rungs = ladder.split_ascii_whitespace().skip(1).zip(1..);
    let lines =
        rungs.map(|(codec, rung)| format!("#{rung}: {}\n", marked(&["lz4hc", "zstd"], codec)));
    lines.collect()
}

fn marked(names: &[&str], in_use: &str) -> String {
    let family = in_use.split(':').next().unwrap_or(in_use);
    let names = names.iter().map(|&name| match name == family {
        true => format!("[{in_use}]"),
        false => name.to_owned(),
    });
    names.collect::<Vec<_>>().join(" ")
}

/// `name value` a line.
fn tiers_text(tiers: &Tiers) -> String {
    let lines = tiers.counts().into_iter();
    let mut text: String = lines
        .map(|(name, value)| format!("{name} {value}\n"))
        .collect();
    text.push_str(&format!("effective_ratio {:.3}\n", tiers.effective_ratio()));
    text
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = ATTRIBUTES.iter().find(|row| row.0 == *self);
        f.write_str(found.map_or("?", |row| row.1))
    }
}

impl FromStr for Attribute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = ATTRIBUTES.iter().find(|row| row.1 == text);
        found.map(|row| row.0).ok_or_else(|| {
            let names: Vec<&str> = ATTRIBUTES.iter().map(|row| row.1).collect();
            format!("no such attribute; expected one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::subject::{HeldUsers, Users};
    use super::*;
    use compcache_device::{BlockDevice, Config, Device};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// So many clients as it says.
    struct Counted(Arc<AtomicUsize>);

    impl Users for Counted {
        fn clients(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }

        fn hold(&self) -> Result<Box<dyn HeldUsers + '_>, String> {
            match Users::clients(self) {
                MOUNTED => Err("/dev/x is in use".to_owned()),
                _ => Ok(Box::new(Counted(Arc::clone(&self.0)))),
            }
        }
    }

    impl HeldUsers for Counted {
        fn clients(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// As if a file system were mounted on it.
    const MOUNTED: usize = usize::MAX;

    fn subject(clients: &Arc<AtomicUsize>) -> Subject {
        Subject::new(
            "x".parse().unwrap(),
            &Arc::new(Device::new(Config::new(1 << 20)).unwrap()),
            vec![],
            Box::new(Counted(Arc::clone(clients))),
        )
    }

    #[test]
    fn names_are_zrams() {
        for (attribute, name, _) in ATTRIBUTES {
            assert_eq!(name.parse(), Ok(attribute));
            assert_eq!(attribute.to_string(), name);
        }
        assert!(
            "bd_state"
                .parse::<Attribute>()
                .unwrap_err()
                .contains("mm_stat")
        );
    }

    #[test]
    fn formats_are_zrams() {
        let subject = subject(&Arc::default());
        let get = |attribute: Attribute| attribute.get(&subject).unwrap();
        // Taken from /sys/block/zram0 of Linux 6.18.
        let zeroes = "       0        0        0        0";
        assert_eq!(get(Attribute::IoStat), format!("{zeroes}\n"));
        assert_eq!(
            get(Attribute::MmStat),
            format!("{zeroes} {zeroes}        0\n")
        );
        assert_eq!(get(Attribute::DebugStat), "version: 1\n       0        0\n");
        assert_eq!(get(Attribute::Disksize), "1048576\n");
        assert_eq!(get(Attribute::CompAlgorithm), "[lz4] lz4hc zstd raw\n");
        assert_eq!(algorithms("zstd:3"), "lz4 lz4hc [zstd:3] raw\n");
        assert_eq!(get(Attribute::RecompAlgorithm), "");
        assert_eq!(
            recomp_algorithms("lz4 lz4hc zstd:6"),
            "#1: [lz4hc] zstd\n#2: lz4hc [zstd:6]\n"
        );
        assert_eq!(get(Attribute::BdStat), "       0        0        0\n");
        assert_eq!(get(Attribute::BackingDev), "none\n");
        assert_eq!(get(Attribute::WritebackLimit), "0\n");
        assert_eq!(get(Attribute::WritebackLimitEnable), "0\n");
        assert_eq!(get(Attribute::Initstate), "1\n");
        assert!(Attribute::Reset.get(&subject).is_err());
    }

    #[test]
    fn what_can_be_set_is_set_and_the_rest_is_refused() {
        let clients = Arc::default();
        let subject = subject(&clients);
        let set = |attribute: Attribute, value: &str| {
            attribute.set(value, &subject, &mut Report::silent())
        };
        set(Attribute::MemLimit, "64K").unwrap();
        assert_eq!(Attribute::MemLimit.get(&subject).unwrap(), "65536\n");
        set(Attribute::MemLimit, "0\n").unwrap();
        assert_eq!(Attribute::MemLimit.get(&subject).unwrap(), "0\n");
        set(Attribute::Compact, "1").unwrap();
        set(Attribute::MemUsedMax, "0").unwrap();
        for (attribute, value) in [
            (Attribute::MemUsedMax, "1"),
            (Attribute::MemLimit, "-1"),
            (Attribute::MemLimit, ""),
            (Attribute::MmStat, "1"),
            (Attribute::Disksize, "1G"),
            (Attribute::Reset, "0"),
        ] {
            let failure = set(attribute, value).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Invalid, "{attribute} {value}");
        }
        subject.device.write(0, &[7; 4096]).unwrap();
        for (users, part) in [
            (2, "2 clients"),
            (1, "1 client"),
            (MOUNTED, "/dev/x is in use"),
        ] {
            clients.store(users, Ordering::Relaxed);
            let failure = set(Attribute::Reset, "1").unwrap_err();
            assert_eq!(failure.kind, FailureKind::Busy);
            let expected = format!("reset: Device or resource busy ({part}");
            assert!(failure.message.starts_with(&expected), "{failure:?}");
            assert_eq!(subject.status().orig_data_size, 4096);
        }
        clients.store(0, Ordering::Relaxed);
        set(Attribute::Reset, "1").unwrap();
        assert_eq!(subject.status().orig_data_size, 0);
    }
}
