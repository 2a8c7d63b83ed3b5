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

use std::fmt;
use std::str::FromStr;

use super::protocol::{Failure, FailureKind};
use super::subject::Subject;
use crate::units;

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
}

/// All of them.
const ATTRIBUTES: [(Attribute, &str, Access); 11] = [
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
];

/// What can be done with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Both,
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

    /// The text of its file, with the newline.
    ///
    /// # Errors
    /// [`FailureKind::Invalid`] where there is nothing to read.
    pub(crate) fn get(self, subject: &Subject) -> Result<String, Failure> {
        let mm = || subject.device.cache().mm_stat();
        Ok(match self {
            Self::MmStat => format!("{}\n", mm()),
            Self::IoStat => {
                let io = subject.device.io_stat();
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
            Self::Compact | Self::Reset => {
                let message = format!("{self}: there is nothing to read");
                return Err(Failure::new(FailureKind::Invalid, message));
            }
        })
    }

    /// Sets it.
    ///
    /// # Errors
    /// [`FailureKind::Invalid`] for a value that it does not take, [`FailureKind::Busy`] where
    /// the device is in use, or what is asked for is settled once it is up.
    pub(crate) fn set(self, value: &str, subject: &Subject) -> Result<(), Failure> {
        let parsed = self.settable().and_then(|()| value.parse());
        let value = parsed
            .and_then(|value: Value| self.check(value).map(|()| value))
            .map_err(|message| invalid(self, &message))?;
        match self {
            Self::MemLimit => subject.device.set_mem_limit(value.0),
            Self::MemUsedMax => subject.device.cache().reset_mem_used_max(),
            Self::Compact => drop(subject.device.cache().compact(u64::MAX)),
            Self::Reset => {
                return subject.reset().map_err(|text| {
                    let message = format!("reset: Device or resource busy ({text})");
                    Failure::new(FailureKind::Busy, message)
                });
            }
            _ => {}
        }
        Ok(())
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

    /// Whether it takes this value.
    ///
    /// # Errors
    /// What it takes.
    pub(crate) fn check(self, value: Value) -> Result<(), String> {
        match (self, value.0) {
            (Self::MemUsedMax, 1..) => Err("can be set to 0 only".to_owned()),
            (Self::Reset, 0) => Err("expected 1".to_owned()),
            _ => Ok(()),
        }
    }
}

fn invalid(attribute: Attribute, message: &str) -> Failure {
    Failure::new(FailureKind::Invalid, format!("{attribute}: {message}"))
}

/// `[lz4] zstd raw`: the one in use in brackets.
fn algorithms(in_use: &str) -> String {
    let family = in_use.split(':').next().unwrap_or(in_use);
    let names = ["lz4", "zstd", "raw"].map(|name| match name == family {
        true => format!("[{in_use}]"),
        false => name.to_owned(),
    });
    names.join(" ") + "\n"
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

/// What an attribute is set to: a number, or a size such as 1G.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) u64);

impl FromStr for Value {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // `parse_size` takes no zero, which means something here.
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|digit| digit == b'0') {
            return Ok(Self(0));
        }
        units::parse_size(text).map(|bytes| Self(bytes as u64))
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
            "bd_stat"
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
        assert_eq!(get(Attribute::CompAlgorithm), "[lz4] zstd raw\n");
        assert_eq!(algorithms("zstd:3"), "lz4 [zstd:3] raw\n");
        assert_eq!(get(Attribute::Initstate), "1\n");
        assert!(Attribute::Reset.get(&subject).is_err());
    }

    #[test]
    fn what_can_be_set_is_set_and_the_rest_is_refused() {
        let clients = Arc::default();
        let subject = subject(&clients);
        let set = |attribute: Attribute, value: &str| attribute.set(value, &subject);
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
