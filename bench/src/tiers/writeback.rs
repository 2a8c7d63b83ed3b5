//! Half of the memory that the pages need, and a backing file.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::pattern::{OPERATIONS_PER_SECOND, Operation, Pattern};
use super::replay::Replay;
use super::result::WritebackResult;
use super::scan::TextRuns;
use super::setting::{Lengths, SWEEPS_PER_MINUTE, cool_down};
use super::store::{Build, Page, PutError, Store, StoreOptions};
use crate::latency::Recorder;
use crate::rng::Rng;

/// Share of cold pages.
const COLD_PERCENT: usize = 80;
/// What a backing store may grow to, for each page of the device: all of them raw, with what
/// belongs to their records, and room to clean.
const BYTES_PER_PAGE: u64 = 5 << 10;
const BYTES_MIN: u64 = 16 << 20;
/// Logical seconds of background work that a put may wait for.
const WAITS_MAX: u32 = 600;

/// The most bytes of a backing file or device that a store of `pages` pages may use.
pub fn backing_bytes(pages: usize) -> u64 {
    (pages as u64 * BYTES_PER_PAGE).max(BYTES_MIN)
}

/// A backing file for the time of the run; removed in the end, unless it is a device.
pub struct BackingFile {
    path: PathBuf,
    device: bool,
}

impl BackingFile {
    /// At `path`, where nothing may be yet but a block device or an empty file; without one, a
    /// file in the directory for temporary files.
    ///
    /// # Errors
    /// What is in the way, in words.
    pub fn at(path: Option<&Path>) -> Result<Self, String> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => {
                let name = format!("compcache-bench-{}.backing", std::process::id());
                std::env::temp_dir().join(name)
            }
        };
        let say = |text: &str| format!("{}: {text}", path.display());
        let device = match path.metadata() {
            Err(_) => false,
            Ok(found) if found.file_type().is_block_device() => true,
            Ok(found) if found.is_file() && found.len() == 0 => false,
            Ok(found) if found.is_file() => {
                return Err(say(
                    "there is something in this file, which would be lost; name a new one with --backing",
                ));
            }
            Ok(_) => return Err(say("is neither a file nor a block device")),
        };
        Ok(Self { path, device })
    }

    /// Bytes that the file takes; `None` for a device, and where there is no file.
    fn bytes(&self) -> Option<u64> {
        // Units of 512 bytes, whatever the file system's blocks are.
        let found = self.path.metadata().ok()?;
        (!self.device).then(|| found.blocks() * 512)
    }
}

