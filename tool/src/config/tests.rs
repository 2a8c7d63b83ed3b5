//! Whole files: zram-generator's own examples, and what is wrong with others.

use super::*;

fn config(text: &str, ram_mib: u64) -> Result<Config, ConfigError> {
    let mut settings = ini::Settings::default();
    settings.add("x.conf", text)?;
    interpret(settings, ram_mib, |program| match program {
        "echo 512" => Ok("512\n".to_owned()),
        _ => Err("status 1".to_owned()),
    })
}

fn only(text: &str, ram_mib: u64) -> Section {
    choose(&config(text, ram_mib).unwrap(), None).unwrap()
}

#[test]
fn the_example_of_the_manual_works() {
    let text = "\
# This file is part of the zram-generator project
set!maxhotplug = echo 512

[zram0]
host-memory-limit = 9048
zram-size = min(ram / 10, 2048)
zram-resident-limit = maxhotplug * 3/4
compression-algorithm = zstd(level=3) lz4hc (type=idle)
swap-priority=180
options =
writeback-device = /dev/zvol/tarta-zoot/swap-writeback

; another
[zram1]
zram-size = ram / 10
fs-type = swap
";
    let found = config(text, 8000).unwrap();
    let [zram0, zram1] = found.sections.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(zram0.size, 800 << 20);
    assert_eq!(zram0.mem_limit, 384 << 20);
    assert_eq!(zram0.codec.to_string(), "zstd:3");
    assert_eq!(zram0.swap_priority, 180);
    assert_eq!(zram0.skipped, None);
    assert_eq!(zram1.size, 800 << 20);
    assert_eq!((zram1.mem_limit, zram1.swap_priority), (0, 100));
    assert_eq!(zram1.codec.to_string(), "lz4");
    assert_eq!(rungs(zram0), ["lz4hc"]);
    let device = std::path::Path::new("/dev/zvol/tarta-zoot/swap-writeback");
    assert_eq!(zram0.writeback_device.as_deref(), Some(device));
    assert!(zram1.recompress.is_empty() && zram1.writeback_device.is_none());
    assert_eq!(found.warnings, [""; 0]);
    let more = config(text, 16_000).unwrap();
    assert!(
        more.sections[0]
            .skipped
            .as_deref()
            .unwrap()
            .contains("host-memory-limit")
    );
}

fn rungs(section: &Section) -> Vec<String> {
    section.recompress.iter().map(ToString::to_string).collect()
}

#[test]
fn further_algorithms_are_for_cold_pages_and_what_is_unknown_is_named() {
    let read = |list: &str| {
        let text = format!("[zram0]\ncompression-algorithm = {list}\n");
        let found = config(&text, 100).unwrap();
        let section = &found.sections[0];
        (
            section.codec.to_string(),
            rungs(section).join(" "),
            found.warnings.join("\n"),
        )
    };
    let (first, rungs, warnings) = read("lz4 zstd(level=6) (type=idle)");
    assert_eq!((&*first, &*rungs, &*warnings), ("lz4", "zstd:6", ""));
    let (first, rungs, warnings) = read("lz4 lz4hc zstd(level=15)");
    assert_eq!((&*first, &*rungs, &*warnings), ("lz4", "lz4hc zstd:15", ""));
    for (list, first, rungs, named) in [
        (
            "lz4 zstd (type=huge threshold=3000)",
            "lz4",
            "zstd:3",
            vec!["type=huge", "threshold=3000"],
        ),
        (
            "lzo-rle zstd(dict=/etc/x,level=1)",
            "lz4",
            "zstd:1",
            vec!["lzo-rle", "dict=/etc/x"],
        ),
        ("zstd 842 deflate", "zstd:3", "", vec!["842", "deflate"]),
        ("lz4 lz4", "lz4", "", vec!["lz4"]),
        (
            "lz4 lz4hc zstd(level=1) zstd(level=2) zstd(level=3)",
            "lz4",
            "lz4hc zstd:1 zstd:2",
            vec!["zstd:3"],
        ),
        ("lz4(level=2)", "lz4", "", vec!["level=2"]),
        ("lz4 (type=idle)", "lz4", "", vec!["type=idle"]),
    ] {
        let found = read(list);
        assert_eq!((&*found.0, &*found.1), (first, rungs), "{list}");
        for name in named {
            assert!(found.2.contains(name), "{list}: {}", found.2);
        }
    }
}

