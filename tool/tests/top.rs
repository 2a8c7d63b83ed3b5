//! `top` beside a served device: one screen as text, and on a terminal that must be as before
//! afterwards.
#![cfg(feature = "nbd")]

mod common;
#[path = "common/serving.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod serving;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{assert_fails, assert_succeeds, compcache, run};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serving::Served;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A served device, and the path of its control socket.
fn serve(dir: &tempfile::TempDir) -> (Served, String) {
    let control = dir.path().join("web.sock").to_str().unwrap().to_owned();
    let served = Served::start(&["--size", "64M", "--control", &control]);
    (served, control)
}

#[test]
fn one_screen_is_text() {
    let dir = tempfile::tempdir().unwrap();
    let (served, control) = serve(&dir);
    let screen = assert_succeeds(&run(&["top", "--once", "--interval", "0.1", &control]));
    for part in [
        "> web ",
        "web: lz4, 0 clients",
        "of 64 MiB size",
        "write zeroes",
        "4096",
    ] {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    assert!(screen.lines().count() <= 24, "{screen}");
    // Its output is a pipe here.
    assert_fails(&run(&["top", &control]), 1, &["no terminal", "--once"]);
    served.stop(Signal::SIGTERM);
    assert_fails(&run(&["top", "--once", &control]), 1, &["no such device"]);
}

/// `top` on a terminal of its own.
struct OnTerminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    shown: String,
}

impl OnTerminal {
    fn start(control: &str) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = compcache()
            .args(["top", "--interval", "0.1", control])
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        nix::fcntl::fcntl(
            &pty.master,
            nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
        )
        .unwrap();
        Self {
            child,
            master: File::from(pty.master),
            slave: pty.slave,
            shown: String::new(),
        }
    }

    fn is_raw(&self) -> bool {
        let flags = tcgetattr(&self.slave).unwrap().local_flags;
        !flags.contains(LocalFlags::ICANON)
    }

    /// Reads until `text` was shown.
    fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.shown.contains(text) {
            assert!(
                Instant::now() < until,
                "{text:?} is not in {:?}",
                self.shown
            );
            self.read();
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.master.read(&mut bytes) {
            self.shown
                .push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    /// The status it ends with; the terminal is as before.
    fn finish(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            self.read();
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > until => {
                    self.child.kill().unwrap();
                    panic!("does not end: {:?}", self.shown);
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        self.read();
        assert!(!self.is_raw(), "the terminal is left in raw mode");
        let (entered, left) = ("\u{1b}[?1049h", "\u{1b}[?1049l");
        assert!(self.shown.rfind(left) > self.shown.rfind(entered));
        (status.code(), self.shown)
    }
}

#[test]
fn the_terminal_is_put_back_after_a_key_and_a_signal_and_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (served, control) = serve(&dir);
    let start = || {
        let mut top = OnTerminal::start(&control);
        top.wait_for("web: lz4");
        assert!(top.is_raw());
        top
    };
    let mut top = start();
    top.master.write_all(b"\t\x1b[Aq").unwrap();
    assert_eq!(top.finish().0, Some(0));

    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let top = start();
        kill(Pid::from_raw(top.child.id().cast_signed()), signal).unwrap();
        assert_eq!(top.finish().0, Some(0), "{signal}");
    }
    let mut top = start();
    served.stop(Signal::SIGTERM);
    top.wait_for("the devices have stopped");
    assert_eq!(top.finish().0, Some(1));
}
