//! `serve --fuse`: a device that others use when the server is told to stop or to forget its pages.
//!
//! Needs root, `/dev/fuse` and loop devices.
#![cfg(feature = "fuse")]

mod common;
#[path = "common/serving.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod serving;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{assert_fails, assert_succeeds, compcache, names, run};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serving::{fio_verifies_mixed_sizes, has};

const PATIENCE: Duration = Duration::from_secs(30);

/// Says loudly that a test is skipped, and fails in CI where the kernel has what it needs.
fn permitted() -> bool {
    let missing: Vec<&str> = ["/dev/fuse", "/dev/loop-control"]
        .into_iter()
        .filter(|path| File::options().read(true).write(true).open(path).is_err())
        .collect();
    if missing.is_empty() {
        return true;
    }
    eprintln!("!!!! SKIPPED: {missing:?} cannot be used here");
    let absent = missing.iter().all(|path| !PathBuf::from(path).exists());
    assert!(
        absent || std::env::var("CI").as_deref() != Ok("true"),
        "the tests of FUSE and loop need root"
    );
    false
}

/// `compcache serve --fuse` in a directory of its own; killed on drop if it was not stopped.
struct Served {
    child: Child,
    /// Of its loop device, where it has one.
    device: PathBuf,
    dir: Arc<tempfile::TempDir>,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("place")).unwrap();
        Self::start_in(Arc::new(dir), arguments)
    }

    /// Another one, at the same place.
    fn again(&self, arguments: &[&str]) -> Self {
        Self::start_in(Arc::clone(&self.dir), arguments)
    }

    fn start_in(dir: Arc<tempfile::TempDir>, arguments: &[&str]) -> Self {
        let place = dir.path().join("place");
        let size = match arguments.contains(&"--size") {
            true => &[][..],
            false => &["--size", "16M"],
        };
        let mut child = compcache()
            .args(["serve", "--mlock", "off", "--fuse"])
            .arg(&place)
            .args(size)
            .arg("--control")
            .arg(dir.path().join("test.sock"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let count = 1 + usize::from(arguments.contains(&"--loop"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines: Vec<String> = stdout.lines().take(count).map(Result::unwrap).collect();
        if lines.len() < count {
            let mut text = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut text);
            panic!("it does not start: {text}");
        }
        let device = lines.last().and_then(|line| line.strip_prefix("loop "));
        Self {
            device: device.unwrap_or_default().into(),
            child,
            dir,
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("place/disk")
    }

    fn ctl(&self, attribute: &str) -> std::process::Output {
        let socket = self.dir.path().join("test.sock");
        run(&["ctl", socket.to_str().unwrap(), attribute])
    }

    fn signal(&self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, Signal::SIGTERM).unwrap();
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end: its status, and what it said on standard error.
    fn finish(&mut self) -> (Option<i32>, String) {
        let until = Instant::now() + PATIENCE;
        while self.is_running() {
            assert!(Instant::now() < until, "does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let place = self.dir.path().join("place");
        let _ = nix::mount::umount2(&place, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// As swap and file systems open a device.
fn claim(device: &PathBuf) -> File {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_EXCL);
    options.open(device).unwrap()
}

/// The signal to stop was looked at and not taken: a server that refused went on refusing, several
/// hundred thousand lines a second, and stopped by itself as soon as the device was free.
#[test]
fn a_signal_that_is_refused_is_refused_once() {
    if !permitted() {
        return;
    }
    let mut served = Served::start(&["--loop"]);
    let user = claim(&served.device);
    served.signal();
    std::thread::sleep(Duration::from_millis(1500));
    drop(user);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(served.is_running(), "it stopped long after the signal");
    served.signal();
    let (status, said) = served.finish();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(said.matches("still serving").count(), 1, "{said}");
    assert!(!served.file().exists());
}

/// The front ends that count no clients said that there were none: `reset` went through under a
/// mounted file system, and left nothing of it.
#[test]
fn a_device_that_is_used_is_not_reset() {
    if !permitted() {
        return;
    }
    let mut served = Served::start(&["--loop"]);
    let user = claim(&served.device);
    user.write_all_at(&[7; 4096], 0).unwrap();
    user.sync_all().unwrap();
    let busy = "reset: Device or resource busy (";
    assert_fails(&served.ctl("reset"), 1, &[busy, "unmount it"]);
    drop(user);
    let user = File::open(served.file()).unwrap();
    assert_fails(&served.ctl("reset"), 1, &[busy, "1 client connected"]);
    let mut page = [0; 4096];
    user.read_exact_at(&mut page, 0).unwrap();
    assert_eq!(page, [7; 4096]);
    drop(user);
    // The kernel tells of the closed file a moment later.
    let until = Instant::now() + PATIENCE;
    while !served.ctl("reset").status.success() {
        assert!(Instant::now() < until, "it is still in use");
    }
    assert!(assert_succeeds(&served.ctl("mm_stat")).starts_with("       0"));
    served.signal();
    assert_eq!(served.finish(), (Some(0), String::new()));
}

/// Only the loop device of our own was looked at: with the file open elsewhere, under a loop device of
/// the user's own and a file system on it for one, the server ended and took all of it along.
#[test]
fn a_file_that_is_open_is_not_taken_away() {
    if !permitted() {
        return;
    }
    for more in [&[][..], &["--loop"]] {
        let mut served = Served::start(more);
        let user = File::options().read(true).write(true).open(served.file());
        let user = user.unwrap();
        user.write_all_at(b"precious", 100).unwrap();
        served.signal();
        std::thread::sleep(Duration::from_millis(2500));
        assert!(served.is_running(), "it stopped with its file open");
        let mut back = [0; 8];
        user.read_exact_at(&mut back, 100).unwrap();
        assert_eq!(&back, b"precious");
        if !more.is_empty() {
            // Not the one without the other.
            drop(claim(&served.device));
        }
        drop(user);
        served.signal();
        let (status, said) = served.finish();
        assert_eq!(status, Some(0), "{said}");
        assert!(
            said.contains("is in use") && said.contains("still serving"),
            "{said}"
        );
        assert!(!served.file().exists());
    }
}

#[test]
fn fio_verifies_mixed_sizes_on_the_loop_device() {
    if !permitted() || !has("fio") {
        return;
    }
    let mut served = Served::start(&["--loop", "--size", "128M"]);
    let file = format!("--filename={}", served.device.display());
    let place = ["--ioengine=libaio", "--direct=1", &file];
    fio_verifies_mixed_sizes(served.dir.path(), &place);
    served.signal();
    assert_eq!(served.finish(), (Some(0), String::new()));
}

/// What SIGKILL leaves: a mount that nobody answers. The loop device goes by itself.
#[test]
fn a_killed_server_is_followed_by_the_next() {
    if !permitted() {
        return;
    }
    let mut first = Served::start(&["--loop"]);
    let device = claim(&first.device);
    device.write_all_at(&[7; 4096], 0).unwrap();
    drop(device);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let dead = std::fs::metadata(first.file()).unwrap_err();
    assert_eq!(dead.raw_os_error(), Some(libc::ENOTCONN), "{dead}");
    let gone = Path::new("/sys/block")
        .join(first.device.file_name().unwrap())
        .join("loop/backing_file");
    let until = Instant::now() + PATIENCE;
    while gone.exists() {
        assert!(Instant::now() < until, "the loop device is left");
    }
    let mut next = first.again(&["--loop"]);
    let mut page = [1; 4096];
    let file = File::open(next.file()).unwrap();
    file.read_exact_at(&mut page, 0).unwrap();
    assert_eq!(page, [0; 4096], "a new server is an empty device");
    drop(file);
    next.signal();
    let (status, said) = next.finish();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("removed the mount of a server that is gone"),
        "{said}"
    );
    assert_eq!(names(&next.dir.path().join("place")), [""; 0]);
    assert_eq!(names(next.dir.path()), ["place"]);
}
