//! Manual pages and shell completions, out of the command's own definitions.

use std::io::Write;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::output::{OutputFile, cannot_write};

/// The name of the subcommand, for packagers.
pub(crate) const DOCS_COMMAND: &str = "generate-docs";

/// The name of the program.
const PROGRAM: &str = "compcache";

#[derive(clap::Args)]
pub(crate) struct DocsArgs {
    /// Directory for compcache.1, compcache-COMMAND.1 and the completions; made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes `compcache.1`, a page for each subcommand, and completions for bash, zsh and fish.
///
/// # Errors
/// A directory that cannot be written.
pub(crate) fn run(args: &DocsArgs) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", args.dir.display());
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    let mut command = Cli::command().name(PROGRAM);
    command.build();
    write(
        args,
        &format!("{PROGRAM}.1"),
        &page(command.clone(), PROGRAM)?,
    )?;
    for subcommand in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        // The name that `man` finds it by.
        let name = format!("{PROGRAM}-{}", subcommand.get_name());
        write(
            args,
            &format!("{name}.1"),
            &page(subcommand.clone(), &name)?,
        )?;
    }
    for (shell, file) in [
        (Shell::Bash, "compcache.bash"),
        (Shell::Zsh, "_compcache"),
        (Shell::Fish, "compcache.fish"),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), PROGRAM, &mut script);
        write(args, file, &script)?;
    }
    Ok(())
}

fn page(command: clap::Command, title: &str) -> Result<Vec<u8>, String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .title(title.to_uppercase())
        .manual("User Commands")
        .source(concat!("compcache ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .map_err(|error| error.to_string())?;
    Ok(page)
}

fn write(args: &DocsArgs, name: &str, bytes: &[u8]) -> Result<(), String> {
    let path = args.dir.join(name);
    let mut file = OutputFile::create(&path, 0o644)?;
    file.write_all(bytes)
        .map_err(|error| cannot_write(&path, &error))?;
    file.publish()
}
