//! `--daemon` and `--pid-file`: who waits for whom, and what is left.
#![cfg(feature = "nbd")]

mod common;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use common::{assert_fails, assert_succeeds, names, run};
use compcache_nbd::probe::{Ask, Client, command};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with a socket and a pid file; the server that has it is killed on drop.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("s")
    }

    fn pid_file(&self) -> PathBuf {
        self.0.path().join("pid")
    }

    /// Serves in the background; returns when the process that was started has ended, and nobody
    /// has its standard streams.
    fn serve(&self, more: &[&str]) -> Output {
        let address = format!("unix:{}", self.socket().display());
        let pid_file = self.pid_file();
        let fixed = ["serve", "--size", "1M", "--control", "none", "--daemon"];
        let places = ["--nbd", &address, "--pid-file", pid_file.to_str().unwrap()];
        run(&[&fixed, &places[..], more].concat())
    }

    fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.pid_file())
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Ends the server in the background, and waits for its end.
    fn signal(&self, signal: Signal) {
        let pid = self.pid().unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        let until = Instant::now() + PATIENCE;
        while is_running(pid) {
            assert!(Instant::now() < until, "does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().filter(|&pid| is_running(pid)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, group, session, ...
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Nobody may be there to ask a child of nobody for its status.
fn is_running(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

/// Writes a page and reads it back.
#[track_caller]
fn assert_serves(place: &Place) {
    // At once: it was started when clients can connect.
    let stream = UnixStream::connect(place.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client::connect(stream, "", true).unwrap();
    let mut ask = Ask {
        command: command::WRITE,
        offset: 4096,
        len: 4096,
        ..Ask::default()
    };
    assert_eq!(client.call(ask, &[7; 4096]).unwrap().error, 0);
    ask.command = command::READ;
    assert!(client.call(ask, &[]).unwrap().data == [7; 4096]);
}

#[test]
fn it_serves_when_the_command_has_ended() {
    let place = Place::new();
    let said = assert_succeeds(&place.serve(&["--mlock", "off"]));
    assert_eq!(said, format!("nbd unix:{}\n", place.socket().display()));
    assert_serves(&place);
    let pid = place.pid().unwrap();
    let fields = stat(pid).unwrap();
    let own = std::process::id().to_string();
    assert_ne!(fields[1], own, "not a child of who started it");
    assert_eq!(fields[3], pid.to_string(), "a session of its own");
    for stream in 0..3 {
        let file = fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
        assert_eq!(file, Path::new("/dev/null"), "{stream}");
    }
    place.signal(Signal::SIGTERM);
    assert_eq!(names(place.0.path()), [""; 0], "something is left");
}

#[test]
fn what_fails_at_the_start_is_said_by_the_command() {
    let place = Place::new();
    fs::write(place.socket(), "precious").unwrap();
    let failed = place.serve(&["--mlock", "off"]);
    assert_fails(
        &failed,
        1,
        &["there is a file of this name that is no socket"],
    );
    assert_eq!(names(place.0.path()), ["s"], "the pid file is left");
    assert_eq!(fs::read(place.socket()).unwrap(), b"precious");
}

#[test]
fn a_pid_file_belongs_to_one_live_server() {
    let place = Place::new();
    assert_succeeds(&place.serve(&["--mlock", "off"]));
    let first = place.pid().unwrap();
    let word = format!("a server is running ({first})");
    assert_fails(&place.serve(&["--mlock", "off"]), 1, &[&word]);
    assert_eq!(place.pid(), Some(first));
    assert_serves(&place);
    // What a killed server leaves is the next one's.
    place.signal(Signal::SIGKILL);
    assert_eq!(names(place.0.path()), ["pid", "s"]);
    assert_succeeds(&place.serve(&["--mlock", "off"]));
    assert_ne!(place.pid().unwrap(), first);
    assert_serves(&place);
    place.signal(Signal::SIGINT);
    assert_eq!(names(place.0.path()), [""; 0], "something is left");
}

#[test]
fn other_files_are_not_taken_for_pid_files() {
    let place = Place::new();
    let long = "1".repeat(100);
    for text in ["precious", "12 13", &long] {
        fs::write(place.pid_file(), text).unwrap();
        let refused = place.serve(&["--mlock", "off"]);
        assert_fails(&refused, 1, &["this is no pid file"]);
        assert_eq!(fs::read_to_string(place.pid_file()).unwrap(), text);
        assert!(!place.socket().exists());
        fs::remove_file(place.pid_file()).unwrap();
    }
    // A FIFO stands for device nodes: --pid-file /dev/null removed that. Of a link what it leads to
    // would be written, and the link removed.
    nix::unistd::mkfifo(&place.pid_file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_fails(
        &place.serve(&["--mlock", "off"]),
        1,
        &["this is no pid file"],
    );
    assert!(place.pid_file().exists());
    fs::remove_file(place.pid_file()).unwrap();
    std::os::unix::fs::symlink("elsewhere", place.pid_file()).unwrap();
    assert_fails(
        &place.serve(&["--mlock", "off"]),
        1,
        &["this is no pid file"],
    );
    assert!(fs::symlink_metadata(place.pid_file()).is_ok());
    assert!(!place.pid_file().with_file_name("elsewhere").exists());
    fs::remove_file(place.pid_file()).unwrap();
    fs::create_dir(place.pid_file()).unwrap();
    assert_fails(&place.serve(&["--mlock", "off"]), 1, &["cannot write"]);
}