impl Drop for BackingFile {
    fn drop(&mut self) {
        if !self.device {
            // Not there if the store could not be built.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A store under its limit, and what was seen.
struct Limited<'a> {
    pages: &'a [Page],
    store: Box<dyn Store>,
    now_ms: u64,
    get: Recorder,
    put: Recorder,
    mismatches: u64,
    unreadable: u64,
    put_waits: u64,
    mem_used_max: u64,
    page: Box<Page>,
}

impl Limited<'_> {
    fn second(&mut self, operations: &[Operation]) -> Result<(), String> {
        for operation in operations {
            match *operation {
                Operation::Get { index, content, .. } => self.get(index, content),
                Operation::Put { index, content } => self.put(index, content)?,
                Operation::Discard { index } => {
                    if !self.store.discard(u64::from(index))? {
                        self.mismatches += 1;
                    }
                }
            }
        }
        self.tick();
        Ok(())
    }

    fn get(&mut self, index: u32, content: u32) {
        let start = Instant::now();
        let result = self.store.get(u64::from(index), &mut self.page);
        self.get.record_since(start);
        match result {
            Err(_) => self.unreadable += 1,
            Ok(there) if !there || *self.page != self.pages[content as usize] => {
                self.mismatches += 1;
            }
            Ok(_) => {}
        }
    }

    fn put(&mut self, index: u32, content: u32) -> Result<(), String> {
        let page = &self.pages[content as usize];
        for waits in 0..=WAITS_MAX {
            let start = Instant::now();
            match self.store.put(u64::from(index), page) {
                Ok(()) => {
                    self.put.record_since(start);
                    return Ok(());
                }
                Err(PutError::Other(text)) => return Err(format!("put of page {index}: {text}")),
                Err(PutError::Full) => {
                    self.put_waits += u64::from(waits == 0);
                    self.tick();
                }
            }
        }
        Err(format!(
            "put of page {index}: no room after {WAITS_MAX} logical seconds of background work"
        ))
    }

    fn tick(&mut self) {
        self.look();
        self.now_ms += 1000;
        self.store.tick(self.now_ms);
        self.look();
    }

    fn look(&mut self) {
        self.mem_used_max = self.mem_used_max.max(self.store.memory().mem_used_total);
    }
}

/// Runs the pattern with half of the memory that it needs without a limit.
///
/// # Errors
/// What a store refused, in words.
pub fn run_writeback(
    pages: &[Page],
    seed: u64,
    lengths: Lengths,
    backing: &BackingFile,
    build: Build<'_>,
    progress: &mut dyn FnMut(f64),
) -> Result<WritebackResult, String> {
    let needed_bytes = needed(pages, seed, lengths, build)?;
    progress(0.25);
    let mut options = StoreOptions::new(pages.len());
    options.mem_limit = needed_bytes / 2;
    options.backing = Some(backing.path.clone());
    let mut limited = Limited {
        pages,
        store: build(&options)?,
        now_ms: 0,
        get: Recorder::new(),
        put: Recorder::new(),
        mismatches: 0,
        unreadable: 0,
        put_waits: 0,
        mem_used_max: 0,
        page: Box::new([0; 4096]),
    };
    let mut pattern = Pattern::new(pages.len(), COLD_PERCENT, seed)?;
    run_pattern(&mut limited, &mut pattern, lengths)?;
    progress(0.6);

    // Before everything is read, which may bring pages back to memory.
    let counters = limited.store.counters();
    let file_bytes = backing.bytes().unwrap_or(counters.backing_bytes);
    let runs = TextRuns::of(pages);
    let text_runs_found = runs
        .count_in(&backing.path, backing_bytes(pages.len()))
        .map_err(|error| format!("{}: cannot read: {error}", backing.path.display()))?;
    progress(0.8);
    read_everything(&mut limited, &pattern, seed)?;
    let memory = limited.store.memory();
    Ok(WritebackResult {
        mem_limit: options.mem_limit,
        needed_bytes,
        mem_used_max: limited.mem_used_max,
        pages_held: memory.pages_held,
        gets: limited.get.count(),
        mismatches: limited.mismatches,
        unreadable: limited.unreadable,
        put_waits: limited.put_waits,
        file_bytes,
        compressed_bytes: counters.backing_compressed_bytes,
        file_per_compressed: file_bytes as f64 / counters.backing_compressed_bytes.max(1) as f64,
        text_runs: runs.len() as u64,
        text_runs_found,
        get_ns: limited.get.latency(),
        put_ns: limited.put.latency(),
        counters,
    })
}

/// What the store takes for the pages without a limit, when the cold ones have become cold.
fn needed(pages: &[Page], seed: u64, lengths: Lengths, build: Build<'_>) -> Result<u64, String> {
    let mut pattern = Pattern::new(pages.len(), COLD_PERCENT, seed)?;
    let store = build(&StoreOptions::new(pages.len()))?;
    let mut replay = Replay::new(pages, vec![store]);
    let mut operations = Vec::new();
    pattern.fill(&mut operations);
    replay.seconds(&operations, &mut [])?;
    cool_down(&mut pattern, &mut replay, lengths.cooling_minutes)?;
    Ok(replay.lanes[0].store.memory().mem_used_total)
}

fn run_pattern(
    limited: &mut Limited<'_>,
    pattern: &mut Pattern,
    lengths: Lengths,
) -> Result<(), String> {
    let mut operations = Vec::new();
    pattern.fill(&mut operations);
    for second in operations.chunks(OPERATIONS_PER_SECOND as usize) {
        limited.second(second)?;
    }
    for _ in 0..lengths.cooling_minutes * SWEEPS_PER_MINUTE {
        operations.clear();
        pattern.sweep(&mut operations);
        let end = limited.now_ms + 60_000 / SWEEPS_PER_MINUTE;
        for second in operations.chunks(OPERATIONS_PER_SECOND as usize) {
            limited.second(second)?;
        }
        while limited.now_ms < end {
            limited.tick();
        }
    }
    limited.store.settle();
    limited.look();
    for _ in 0..lengths.operations.div_ceil(OPERATIONS_PER_SECOND) {
        operations.clear();
        pattern.second(&mut operations);
        limited.second(&operations)?;
    }
    // What was discarded and would be put again later.
    operations.clear();
    pattern.fill(&mut operations);
    limited.second(&operations)
}

/// Every page, in order and then in random order.
fn read_everything(limited: &mut Limited<'_>, pattern: &Pattern, seed: u64) -> Result<(), String> {
    let mut order: Vec<u32> = (0..limited.pages.len() as u32).collect();
    for pass in 0..2 {
        for second in order.chunks(OPERATIONS_PER_SECOND as usize) {
            for &index in second {
                match pattern.content(index) {
                    Some(content) => limited.get(index, content),
                    None => return Err(format!("page {index} is not stored in the pattern")),
                }
            }
            limited.tick();
        }
        Rng::new(seed ^ pass).shuffle(&mut order);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_something_in_it_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "mine").unwrap();
        let error = BackingFile::at(Some(&path)).err().unwrap();
        assert!(error.contains("--backing"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        assert!(BackingFile::at(Some(dir.path())).is_err());

        std::fs::write(&path, "").unwrap();
        let file = BackingFile::at(Some(&path)).unwrap();
        std::fs::write(&path, vec![1; 10_000]).unwrap();
        assert!((10_000..100_000).contains(&file.bytes().unwrap()));
        drop(file);
        assert!(!path.exists());
    }
}
