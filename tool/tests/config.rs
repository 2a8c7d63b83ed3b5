//! `serve --config`: a file of zram-generator makes a device.
#![cfg(feature = "nbd")]

mod common;
#[path = "common/serving.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod serving;

use common::{assert_fails, assert_succeeds, run};
use nix::sys::signal::Signal;
use serving::{Served, serve};

struct File {
    dir: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("zram-generator.conf"), text).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// `serve --config` with this file, which does not come to serving.
    fn serve(&self, more: &[&str]) -> std::process::Output {
        let config = self.path("zram-generator.conf");
        let arguments = [&["--config", &config], more].concat();
        serve(&self.dir.path().join("s"), &arguments)
            .output()
            .unwrap()
    }
}

#[test]
fn an_existing_file_makes_the_device() {
    let file = File::new(
        "[zram0]\nzram-size = min(ram / 10, 16)\nzram-resident-limit = 8\ncompression-algorithm = zstd(level=1)\n",
    );
    let (config, control) = (file.path("zram-generator.conf"), file.path("x.sock"));
    let show = |more: &[&str]| {
        let served = Served::start(&[&["--config", &config, "--control", &control], more].concat());
        let columns = "DISKSIZE,ALGORITHM,MEM-LIMIT";
        let row = assert_succeeds(&run(&["ctl", &control, "--raw", "-n", "-o", columns]));
        served.stop(Signal::SIGTERM);
        row
    };
    assert_eq!(show(&[]), "16M zstd:1 8M\n");
    // The command line goes first.
    assert_eq!(
        show(&["--size", "4M", "--codec", "lz4", "--mem-limit", "1M"]),
        "4M lz4 1M\n"
    );
}

#[test]
fn what_is_not_to_be_is_said() {
    let file = File::new("[zram0]\nhost-memory-limit = 1\nzram-szie = 1\n");
    let output = file.serve(&[]);
    assert_succeeds(&output);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(
        lines[0].contains("zram0: zram-szie: unknown key"),
        "{stderr}"
    );
    assert!(
        lines[1].contains("host-memory-limit = 1; nothing is served"),
        "{stderr}"
    );
}

#[test]
fn errors_are_one_line() {
    for (text, more, part) in [
        ("", &[][..], "no section"),
        ("[zram0]\n[zram1]\n", &[], "--section: zram0, zram1"),
        ("[zram0]\n", &["--section", "zram7"], "no section [zram7]"),
        ("[zram0]\nzram-size = ram +\n", &[], "zram0: zram-size: "),
        ("[zram0]\nmount-point = /tmp/x\n", &[], "not supported"),
        (
            "zram-size = 7\n",
            &[],
            "zram-generator.conf:1: expected a section",
        ),
    ] {
        assert_fails(&File::new(text).serve(more), 1, &[part]);
    }
    let file = File::new("");
    std::fs::remove_file(file.path("zram-generator.conf")).unwrap();
    assert_fails(&file.serve(&[]), 1, &["zram-generator.conf: No such file"]);
}
