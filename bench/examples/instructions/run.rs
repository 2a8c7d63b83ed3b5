//! Runs the jobs under callgrind, as many at once as there are processors.

use crate::face::FACES;
use crate::history::HISTORIES;
use crate::profile::{Row, add_dumps};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Jobs at most at once: one takes up to 3 GiB.
const JOBS_MAX: usize = 4;

/// `FACE HISTORY INLINE_MOVES` of every job, those with compaction beside frees last; only those
/// of the history `only`, if one is named.
fn jobs(only: Option<&str>) -> Vec<String> {
    let mut jobs = Vec::new();
    for inline_moves in [0, 1] {
        let asked_for = |history: &&str| only.is_none_or(|only| only == *history);
        for history in HISTORIES.into_iter().filter(asked_for) {
            for face in FACES {
                // One face shows what compaction adds.
                if inline_moves == 0 || face == "slots" {
                    jobs.push(format!("{face} {history} {inline_moves}"));
                }
            }
        }
    }
    jobs
}

/// Runs everything and returns what was counted, in the order of the jobs.
pub(crate) fn all(sizes: &[usize], only: Option<&str>) -> Result<Vec<Row>, String> {
    let version = Command::new("valgrind").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Err("valgrind is not there; bench/instructions.sh says how to install it".into());
    }
    let dir = std::env::temp_dir().join(format!("compcache-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let result = run_all(sizes, &jobs(only), &dir);
    // What is left there is of no use to anybody.
    let _ = std::fs::remove_dir_all(&dir);
    result
}

fn run_all(sizes: &[usize], jobs: &[String], dir: &Path) -> Result<Vec<Row>, String> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(JOBS_MAX) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Relaxed)) {
                    let rows = run_job(job, sizes, dir);
                    let done = done.fetch_add(1, Relaxed) + 1;
                    eprintln!("[{done}/{}] {job}", jobs.len());
                    if let Ok(mut results) = results.lock() {
                        results.push((job, rows));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().map_err(|error| error.to_string())?;
    results.sort_by_key(|(job, _)| jobs.iter().position(|other| other == *job));
    let mut rows = Vec::new();
    for (_, of_job) in results {
        rows.extend(of_job?);
    }
    Ok(rows)
}

fn run_job(job: &str, sizes: &[usize], dir: &Path) -> Result<Vec<Row>, String> {
    let stem = job.replace(' ', "-");
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command
        .args(["-q", "--tool=callgrind", "--instr-atstart=no"])
        .args(["--collect-atstart=no", "--compress-strings=no"])
        .arg("--compress-pos=no")
        .arg(format!(
            "--callgrind-out-file={}",
            dir.join(&stem).display()
        ))
        .arg(program)
        .args(["--worker", job]);
    if !sizes.contains(&1_000_000) {
        command.arg("--quick");
    }
    let output = command
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{job}: {}: {}", output.status, errors.trim()));
    }
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let ours = path.file_stem().is_some_and(|name| name == stem.as_str());
        if ours {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            add_dumps(&mut rows, &text)?;
            let _ = std::fs::remove_file(&path);
        }
    }
    rows.sort_by_key(|row| (row.live, row.operation.clone()));
    Ok(rows)
}
