//! Wrong command lines and bad input: exit status, one line, nothing written.

mod common;

use common::{assert_fails, assert_succeeds, compcache, names, run, write_pages};

/// A whole command line with more behind it.
fn serve<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["serve", "--size", "1M", "--nbd", "unix:x"];
    words.extend(more);
    words
}

#[test]
fn usage_errors_are_status_2_and_one_line() {
    for (arguments, part) in [
        (vec!["bench", "--codec", "gzip"], "gzip"),
        (vec!["bench", "--codec", "zstd:99"], "zstd:99"),
        (vec!["bench", "--codec", "zstd:x"], "zstd:x"),
        (vec!["bench", "--codec", "lz4,"], "--codec"),
        (vec!["bench", "--threads", "0"], "not in 1..=1024"),
        (vec!["bench", "--threads", "-1"], "--threads"),
        (vec!["bench", "--threads", "two"], "two"),
        (vec!["bench", "--seed", "x"], "--seed"),
        (vec!["bench", "--size", "64X"], "such as 64M"),
        (vec!["bench", "--size", "0"], "zero"),
        (
            vec!["bench", "--size", "64M", "--pid", "1"],
            "cannot be used with",
        ),
        (
            vec!["bench", "--pid", "1", "--pages", "x"],
            "cannot be used with",
        ),
        (vec!["bench", "--pid", "0"], "--pid"),
        (vec!["bench", "--pid", "init"], "init"),
        (vec!["bench", "--max-pages", "10"], "--pid"),
        (vec!["bench", "--no-such"], "--no-such"),
        (vec!["analyze"], "--pid <PID>"),
        (
            vec!["analyze", "--pid", "1", "--max-pages", "0"],
            "--max-pages",
        ),
        (vec!["capture", "--pid", "1"], "--output"),
        (vec!["capture", "-o", "x"], "--pid"),
        (vec!["generate"], "--output"),
        (vec!["report", "one"], "DIR"),
        (vec!["serve", "--size", "1M"], "--nbd"),
        (vec!["serve", "--nbd", "unix:x"], "--size"),
        (vec!["serve", "--size", "0", "--nbd", "unix:x"], "zero"),
        (
            vec!["serve", "--size", "4X", "--nbd", "unix:x"],
            "such as 64M",
        ),
        (
            vec!["serve", "--size", "1M", "--nbd", "/run/x"],
            "unix:PATH",
        ),
        (
            vec!["serve", "--size", "1M", "--nbd", "tcp:x:port"],
            "tcp:HOST:PORT",
        ),
        (
            vec![
                "serve", "--size", "1M", "--nbd", "unix:x", "--codec", "gzip",
            ],
            "gzip",
        ),
        (
            vec![
                "serve",
                "--size",
                "1M",
                "--nbd",
                "unix:x",
                "--connections",
                "0",
            ],
            "1..=4096",
        ),
        (
            vec![
                "serve", "--size", "1M", "--nbd", "unix:x", "--mlock", "maybe",
            ],
            "maybe",
        ),
        (
            vec![
                "serve",
                "--size",
                "1M",
                "--nbd",
                "unix:x",
                "--oom-score-adj",
                "-1001",
            ],
            "-1000..=1000",
        ),
        (
            vec!["serve", "--nbd", "unix:x", "--section", "zram0"],
            "--config",
        ),
        (serve(&["--daemon", "--notify"]), "cannot be used with"),
        (serve(&["--daemon", "--pid-file"]), "--pid-file"),
        (serve(&["--name", "a/b"]), "such as compcache0"),
        (serve(&["--name", ""]), "such as compcache0"),
        (serve(&["--control", ""]), "--control"),
        (serve(&["--metrics", "9100"]), "HOST:PORT"),
        (serve(&["--metrics", "::1:9100"]), "HOST:PORT"),
        (vec!["ctl", "x", "mmstat"], "expected one of mm_stat"),
        (vec!["ctl", "x", "bd_state"], "no such attribute"),
        (vec!["ctl", "x", "recompress"], "type=idle"),
        (vec!["ctl", "x", "writeback=cold"], "page_indexes=A-B"),
        (vec!["ctl", "x", "policy=speed=7"], "cold_age=1..3"),
        (serve(&["--recompress", "gzip"]), "gzip"),
        (serve(&["--idle-time", "2d"]), "such as 30, 5m or 1h"),
        (
            serve(&["--idle-time", "5m", "--no-tiers"]),
            "cannot be used with",
        ),
        (vec!["ctl", "x", "mm_stat=1"], "cannot be set"),
        (vec!["ctl", "x", "disksize=1G"], "while the device is up"),
        (
            vec!["ctl", "x", "comp_algorithm=lz4"],
            "while the device is up",
        ),
        (vec!["ctl", "x", "mem_limit=much"], "such as 64M"),
        (vec!["ctl", "x", "mem_used_max=7"], "0 only"),
        (vec!["ctl", "x", "reset=0"], "expected 1"),
        (vec!["ctl", "x", "mm_stat", "y"], "unexpected argument"),
        (
            vec!["ctl", "x", "mm_stat", "--bytes"],
            "cannot be used with",
        ),
        (vec!["ctl", "-o", "NAME,SIZE"], "expected some of NAME,"),
        (vec!["ctl", "-o", "NAME", "--output-all"], "cannot be used"),
        (vec!["ctl", "--raw", "--json"], "cannot be used with"),
        (vec!["ctl", "--reset"], "--reset"),
        (vec!["top", "--interval", "0"], "0.1 to 60 seconds"),
        (vec!["top", "--interval", "fast"], "0.1 to 60 seconds"),
        (vec!["top", "--json"], "--json"),
        (vec!["generate-docs"], "DIR"),
        (vec!["benhc"], "benhc"),
    ] {
        let output = run(&arguments);
        let next = match arguments[0] {
            "benhc" => "try 'compcache --help'".to_owned(),
            command => format!("try 'compcache {command} --help'"),
        };
        assert_fails(&output, 2, &[part, &next]);
    }
}

