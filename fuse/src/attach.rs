//! Where the file system is.
//!
//! At a directory, for whoever wants the file; or nowhere: a mount that only this process holds.
//! The second kind leaves nothing behind when the process is killed, since the kernel takes down
//! a mount that nobody holds and that has no place.

use core::fmt;
use fuser::{BackgroundSession, Filesystem, MountOption, Session, SessionACL};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, unmount,
};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const CONTROL: &str = "/dev/fuse";
/// The type of the file system in `/proc/mounts` is `fuse.compcache` then; `fuse` where root mounts it
/// at a directory, which fuser does without.
const SUBTYPE: &str = "compcache";
const SOURCE: &str = "compcache";

/// Where the file system is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this directory, which has to be there.
    Directory(PathBuf),
    /// Nowhere; for a loop device. Needs root.
    Hidden,
}

/// Why it cannot be there.
#[derive(Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// `/dev/fuse` cannot be used.
    Control(io::Error),
    /// The kernel refuses to mount.
    Mount {
        /// Where; none for [`Place::Hidden`].
        directory: Option<PathBuf>,
        /// Why.
        error: io::Error,
    },
    /// The mount of a server that is gone cannot be removed.
    Stale {
        /// Where.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(error) => write!(f, "{CONTROL}: {error}"),
            Self::Mount { directory, error } => match directory {
                Some(directory) => write!(f, "{}: cannot mount: {error}", directory.display()),
                None => write!(f, "cannot mount FUSE: {error}"),
            },
            Self::Stale { directory, error } => write!(
                f,
                "{}: the mount of a server that is gone cannot be removed: {error}",
                directory.display()
            ),
        }
    }
}

impl core::error::Error for AttachError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Control(error) | Self::Mount { error, .. } | Self::Stale { error, .. } => {
                Some(error)
            }
        }
    }
}

fn config(threads: usize, read_only: bool) -> fuser::Config {
    let mut config = fuser::Config::default();
    config.mount_options = vec![
        MountOption::FSName(SOURCE.into()),
        MountOption::Subtype(SUBTYPE.into()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
    ];
    if read_only {
        config.mount_options.push(MountOption::RO);
    }
    config.acl = SessionACL::Owner;
    config.n_threads = Some(threads);
    // A queue for each thread.
    config.clone_fd = true;
    config
}

/// Mounts at a directory. Without root, `fusermount3` does it.
pub(crate) fn at_directory(
    filesystem: impl Filesystem,
    directory: &Path,
    threads: usize,
    read_only: bool,
) -> Result<BackgroundSession, AttachError> {
    clear_stale(directory)?;
    Session::new(filesystem, directory, &config(threads, read_only))
        .and_then(Session::spawn)
        .map_err(|error| AttachError::Mount {
            directory: Some(directory.to_owned()),
            error,
        })
}

/// Mounts nowhere, and opens a file of it.
pub(crate) fn hidden(
    filesystem: impl Filesystem,
    name: &str,
    threads: usize,
) -> Result<(BackgroundSession, OwnedFd), AttachError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let control =
        open(CONTROL, flags, Mode::empty()).map_err(|error| AttachError::Control(error.into()))?;
    let refused = |error: io::Error| AttachError::Mount {
        directory: None,
        error,
    };
    let mount = mount_nowhere(&control).map_err(|error| refused(error.into()))?;
    let session = Session::from_fd(
        filesystem,
        control,
        SessionACL::Owner,
        config(threads, false),
    )
    .and_then(Session::spawn)
    .map_err(refused)?;
    // The file keeps the mount.
    let file = openat(mount, name, flags | OFlags::DIRECT, Mode::empty())
        .map_err(|error| refused(error.into()))?;
    Ok((session, file))
}

fn mount_nowhere(control: &OwnedFd) -> Result<OwnedFd, Errno> {
    let filesystem = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let options = [
        ("source", SOURCE.to_owned()),
        ("subtype", SUBTYPE.to_owned()),
        ("fd", control.as_raw_fd().to_string()),
        ("rootmode", "40500".to_owned()),
        ("user_id", uid.as_raw().to_string()),
        ("group_id", gid.as_raw().to_string()),
    ];
    for (key, value) in options {
        fsconfig_set_string(&filesystem, key, value)?;
    }
    fsconfig_create(&filesystem)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Takes the mount at a directory away.
pub(crate) fn detach_from(directory: &Path) -> io::Result<()> {
    match unmount(directory, UnmountFlags::empty()) {
        // Only root may; the helper of FUSE is for everybody else.
        Err(Errno::PERM) => helper_unmount(directory),
        result => result.map_err(Into::into),
    }
}

fn helper_unmount(directory: &Path) -> io::Result<()> {
    let output = std::process::Command::new("fusermount3")
        .args(["-u", "--"])
        .arg(directory)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(text.trim().to_owned()))
        }
    }
}

/// Removes what a server that was killed has left mounted at a directory: true if there was such a
/// mount.
///
/// # Errors
/// [`AttachError::Stale`].
pub fn clear_stale(directory: &Path) -> Result<bool, AttachError> {
    // A live server answers, and a directory without a mount does as well. Not stat(2), which the
    // kernel answers out of its own memory for a while.
    let is_dead = matches!(rustix::fs::statfs(directory), Err(Errno::NOTCONN));
    if !is_dead || !is_ours(directory) {
        return Ok(false);
    }
    detach_from(directory)
        .or_else(|_| unmount(directory, UnmountFlags::DETACH).map_err(io::Error::from))
        .map_err(|error| AttachError::Stale {
            directory: directory.to_owned(),
            error,
        })?;
    Ok(true)
}

/// Whether a file system of this kind is mounted at a directory.
fn is_ours(directory: &Path) -> bool {
    // A dead mount cannot be resolved itself, its parent can.
    let (parent, name) = (directory.parent(), directory.file_name());
    let parent = match parent {
        Some(parent) if !parent.as_os_str().is_empty() => parent.canonicalize(),
        _ => Path::new(".").canonicalize(),
    };
    let (Ok(parent), Some(name)) = (parent, name) else {
        return false;
    };
    let directory = parent.join(name);
    let mounts = std::fs::read("/proc/self/mounts").unwrap_or_default();
    mounts.split(|&byte| byte == b'\n').any(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let (source, place, kind) = (fields.next(), fields.next(), fields.next());
        source == Some(SOURCE.as_bytes())
            && [Some(&b"fuse"[..]), Some(&b"fuse.compcache"[..])].contains(&kind)
            && place
                .is_some_and(|place| unescape(place).as_bytes() == directory.as_os_str().as_bytes())
    })
}

/// `/proc/self/mounts` has blanks and backslashes of names as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut name = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            name.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(3).collect();
        let code = str::from_utf8(&digits)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        name.extend(code);
    }
    OsString::from_vec(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_mount_has_no_stale_one() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!clear_stale(directory.path()).unwrap());
        assert!(!clear_stale(&directory.path().join("missing")).unwrap());
        assert!(!is_ours(directory.path()) && !is_ours(Path::new("/")));
    }

    #[test]
    fn names_of_mounts_are_read() {
        assert_eq!(unescape(b"/a\\040b\\134c"), "/a b\\c");
    }
}
