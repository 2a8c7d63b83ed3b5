//! `compcache capture` and `--pid`, on child processes of the test.

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{assert_fails, assert_succeeds, compcache, names, run};

/// A shell that holds about 4 MB of a text of its own, and sleeps until its standard input closes.
struct Holder(Child);

const MARK: &str = "marker-of-the-held-text";

impl Holder {
    fn start() -> Self {
        let script = "x=MARK; while [ ${#x} -lt 4000000 ]; do x=$x$x; done; echo ready; read y"
            .replace("MARK", MARK);
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.as_mut().unwrap()),
            &mut line,
        )
        .unwrap();
        assert_eq!(line, "ready\n");
        Holder(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// What the kernel counts as anonymous and resident, in pages.
    fn rss_anon_pages(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 4
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_capture_holds_the_anonymous_memory_and_leaves_the_process_running() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.pages");
    let mut holder = Holder::start();
    let expected = holder.rss_anon_pages();
    let text = assert_succeeds(&run(&[
        "capture",
        "--pid",
        &holder.pid(),
        "-o",
        file.to_str().unwrap(),
    ]));
    assert!(
        text.contains("(sh)") || text.contains("(dash)") || text.contains("(bash)"),
        "{text}"
    );
    assert!(
        holder.0.try_wait().unwrap().is_none(),
        "the process goes on"
    );

    let bytes = std::fs::read(&file).unwrap();
    let pages = bytes.len() as u64 / 4096;
    assert_eq!(bytes.len() % 4096, 0);
    // The kernel counts in batches for each processor, so allow for some.
    assert!(
        pages.abs_diff(expected) <= 128 + expected / 50,
        "{pages} pages, the kernel counts {expected}"
    );
    let held = bytes
        .windows(MARK.len())
        .step_by(1)
        .filter(|window| *window == MARK.as_bytes())
        .count();
    assert!(held > 4_000_000 / MARK.len() - 1000, "{held} marks");
    // Other users do not read what the process held.
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(dir.path()), ["out.pages"]);
}

#[test]
fn limits_are_kept_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.pages");
    let holder = Holder::start();
    let output = run(&[
        "capture",
        "--pid",
        &holder.pid(),
        "-o",
        file.to_str().unwrap(),
        "--max-pages",
        "100",
    ]);
    assert_succeeds(&output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("100 pages"));
    assert_eq!(file.metadata().unwrap().len(), 100 * 4096);

    let output = run(&[
        "analyze",
        "--pid",
        &holder.pid(),
        "--max-pages",
        "50",
        "--codec",
        "lz4",
        "--json",
        "-",
    ]);
    let text = assert_succeeds(&output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("50 pages"));
    assert!(text.contains("\"count\": 50"));
}

#[test]
fn a_file_that_is_there_is_replaced_with_force_only() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.pages");
    std::fs::write(&file, "precious").unwrap();
    let holder = Holder::start();
    let arguments = [
        "capture",
        "--pid",
        &holder.pid(),
        "-o",
        file.to_str().unwrap(),
    ];
    assert_fails(&run(&arguments), 1, &["out.pages", "--force"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    assert_succeeds(&run(&[&arguments[..], &["--force"]].concat()));
    assert!(file.metadata().unwrap().len() > 4_000_000);
}

#[test]
fn a_process_that_is_not_there_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.pages");
    let mut ended = Command::new("true").spawn().unwrap();
    let pid = ended.id().to_string();
    // Ended and not yet waited for: a zombie.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .unwrap()
        .contains(") Z ")
    {
        assert!(Instant::now() < deadline, "`true` does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let arguments = ["capture", "--pid", &pid, "-o", file.to_str().unwrap()];
    assert_fails(&run(&arguments), 1, &[&pid, "ended"]);
    ended.wait().unwrap();
    assert_fails(&run(&arguments), 1, &[&format!("no process {pid}")]);
    assert_fails(&run(&["bench", "--pid", &pid]), 1, &["no process"]);
    assert_fails(&run(&["analyze", "--pid", &pid]), 1, &["no process"]);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn memory_of_another_user_needs_permission() {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let dir = tempfile::tempdir().unwrap();
    let mut command = compcache();
    if root {
        // As the user nobody, who may run the command and write here, but not read a process of root.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let copy = dir.path().join("compcache");
        // By a process of its own: a child that another test forks meanwhile would inherit a
        // descriptor open for writing, and the system runs no file that is open so.
        let copied = Command::new("cp")
            .args([env!("CARGO_BIN_EXE_compcache").as_ref(), copy.as_os_str()])
            .status();
        assert!(copied.unwrap().success());
        command = Command::new(copy);
        command.uid(65534).gid(65534);
    }
    let before = names(dir.path());
    // As root the test's own process, else the system's first.
    let pid = if root { std::process::id() } else { 1 };
    let output = command
        .current_dir(dir.path())
        .args(["capture", "-o", "out.pages", "--pid", &pid.to_string()])
        .output()
        .unwrap();
    assert_fails(&output, 1, &["no permission"]);
    assert_eq!(names(dir.path()), before);
}
