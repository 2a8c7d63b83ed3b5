//! Screens, taken from the library's own backend for tests.

use super::*;
use crate::control::{Requests, Status, Tiers};

fn requests(kind: &str, count: u64, buckets: &[(u64, u64)]) -> Requests {
    Requests {
        kind: kind.to_owned(),
        count,
        bytes: count * 4096,
        buckets: buckets.to_vec(),
        ..Requests::default()
    }
}

fn busy() -> (Status, Status) {
    let before = Status {
        name: "compcache0".to_owned(),
        disksize: 4 << 30,
        algorithm: "lz4".to_owned(),
        ..Status::default()
    };
    let now = Status {
        uptime_ns: 2_000_000_000,
        clients: 4,
        orig_data_size: 1 << 30,
        mem_used_total: 400 << 20,
        mem_limit: 512 << 20,
        same_pages: 12_345,
        huge_pages: 678,
        requests: vec![
            requests(
                "read",
                200_000,
                &[(4_096, 150_000), (10_240, 49_900), (1_048_576, 100)],
            ),
            requests("write", 24_690, &[(20_480, 24_690)]),
            requests("discard", 0, &[]),
            requests("write_zeroes", 0, &[]),
            requests("flush", 3, &[(896, 3)]),
        ],
        sizes: vec![
            4000, 9000, 15_000, 30_000, 42_000, 38_000, 25_000, 12_000, 6000, 3000, 1500, 800, 400,
            200, 100, 1_678,
        ],
        ..before.clone()
    };
    (before, now)
}

/// A device with a backing store that was short of memory.
fn tiered() -> (Status, Status) {
    let (mut before, mut now) = busy();
    before.tiers = Tiers {
        recompress: vec!["lz4hc".to_owned(), "zstd:6".to_owned()],
        backing_dev: Some("/dev/sdb".to_owned()),
        turn_ms: 30_000,
        cold_age: 2,
        cold_rung: 2,
        cool_rung: 1,
        clusters_on: true,
        same_on: true,
        patches_on: true,
        ..Tiers::default()
    };
    now.tiers = Tiers {
        pages: 262_144,
        own_pages: 84_321,
        cluster_pages: 123_456,
        clusters: 7_000,
        backed_clusters: 900,
        shared_pages: 4_321,
        patches: 321,
        backed_bytes: 1_300_000_000,
        squeezed: 12,
        recompressed: 345,
        written_back: 67,
        ..before.tiers.clone()
    };
    (before, now)
}

#[test]
fn what_is_done_to_cold_pages_is_said() {
    let screen = |pair| text(&Samples::of(vec![pair]), ONCE).unwrap();
    let (before, now) = tiered();
    let found = screen((before.clone(), now.clone()));
    assert!(found.lines().all(|line| line.chars().count() <= 80));
    assert_screen("tiers", &found);
    let part = |now: Status, part: &str| {
        let found = screen((before.clone(), now));
        assert!(found.contains(part), "{part}\n{found}");
    };
    part(before.clone(), "nothing: no page is cold");
    let mut full = before.clone();
    (full.mem_limit, full.tiers.mem_used_total) = (100, 99);
    part(
        full.clone(),
        "memory is nearly full, and all is done that helps",
    );
    full.tiers.backing_dev = None;
    part(full.clone(), "and there is no store");
    full.tiers.write_errors = 1;
    part(full.clone(), "the backing store fails");
    full.tiers.writeback_limit = Some(0);
    full.tiers.write_errors = 0;
    part(full, "writeback_limit is used up");
}

fn idle(name: &str) -> (Status, Status) {
    let status = Status {
        name: name.to_owned(),
        disksize: 1 << 20,
        algorithm: "zstd:3".to_owned(),
        sizes: vec![0; 16],
        requests: vec![requests("read", 0, &[])],
        ..Status::default()
    };
    (status.clone(), status)
}

/// Compares with a file; UPDATE_SCREENS=1 writes it instead.
#[track_caller]
fn assert_screen(name: &str, found: &str) {
    let path = format!("{}/src/top/screens/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == expected,
        "{name} is\n{found}\nand was to be\n{expected}"
    );
}

#[test]
fn screens_of_80_by_24() {
    let one = Samples::of(vec![busy()]);
    let screen = text(&one, ONCE).unwrap();
    assert!(screen.lines().count() <= 24);
    assert!(screen.lines().all(|line| line.chars().count() <= 80));
    assert_screen("one", &screen);
    let two = Samples::of(vec![idle("db"), busy()]);
    assert_screen("idle_and_busy", &text(&two, ONCE).unwrap());
    let many = (0..9).map(|nth| idle(&format!("compcache{nth}"))).collect();
    assert_screen("many", &text(&Samples::of(many), ONCE).unwrap());
}

#[test]
fn any_size_of_terminal_is_drawn() {
    let samples = Samples::of(vec![
        busy(),
        idle("a-name-of-sixty-four-letters-which-is-as-long-as-a-name-may-be-ok"),
    ]);
    for width in [1, 2, 20, 79, 300] {
        for height in [1, 2, 10, 23, 100] {
            text(&samples, (width, height)).unwrap();
        }
    }
}

#[test]
fn keys_do_what_the_help_says() {
    let key = |code, modifiers| action(&Event::Key(KeyEvent::new(code, modifiers)));
    let plain = |code| key(code, KeyModifiers::NONE);
    assert_eq!(plain(KeyCode::Char('q')), Action::Quit);
    assert_eq!(plain(KeyCode::Esc), Action::Quit);
    assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Action::Quit);
    assert_eq!(plain(KeyCode::Char('c')), Action::Nothing);
    assert_eq!(plain(KeyCode::Tab), Action::Move(1));
    assert_eq!(plain(KeyCode::Up), Action::Move(-1));
    assert_eq!(action(&Event::Resize(1, 1)), Action::Nothing);
}

#[test]
fn intervals_have_limits() {
    assert_eq!(parse_interval("0.5"), Ok(Duration::from_millis(500)));
    for text in ["", "0", "-1", "61", "NaN", "inf", "1s"] {
        assert!(parse_interval(text).is_err(), "{text}");
    }
}
