//! Pages of a live process: its anonymous resident memory, what the kernel calls `RssAnon`.
//!
//! `/proc/PID/smaps` names the private mappings, `/proc/PID/pagemap` says which of
//! their pages are present and not the page of a file, `/proc/PID/mem` holds the bytes.
//! The process keeps running: pages that vanish meanwhile are left out, and pages
//! that change are taken as they are. A page that was read and never
//! written counts too if its mapping has others: the shared zero page is present.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use procfs::ProcError;
use procfs::process::{
    MMPermissions, MMapPath, MemoryMap, MemoryPageFlags, PageInfo, PageMap, Process,
};

use super::{PAGE_SIZE, PageSet};

/// Pages looked up in the page map at once: 64 MiB of addresses, half a megabyte of answers.
const MAP_CHUNK_PAGES: u64 = 16 * 1024;
/// Pages read at once.
const READ_PAGES: u64 = 256;

/// The memory of a process, open for reading.
pub(crate) struct ProcessMemory {
    pid: i32,
    name: String,
    mappings: Vec<MemoryMap>,
    page_map: PageMap,
    memory: File,
}

/// What [`ProcessMemory::read`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Captured {
    /// Pages handed out.
    pub(crate) pages: u64,
    /// There were more, but the limit was reached.
    pub(crate) truncated: bool,
}

/// Which pages count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Pages that are in memory now.
    Resident,
    /// Those, and what was swapped out; reading brings it back.
    ResidentOrSwapped,
}

impl ProcessMemory {
    /// Opens the memory of process `pid`.
    ///
    /// # Errors
    /// Where there is no such process, no permission to read it, or nothing to read.
    pub(crate) fn open(pid: i32) -> Result<Self, String> {
        let explain = |error| explain(pid, error);
        let process = Process::new(pid).map_err(explain)?;
        let name = process.stat().map_err(explain)?.comm;
        let mappings: Vec<MemoryMap> = process
            .smaps()
            .map_err(explain)?
            .into_iter()
            .filter(|map| is_private(map) && has_anonymous(map))
            .collect();
        if mappings.is_empty() {
            return Err(format!(
                "process {pid} ({name}) has no memory of its own: it is a kernel thread or has ended"
            ));
        }
        let page_map = process.pagemap().map_err(explain)?;
        let memory = process.mem().map_err(explain)?;
        Ok(ProcessMemory {
            pid,
            name,
            mappings,
            page_map,
            memory,
        })
    }

    /// In words, for the results.
    pub(crate) fn source(&self) -> String {
        format!("process {} ({})", self.pid, self.name)
    }

