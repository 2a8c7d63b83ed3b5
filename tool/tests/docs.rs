//! Manual pages and completions: there, and about every subcommand.

mod common;

use common::{assert_fails, assert_succeeds, names, run};

#[test]
fn pages_and_completions_are_about_every_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a/b");
    assert_succeeds(&run(&["generate-docs", out.to_str().unwrap()]));
    let found = names(&out);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let help = assert_succeeds(&run(&["--help"]));
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    let commands: Vec<&str> = listed.collect();
    assert!(
        commands.contains(&"ctl") && commands.contains(&"top"),
        "{help}"
    );
    let manual = read("compcache.1");
    for command in &commands {
        let page = format!("compcache-{command}.1");
        assert!(found.contains(&page), "{page} is not in {found:?}");
        let text = read(&page);
        assert!(
            text.contains(&format!(".TH COMPCACHE\\-{}", command.to_uppercase()))
                || text.contains(&format!(".TH COMPCACHE-{}", command.to_uppercase())),
            "{text}"
        );
        assert!(text.contains("Example"), "{page} has no examples");
        for file in ["compcache.bash", "_compcache", "compcache.fish"] {
            assert!(read(file).contains(command), "{command} is not in {file}");
        }
        assert!(
            manual
                .replace('\\', "")
                .contains(&format!("compcache-{command}(1)")),
            "{command} is not in the manual"
        );
    }
    assert!(
        found.iter().all(|name| !name.contains("build-heap")),
        "{found:?}"
    );
    assert!(!help.contains("generate-docs"));
    let file = out.join("compcache.1/x");
    assert_fails(
        &run(&["generate-docs", file.to_str().unwrap()]),
        1,
        &["compcache.1/x"],
    );
    assert_fails(&run(&["generate-docs"]), 2, &["DIR"]);
}