#[test]
fn no_command_shows_the_help_with_status_2() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Examples:"));
}

#[test]
fn arguments_that_are_no_text_are_no_panic() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"\xFF\xFE");
    assert_fails(&compcache().arg(odd).output().unwrap(), 2, &["--help"]);
    assert_fails(
        &compcache()
            .args(["bench", "--codec"])
            .arg(odd)
            .output()
            .unwrap(),
        2,
        &["bench --help"],
    );
    assert_fails(
        &compcache()
            .args(["analyze", "--pages"])
            .arg(odd)
            .output()
            .unwrap(),
        1,
        &["no such file"],
    );
}

#[test]
fn help_teaches_by_example() {
    for command in [
        "bench", "analyze", "capture", "generate", "report", "serve", "ctl", "top",
    ] {
        let help = assert_succeeds(&run(&[command, "--help"]));
        assert!(
            help.contains("Example") && help.contains(&format!("compcache {command}")),
            "{command}"
        );
    }
    assert!(assert_succeeds(&run(&["--version"])).starts_with("compcache "));
    assert!(!assert_succeeds(&run(&["--help"])).contains("build-heap"));
}

#[test]
fn bad_files_are_status_1_and_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("odd"), [0; 4097]).unwrap();
    std::fs::write(at("empty"), "").unwrap();
    let before = names(dir.path());
    for command in ["bench", "analyze"] {
        for (file, part) in [
            ("missing", "no such file"),
            ("odd", "not a multiple of 4096"),
            ("empty", "empty"),
            (".", "directory"),
        ] {
            let mut arguments = vec![
                command.to_owned(),
                "--pages".to_owned(),
                at(file),
                "--json".to_owned(),
                at("out.json"),
            ];
            if command == "bench" {
                arguments.extend(["--report".to_owned(), at("report")]);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            assert_fails(&run(&arguments), 1, &[part]);
            assert_eq!(names(dir.path()), before, "{command} {file}");
        }
    }
}

#[test]
fn outputs_that_cannot_be_written_are_found_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    write_pages(dir.path().join("pages").as_path(), 3);
    let before = names(dir.path());
    assert_fails(
        &run(&[
            "analyze",
            "--pages",
            &at("pages"),
            "--json",
            &at("no/dir.json"),
        ]),
        1,
        &["no such directory"],
    );
    assert_fails(
        &run(&["analyze", "--pages", &at("pages"), "--json", &at("")]),
        1,
        &["cannot write"],
    );
    assert_fails(
        &run(&["bench", "--pages", &at("pages"), "--report", &at("pages")]),
        1,
        &["not a directory"],
    );
    let below = at("pages/below");
    assert_fails(
        &run(&["bench", "--pages", &at("pages"), "--report", &below]),
        1,
        &["pages: is not a directory"],
    );
    assert_fails(
        &run(&["generate", "--size", "64K", "-o", &at("no/file")]),
        1,
        &["no such directory"],
    );
    assert_fails(
        &run(&["generate", "--size", "64K", "-o", &at("pages")]),
        1,
        &["--force"],
    );
    assert_eq!(names(dir.path()), before);
}

#[test]
fn a_report_is_made_of_results_only() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("x.json"), "{}").unwrap();
    assert_fails(
        &run(&["report", &at("x.json"), &at("out")]),
        1,
        &["x.json", "bench --json"],
    );
    assert_fails(&run(&["report", &at("y.json"), &at("out")]), 1, &["y.json"]);
    assert_eq!(names(dir.path()), ["x.json"]);
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixture_result.json");
    assert_succeeds(&run(&["report", fixture, &at("out")]));
    assert!(names(&dir.path().join("out")).contains(&"index.html".to_owned()));
}

#[test]
fn a_closed_or_full_standard_output_is_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("pages");
    write_pages(&pages, 3);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = compcache()
        .args(["analyze", "--pages"])
        .arg(&pages)
        .stdout(writer)
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = compcache()
        .args(["analyze", "--pages"])
        .arg(&pages)
        .stdout(full)
        .output()
        .unwrap();
    assert_fails(&output, 1, &["standard output"]);
}
