//! What all tests of the command share.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::process::{Command, Output};

/// The command, without anything of the environment that could change it.
pub(crate) fn compcache() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compcache"));
    command.env_remove("COLUMNS");
    command
}

/// Runs the command with these arguments.
pub(crate) fn run(arguments: &[&str]) -> Output {
    compcache()
        .args(arguments)
        .output()
        .expect("the command starts")
}

/// Asserts a failure: this status, nothing on standard output, and one line on standard error with all `parts`.
#[track_caller]
pub(crate) fn assert_fails(output: &Output, status: i32, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(
        output.stdout.is_empty(),
        "standard output: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(stderr.lines().count(), 1, "not one line: {stderr}");
    assert!(stderr.starts_with("compcache: "), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part:?} is not in {stderr}");
    }
}

/// Asserts success and returns standard output.
#[track_caller]
pub(crate) fn assert_succeeds(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    String::from_utf8(output.stdout.clone()).expect("text on standard output")
}

/// Names of everything in a directory, hidden files included.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = dir
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Writes `count` different pages of text, then a zero page and a copy of the first.
pub(crate) fn write_pages(path: &Path, count: usize) {
    let mut bytes = Vec::new();
    for nth in 0..count {
        let text = format!("page {nth}: the same words again and again; ");
        bytes.extend(text.bytes().cycle().take(4096));
    }
    bytes.extend([0; 4096]);
    bytes.extend_from_within(..4096);
    std::fs::write(path, bytes).unwrap();
}
