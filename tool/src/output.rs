//! Files that appear whole or not at all, and a standard output that may be closed early.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;

/// A file under construction: its content appears under its name with [`publish`](Self::publish) and not before.
///
/// It has no name until then where the file system allows it (`O_TMPFILE`), so that not even a killed process leaves
/// something behind; elsewhere it has a hidden name beside its target, removed on failure.
pub(crate) struct OutputFile {
    target: PathBuf,
    file: File,
    state: State,
}

enum State {
    /// Without a name as yet.
    Unnamed,
    /// Under this name, until it is renamed.
    Named(PathBuf),
    /// A device, pipe or socket: written as it comes.
    Direct,
}

impl OutputFile {
    /// Starts a file that will be `target`, readable as `mode` and the process's umask say. What is there already is
    /// replaced when the file is published, and untouched until then.
    ///
    /// # Errors
    /// Where the directory is missing or cannot be written.
    pub(crate) fn create(target: &Path, mode: u32) -> Result<Self, String> {
        Self::open(target, mode).map_err(|error| cannot_write(target, &error))
    }

    fn open(target: &Path, mode: u32) -> io::Result<Self> {
        // Where the target is a link, what it points to is replaced, not the link.
        let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
        if let Ok(metadata) = target.metadata() {
            if metadata.is_dir() {
                return Err(io::Error::from_raw_os_error(libc::EISDIR));
            }
            if !metadata.is_file() {
                let file = OpenOptions::new().write(true).open(&target)?;
                return Ok(OutputFile {
                    target,
                    file,
                    state: State::Direct,
                });
            }
            // Replacing needs the directory's permission only; respect the file's own all the same.
            OpenOptions::new().append(true).open(&target)?;
        }
        if target.file_name().is_none() {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        let unnamed = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_TMPFILE)
            .mode(mode)
            .open(directory_of(&target));
        let (file, state) = match unnamed {
            Ok(file) => (file, State::Unnamed),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
                ) =>
            {
                let name = hidden_name(&target);
                (
                    OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .mode(mode)
                        .open(&name)?,
                    State::Named(name),
                )
            }
            Err(error) => return Err(error),
        };
        Ok(OutputFile {
            target,
            file,
            state,
        })
    }

    /// Makes the content appear under its name.
    ///
    /// # Errors
    /// Where the file system refuses; nothing is left then.
    pub(crate) fn publish(mut self) -> Result<(), String> {
        self.publish_inner()
            .map_err(|error| cannot_write(&self.target, &error))
    }

    fn publish_inner(&mut self) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        self.file.flush()?;
        if let State::Unnamed = self.state {
            let name = hidden_name(&self.target);
            let descriptor = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
            nix::unistd::linkat(
                AT_FDCWD,
                &descriptor,
                AT_FDCWD,
                &name,
                AtFlags::AT_SYMLINK_FOLLOW,
            )?;
            self.state = State::Named(name);
        }
        if let State::Named(name) = &self.state {
            std::fs::rename(name, &self.target)?;
            self.state = State::Direct;
        }
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let State::Named(name) = &self.state {
            let _ = std::fs::remove_file(name);
        }
    }
}

/// One line for a file that cannot be written.
pub(crate) fn cannot_write(target: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{}: cannot write: no such directory; make it first",
            target.display()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "{}: cannot write: permission denied; name a place of your own",
            target.display()
        ),
        io::ErrorKind::IsADirectory => format!(
            "{}: cannot write: is a directory; name a file in it",
            target.display()
        ),
        _ => format!("{}: cannot write: {error}", target.display()),
    }
}

fn directory_of(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn hidden_name(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    directory_of(target).join(name)
}

/// Writes to standard output. A reader that has gone away is no error: it has what it wanted.
///
/// # Errors
/// Any other failure, such as a full disk.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// A remark for the user, on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "compcache: note: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        dir.read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_appears_when_published_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        std::fs::write(&target, "old").unwrap();
        let mut file = OutputFile::create(&target, 0o666).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        file.publish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn an_abandoned_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = OutputFile::create(&dir.path().join("out"), 0o666).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = OutputFile::create(&link, 0o666).unwrap();
        file.write_all(b"new").unwrap();
        file.publish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn devices_are_written_not_replaced() {
        let mut file = OutputFile::create(Path::new("/dev/null"), 0o666).unwrap();
        file.write_all(b"gone").unwrap();
        file.publish().unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = OutputFile::create(Path::new("/nonexistent/x.json"), 0o666)
            .err()
            .unwrap();
        assert!(
            error.contains("/nonexistent/x.json") && error.contains("no such directory"),
            "{error}"
        );
        assert!(OutputFile::create(Path::new("/tmp"), 0o666).is_err());
    }
}
