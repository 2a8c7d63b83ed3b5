//! `compcache bench` and `compcache report`.

use std::io::Write;
use std::path::Path;

use compcache_bench::result::{BenchResult, TiersResult};
use compcache_bench::tiers::{OPERATIONS_OF_A_DAY, Tiered, TiersPlan};
use compress::AnyCodec;
use compress::Ladder;
use serde::Serialize;

use crate::cli::{BenchArgs, OptionalPid, ReportArgs};
use crate::harness::{BenchOptions, run_bench, run_tiers_bench};
use crate::output::{self, OutputFile, cannot_write};
use crate::pages::{PAGE_SIZE, PageSet, files, generate, process};
use crate::progress::Progress;
use crate::{report, tables};

/// Pages held of a process where the user sets no limit: 1 GiB.
const MAX_PAGES: u64 = 262_144;

/// Runs the comparison and writes its results.
pub(crate) fn run(args: &BenchArgs) -> Result<(), String> {
    // Outputs first: no minute of work for a file that cannot be written.
    let mut json = JsonTarget::open(args.json.json.as_deref())?;
    if let Some(dir) = &args.report {
        report::check_directory(dir)?;
    }
    let progress = Progress::new();
    let pages = load(args, &progress)?;
    let mut say = |what: &str, done: f64| progress.say(what, done);
    let result = if args.tiers {
        let ladder = Tiered::ladder(args.recompress)?;
        run_tiers_bench(&pages, &tiers_plan(args, &ladder), &ladder, &mut say)?
    } else {
        let options = BenchOptions {
            codecs: each_once(&args.codecs),
            threads: args.threads,
            seed: args.seed,
            quick: args.quick,
            zram: args.zram,
        };
        run_bench(&pages, &options, &mut say)?
    };
    drop(progress);

    if let Some(dir) = &args.report {
        report::write_report(dir, &result)?;
    }
    let tables = json.prints_tables();
    json.write(&result)?;
    if tables {
        output::print(&tables::bench(&result))?;
    }
    let of_cache: u64 = result.cache.iter().map(|run| run.mismatches).sum();
    let of_tiers = result.tiers.as_ref().map_or(0, TiersResult::mismatches);
    match of_cache + of_tiers {
        0 => {}
        wrong => {
            return Err(format!(
                "{wrong} pages came back different: this is a bug in the cache or the machine's memory"
            ));
        }
    }
    match result.tiers.as_ref().map(|tiers| &tiers.writeback) {
        Some(back) if back.unreadable > 0 => Err(format!(
            "{} gets failed with a backing file: this is a bug, or the file's disk is failing",
            back.unreadable
        )),
        Some(back) if back.text_runs_found > 0 => Err(format!(
            "{} runs of 16 bytes of the pages' text are in the backing file: this is a bug",
            back.text_runs_found
        )),
        _ => Ok(()),
    }
}

fn tiers_plan(args: &BenchArgs, ladder: &Ladder) -> TiersPlan {
    let day = args.long.then_some(OPERATIONS_OF_A_DAY);
    TiersPlan {
        seed: args.seed,
        quick: args.quick,
        long: args.operations.or(day),
        backing: args.backing.clone(),
        codecs: ladder.to_string(),
    }
}

/// Draws the report of an earlier run.
pub(crate) fn run_report(args: &ReportArgs) -> Result<(), String> {
    let name = args.result.display();
    let text = std::fs::read_to_string(&args.result)
        .map_err(|error| format!("{name}: cannot read: {error}"))?;
    let result: BenchResult = serde_json::from_str(&text)
        .map_err(|error| format!("{name}: not a result of `compcache bench --json`: {error}"))?;
    report::check_directory(&args.dir)?;
    report::write_report(&args.dir, &result)
}

fn load(args: &BenchArgs, progress: &Progress) -> Result<PageSet, String> {
    if !args.from.pages.is_empty() {
        progress.say("reading pages", 0.0);
        return files::read(&args.from.pages);
    }
    if args.from.pid.pid.is_some() {
        progress.say("capturing pages", 0.0);
        return of_process(&args.from.pid);
    }
    progress.say("building the default pages", 0.0);
    let default = if args.quick {
        generate::QUICK_PAGES
    } else {
        generate::DEFAULT_PAGES
    };
    generate::capture(
        args.seed,
        args.size.map_or(default, |bytes| bytes.div_ceil(PAGE_SIZE)),
    )
}

/// Captures the process that the arguments name, within the limit.
pub(crate) fn of_process(args: &OptionalPid) -> Result<PageSet, String> {
    let pid = args.pid.ok_or("no process given; name one with --pid")?;
    let limit = args.max_pages.unwrap_or(MAX_PAGES);
    let (pages, truncated) = process::capture(pid, limit)?;
    if truncated {
        output::note(&format!(
            "took the first {limit} pages of process {pid}; --max-pages sets the limit"
        ));
    }
    Ok(pages)
}

/// The codecs in the order given, each once.
pub(crate) fn each_once(codecs: &[AnyCodec]) -> Vec<AnyCodec> {
    let mut once: Vec<AnyCodec> = Vec::new();
    for codec in codecs {
        if !once.contains(codec) {
            once.push(*codec);
        }
    }
    once
}

/// Where the JSON goes.
pub(crate) enum JsonTarget<'a> {
    Nowhere,
    Stdout,
    File(&'a Path, OutputFile),
}

impl<'a> JsonTarget<'a> {
    /// Opens the file, so that a place that cannot be written is known before the work.
    pub(crate) fn open(path: Option<&'a Path>) -> Result<Self, String> {
        Ok(match path {
            None => JsonTarget::Nowhere,
            Some(path) if path == Path::new("-") => JsonTarget::Stdout,
            Some(path) => JsonTarget::File(path, OutputFile::create(path, 0o666)?),
        })
    }

    /// Standard output is for people, unless the JSON goes there.
    pub(crate) fn prints_tables(&self) -> bool {
        !matches!(self, JsonTarget::Stdout)
    }

    pub(crate) fn write(&mut self, document: &impl Serialize) -> Result<(), String> {
        let mut text = serde_json::to_string_pretty(document)
            .map_err(|error| format!("cannot write the JSON: {error}"))?;
        text.push('\n');
        match std::mem::replace(self, JsonTarget::Nowhere) {
            JsonTarget::Nowhere => Ok(()),
            JsonTarget::Stdout => output::print(&text),
            JsonTarget::File(path, mut file) => {
                file.write_all(text.as_bytes())
                    .map_err(|error| cannot_write(path, &error))?;
                file.publish()
            }
        }
    }
}