#[test]
fn defaults_are_zram_generators() {
    assert_eq!(only("[zram0]\n", 1000).size, 500 << 20);
    assert_eq!(only("[zram0]\n", 64_000).size, 4096 << 20);
    let text = "[zram0]\nzram-fraction = 0.25\nmax-zram-size = none\nzram-size = 1\n";
    assert_eq!(only(text, 64_000).size, 16_000 << 20);
    let text = "[zram0]\nzram-fraction = 0.25\n";
    assert_eq!(only(text, 64_000).size, 4096 << 20);
    assert!(only("[zram0]\nzram-size = 0\n", 100).skipped.is_some());
}

#[test]
fn sizes_of_the_manual() {
    let text = "[zram0]\nzram-size = min(min(ram, 4096) + max(ram - 4096, 0) / 2, 32 * 1024)\n";
    for (ram, mib) in [(1024, 1024), (8192, 6144), (1 << 20, 32_768)] {
        assert_eq!(only(text, ram).size, mib << 20);
    }
}

#[test]
fn unknown_keys_and_sections_are_warnings_that_name_them() {
    let found = config("[zram0]\nzram-szie = 7\n[other]\nx=1\n", 100).unwrap();
    assert_eq!(
        found.warnings,
        [
            "x.conf:3: section [other] is not for a device and is passed over",
            "zram0: zram-szie: unknown key, passed over",
        ]
    );
    let found = config("[zram0]\ncompression-algorithm = lzo-rle\n", 100).unwrap();
    assert_eq!(found.sections[0].codec.to_string(), "lz4");
    assert_eq!(found.warnings.len(), 1);
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    for (text, part) in [
        ("[zram0\n", "x.conf:1: expected a section"),
        ("[zram0]\nzram-size\n", "x.conf:2: expected KEY = VALUE"),
        (
            "zram-size = 1\n",
            "x.conf:1: expected a section such as [zram0] first",
        ),
        ("set!a b = x\n", "x.conf:1: expected set!NAME"),
        ("set!a = false\n", "set!a: status 1"),
        ("[zram0]\nzram-size = ram /\n", "zram0: zram-size: "),
        (
            "[zram0]\nzram-size = swap\n",
            "zram0: zram-size: unknown name swap",
        ),
        ("[zram0]\nzram-size = 0-1\n", "zram0: zram-size: "),
        ("[zram0]\nzram-size = 1/0\n", "zram0: zram-size: "),
        ("[zram0]\nzram-size = 1e30\n", "zram0: zram-size: "),
        (
            "[zram0]\nzram-resident-limit = x\n",
            "zram0: zram-resident-limit: ",
        ),
        ("[zram0]\nswap-priority = 40000\n", "-1 to 32767"),
        (
            "[zram0]\nhost-memory-limit = much\n",
            "zram0: host-memory-limit: ",
        ),
        (
            "[zram0]\nmount-point = /var/compressed\n",
            "mount-point: not supported",
        ),
        ("[zram0]\nfs-type = ext4\n", "fs-type: not supported"),
        (
            "[zram0]\ncompression-algorithm = zstd(level=99)\n",
            "zram0: compression-algorithm",
        ),
        ("[zram0]\nzram-fraction = -1\n", "zram0: zram-fraction: "),
        (
            "[zram0]\nwriteback-device = sdb\n",
            "zram0: writeback-device: ",
        ),
    ] {
        let error = config(text, 100).unwrap_err().to_string();
        assert!(
            error.contains(part) && !error.contains('\n'),
            "{text}: {error}"
        );
    }
}

#[test]
fn sections_are_chosen_by_name() {
    let found = config("[zram10]\n[zram2]\n", 100).unwrap();
    assert_eq!(found.sections[0].name, "zram2");
    assert_eq!(choose(&found, Some("zram10")).unwrap().name, "zram10");
    let error = choose(&found, None).unwrap_err().to_string();
    assert!(error.contains("--section: zram2, zram10"), "{error}");
    let error = choose(&found, Some("x")).unwrap_err().to_string();
    assert!(error.contains("no section [x]"), "{error}");
    assert!(choose(&config("", 100).unwrap(), None).is_err());
}

#[test]
fn later_files_replace_keys_of_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = [
        file("a", "[zram0]\nzram-size = 10\nswap-priority = 5\n"),
        file("b", "[zram0]\nzram-size = 20\n"),
    ];
    let section = choose(&load(&files, 100).unwrap(), None).unwrap();
    assert_eq!((section.size, section.swap_priority), (20 << 20, 5));
    assert!(matches!(
        load(&[dir.path().join("none")], 1),
        Err(ConfigError::Read(..))
    ));
    let long = file("long", &"#".repeat(FILE_MAX as usize + 1));
    assert!(matches!(load(&[long], 1), Err(ConfigError::NotAConfig(_))));
}