    /// Hands the wanted pages to `sink` in address order, runs of whole pages, at most `max_pages` in all.
    ///
    /// # Errors
    /// Where the process ends meanwhile, and what `sink` returns.
    pub(crate) fn read(
        &mut self,
        wanted: Wanted,
        max_pages: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Captured, String> {
        let ranges: Vec<Range<u64>> = self
            .mappings
            .iter()
            .map(|map| map.address.0..map.address.1)
            .collect();
        self.read_ranges(&ranges, wanted, max_pages, sink)
    }

    /// As [`read`](Self::read), of these addresses only; they must be whole pages.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_ranges(
        &mut self,
        ranges: &[Range<u64>],
        wanted: Wanted,
        max_pages: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Captured, String> {
        let mut buffer = vec![0; READ_PAGES as usize * PAGE_SIZE];
        let mut pages = 0;
        for range in ranges {
            let (mut at, end) = (range.start / PAGE_SIZE as u64, range.end / PAGE_SIZE as u64);
            while at < end {
                let chunk = at..end.min(at + MAP_CHUNK_PAGES);
                at = chunk.end;
                // The end of the address space cannot be looked up; a process that ended cannot either.
                let Ok(infos) = self
                    .page_map
                    .get_range_info(chunk.start as usize..chunk.end as usize)
                else {
                    continue;
                };
                for run in runs(chunk.start, &infos, wanted) {
                    let left = max_pages - pages;
                    if left == 0 {
                        return Ok(Captured {
                            pages,
                            truncated: true,
                        });
                    }
                    let take = run.start..run.end.min(run.start.saturating_add(left));
                    let cut = take.end < run.end;
                    pages += self.read_run(take, &mut buffer, sink)?;
                    if cut {
                        return Ok(Captured {
                            pages,
                            truncated: true,
                        });
                    }
                }
            }
        }
        Ok(Captured {
            pages,
            truncated: false,
        })
    }

    /// Reads one run of neighbouring pages; returns how many were still there.
    fn read_run(
        &self,
        run: Range<u64>,
        buffer: &mut [u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<u64, String> {
        let (mut at, mut pages) = (run.start, 0);
        // After a failure the rest of the step is read page by page, as one page of it has vanished.
        let mut singly_until = at;
        while at < run.end {
            let step = if at < singly_until {
                1
            } else {
                (run.end - at).min(READ_PAGES)
            };
            let bytes = &mut buffer[..step as usize * PAGE_SIZE];
            match self.memory.read_exact_at(bytes, at * PAGE_SIZE as u64) {
                Ok(()) => {
                    sink(bytes)?;
                    pages += step;
                    at += step;
                }
                // The kernel reads nothing, and says so, when the process has no memory any more.
                Err(_)
                    if self
                        .memory
                        .read_at(&mut [0], self.mappings[0].address.0)
                        .is_ok_and(|read| read == 0) =>
                {
                    return Err(format!(
                        "process {} ended while its memory was read",
                        self.pid
                    ));
                }
                Err(_) if step == 1 => at += 1,
                Err(_) => singly_until = at + step,
            }
        }
        Ok(pages)
    }
}

/// Captures the anonymous resident memory of process `pid`, at most `max_pages` pages; the
/// flag says whether there were more.
///
/// # Errors
/// As [`ProcessMemory::open`] and [`ProcessMemory::read`], and where the process has no such page.
pub(crate) fn capture(pid: i32, max_pages: u64) -> Result<(PageSet, bool), String> {
    let mut process = ProcessMemory::open(pid)?;
    let mut bytes = Vec::new();
    let captured = process.read(Wanted::Resident, max_pages, &mut |run| {
        bytes.try_reserve(run.len()).map_err(|_| {
            format!(
                "out of memory after {} pages; lower --max-pages",
                bytes.len() / PAGE_SIZE
            )
        })?;
        bytes.extend_from_slice(run);
        Ok(())
    })?;
    Ok((PageSet::new(process.source(), bytes)?, captured.truncated))
}

/// Private mappings, but for the kernel's own and those of devices.
fn is_private(map: &MemoryMap) -> bool {
    let kernels = match &map.pathname {
        MMapPath::Vdso | MMapPath::Vvar | MMapPath::Vsyscall => true,
        MMapPath::Other(name) => name.starts_with("[vvar") || name.starts_with("[uprobes"),
        MMapPath::Path(path) => path.starts_with("/dev"),
        _ => false,
    };
    map.perms.contains(MMPermissions::PRIVATE) && !kernels
}

/// Whether any page of the mapping is anonymous, in memory or swapped out. Most of the terabytes of
/// addresses that some run times reserve are not, and looking those up would take long.
fn has_anonymous(map: &MemoryMap) -> bool {
    let known = &map.extension.map;
    let some = |name| known.get(name).is_none_or(|bytes| *bytes > 0);
    some("Anonymous") || some("Swap")
}

/// The runs of wanted pages among `infos`, which start at page `first`.
fn runs(first: u64, infos: &[PageInfo], wanted: Wanted) -> Vec<Range<u64>> {
    let is_wanted = |info: &PageInfo| match info {
        PageInfo::MemoryPage(flags) => {
            flags.contains(MemoryPageFlags::PRESENT) && !flags.contains(MemoryPageFlags::FILE)
        }
        PageInfo::SwapPage(_) => wanted == Wanted::ResidentOrSwapped,
    };
    let mut at = first;
    let mut runs = Vec::new();
    for group in infos.chunk_by(|one, two| is_wanted(one) == is_wanted(two)) {
        let end = at + group.len() as u64;
        if is_wanted(&group[0]) {
            runs.push(at..end);
        }
        at = end;
    }
    runs
}

/// One line for what went wrong, with the next step.
fn explain(pid: i32, error: ProcError) -> String {
    match error {
        ProcError::NotFound(_) => format!("no process {pid}; `ps` lists the processes there are"),
        ProcError::PermissionDenied(_) => {
            format!(
                "no permission to read the memory of process {pid}; run as its user or as root (and see kernel.yama.ptrace_scope)"
            )
        }
        // Opened, and gone before it was read.
        ProcError::Io(error, _) if error.raw_os_error() == Some(nix::libc::ESRCH) => {
            format!("process {pid} has ended")
        }
        other => format!("cannot read process {pid}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const OF_FILE: u64 = 1 << 61;

    #[test]
    fn runs_are_of_anonymous_pages_only() {
        let words = [0, PRESENT, PRESENT, PRESENT | OF_FILE, PRESENT, SWAPPED, 0];
        let infos: Vec<PageInfo> = words
            .iter()
            .map(|word| PageInfo::parse_info(*word))
            .collect();
        assert_eq!(runs(10, &infos, Wanted::Resident), [11..13, 14..15]);
        assert_eq!(
            runs(10, &infos, Wanted::ResidentOrSwapped),
            [11..13, 14..16]
        );
    }

    #[test]
    fn the_limit_stops_a_capture_and_is_reported() {
        let (set, truncated) = capture(std::process::id() as i32, 3).unwrap();
        assert_eq!((set.count(), truncated), (3, true));
    }

    #[test]
    fn a_dead_process_is_named() {
        // Above the largest pid Linux gives out.
        let error = capture(5_000_000, 1).err().unwrap();
        assert!(error.contains("no process 5000000"), "{error}");
    }
}
