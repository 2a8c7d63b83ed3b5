//! Which front ends this kernel has, and the best of them.

use core::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use compcache_device::Device;

/// A device that the kernel sees.
pub(crate) trait Attached {
    /// Its name in `/dev`.
    fn path(&self) -> &Path;

    /// Takes it down. Swap has to be off.
    ///
    /// # Errors
    /// One line; it is still served then, and this can be tried again.
    fn stop(&mut self) -> Result<(), String>;
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// The best that this kernel has
    Auto,
    /// The driver ublk_drv: the fast way, Linux 6.0 and newer
    #[cfg(feature = "ublk")]
    Ublk,
    /// FUSE and a loop device: any kernel
    #[cfg(feature = "fuse")]
    Fuse,
}

/// A way for the kernel to reach the device, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    #[cfg(feature = "ublk")]
    Ublk,
    #[cfg(feature = "fuse")]
    Fuse,
}

/// What a way needs.
struct Needs {
    /// Files that open for writing if the kernel has it.
    files: &'static [&'static str],
    /// Modules that bring them.
    modules: &'static [&'static str],
}

impl Via {
    const ALL: &[Self] = &[
        #[cfg(feature = "ublk")]
        Self::Ublk,
        #[cfg(feature = "fuse")]
        Self::Fuse,
    ];

    const fn needs(self) -> Needs {
        match self {
            #[cfg(feature = "ublk")]
            Self::Ublk => Needs {
                files: &["/dev/ublk-control"],
                modules: &["ublk_drv"],
            },
            #[cfg(feature = "fuse")]
            Self::Fuse => Needs {
                files: &["/dev/fuse", "/dev/loop-control"],
                modules: &["fuse", "loop"],
            },
        }
    }

    /// What is done between making the device and writing the header, for `--dry-run`.
    pub(crate) const fn steps(self) -> &'static [&'static str] {
        match self {
            #[cfg(feature = "ublk")]
            Self::Ublk => &["serve it to the kernel's ublk driver, which makes /dev/ublkbN"],
            #[cfg(feature = "fuse")]
            Self::Fuse => &[
                "serve it as a file (FUSE), mounted where only this process sees it",
                "set up a loop device over the file, with direct I/O",
            ],
        }
    }

    /// Makes the device appear in `/dev`.
    ///
    /// # Errors
    /// One line with the next step; nothing is left behind then.
    pub(crate) fn attach(self, device: &Arc<Device>) -> Result<Box<dyn Attached>, String> {
        match self {
            #[cfg(feature = "ublk")]
            Self::Ublk => super::ublk::attach(device),
            #[cfg(feature = "fuse")]
            Self::Fuse => super::fuse::attach(device),
        }
    }

    /// The first file that is missing, after an attempt to load what brings it.
    fn missing(self, dry_run: bool) -> Option<String> {
        let needs = self.needs();
        let closed = |path: &&&str| File::options().read(true).write(true).open(path).err();
        let first = || {
            let mut files = needs.files.iter();
            files.find_map(|path| closed(&path).map(|error| format!("{path}: {error}")))
        };
        first()?;
        let can_load = needs.modules.iter().all(|module| modprobe(module, dry_run));
        match dry_run && can_load {
            true => None,
            false => first(),
        }
    }
}

/// Loads a module, or only looks whether it could be.
fn modprobe(module: &str, dry_run: bool) -> bool {
    let mut command = Command::new("modprobe");
    command.arg("--quiet");
    if dry_run {
        command.arg("--dry-run");
    }
    command
        .arg(module)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The way to take.
///
/// # Errors
/// One line: what is missing, and what to do.
pub(crate) fn choose(choice: Choice, dry_run: bool) -> Result<Via, String> {
    if !Path::new("/proc/swaps").exists() {
        return Err("this kernel cannot swap, or /proc is not mounted; \
                    boot one with CONFIG_SWAP"
            .to_owned());
    }
    let wanted: Vec<Via> = Via::ALL
        .iter()
        .copied()
        .filter(|&via| choice == Choice::Auto || choice == Choice::from(via))
        .collect();
    let mut missing = Vec::new();
    for via in wanted {
        match via.missing(dry_run) {
            None => return Ok(via),
            Some(text) => missing.push((via, text)),
        }
    }
    if missing.is_empty() {
        return Err("this build has no front end for the kernel; \
                    build it with one of the features ublk, nbd, fuse"
            .to_owned());
    }
    Err(nothing_found(&missing))
}

fn nothing_found(missing: &[(Via, String)]) -> String {
    let reasons: Vec<String> = missing
        .iter()
        .map(|(via, text)| format!("{via} ({text})"))
        .collect();
    let commands: Vec<String> = missing
        .iter()
        .map(|(via, _)| format!("'modprobe -a {}'", via.needs().modules.join(" ")))
        .collect();
    let root = match nix::unistd::geteuid().is_root() {
        true => "",
        false => "as root ",
    };
    format!(
        "this kernel shows no way to a block device: {}; try {root}{}, or boot a kernel that has one of them",
        reasons.join(", "),
        commands.join(" or ")
    )
}

impl From<Via> for Choice {
    fn from(via: Via) -> Self {
        match via {
            #[cfg(feature = "ublk")]
            Via::Ublk => Self::Ublk,
            #[cfg(feature = "fuse")]
            Via::Fuse => Self::Fuse,
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "ublk")]
            Self::Ublk => "ublk",
            #[cfg(feature = "fuse")]
            Self::Fuse => "FUSE and loop",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_one_line_with_the_next_step() {
        let missing: Vec<(Via, String)> = Via::ALL
            .iter()
            .map(|&via| (via, "/dev/x: No such file or directory".to_owned()))
            .collect();
        let text = nothing_found(&missing);
        assert!(
            !text.contains('\n') && text.contains("modprobe -a "),
            "{text}"
        );
        assert_eq!(text.matches("/dev/x").count(), Via::ALL.len());
    }

    #[test]
    fn a_module_that_does_not_exist_cannot_be_loaded() {
        assert!(!modprobe("compcache_no_such_module", true));
    }
}
