//! Work for a block device, with the pages of a file: what the guests of the module's tests run.
//!
//! `pages work DEVICE FILE ROUNDS SEED`: stores the file's pages, overwrites as many pages as there are
//! ROUNDS times at random with others of them, one in four with nothing (discard), and reads everything
//! back. After each step it prints a line `NAME us US mismatches M available KIB` (MemAvailable); between them it waits
//! for what the device does by itself. File pages are dropped before the first step and after the last one, `dropped`.
//!
//! `pages swap FILE MIB GROUP`: reads the file, locks what it has read in memory, goes into the memory
//! group, fills that much memory with the file's pages, and reads it back in another order. Prints `swap ms MS mismatches M pswpin I pswpout O`.
//!
//! `pages fill DEVICE FILE`: stores the file's pages one by one; prints `fill failed COUNT`.
//!
//! `pages verify DEVICE FILE [OTHER]`: whether every page is that of the file, or of the other one: after
//! a `fill` that failed for some pages, these are what they were before.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::ExitCode;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const O_DIRECT: i32 = 0o40000;
const MCL_CURRENT: i32 = 1;
const PROT_WRITE: i32 = 2;
const MAP_PRIVATE_ANONYMOUS: i32 = 0x22;
const MADV_NOHUGEPAGE: i32 = 15;
const BLKDISCARD: u64 = 0x1277;
/// Pages of one request where they follow each other.
const RUN: usize = 8;

unsafe extern "C" {
    fn ioctl(fd: i32, request: u64, ...) -> i32;
    fn mlockall(flags: i32) -> i32;
    fn mmap(at: *mut u8, len: usize, access: i32, flags: i32, fd: i32, offset: i64) -> *mut u8;
    fn madvise(at: *mut u8, len: usize, advice: i32) -> i32;
    fn munmap(at: *mut u8, len: usize) -> i32;
}

#[repr(C, align(4096))]
#[derive(Clone, Copy)]
struct Page([u8; PAGE]);

/// The pages of a file in memory that O_DIRECT can use.
fn load(path: &str) -> Vec<Page> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    bytes
        .chunks_exact(PAGE)
        .map(|chunk| Page(chunk.try_into().expect("a page")))
        .collect()
}

fn bytes_of(pages: &[Page]) -> &[u8] {
    // SAFETY: pages are bytes without gaps.
    unsafe { std::slice::from_raw_parts(pages.as_ptr().cast(), pages.len() * PAGE) }
}

fn bytes_of_mut(pages: &mut [Page]) -> &mut [u8] {
    // SAFETY: as above; any bytes are a page.
    unsafe { std::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), pages.len() * PAGE) }
}

fn open(path: &str) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_DIRECT)
        .open(path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn discard(device: &File, first: usize, count: usize) {
    let range = [(first * PAGE) as u64, (count * PAGE) as u64];
    // SAFETY: BLKDISCARD reads two numbers.
    let status = unsafe { ioctl(device.as_raw_fd(), BLKDISCARD, range.as_ptr()) };
    assert_eq!(status, 0, "discard");
}

/// A field of /proc/meminfo or /proc/vmstat.
fn field(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.split([' ', ':']).next() == Some(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

/// MemAvailable. The CPU's list of free pages, which count as used, is made full; with memory that does not pass
/// through malloc, which would keep it from the second time on (8 MiB that were counted as the device's).
fn available() -> u64 {
    const BYTES: usize = 8 << 20;
    // SAFETY: 1. a mapping of its own; 2. that is written inside; 3. and goes, with nobody who refers to it.
    unsafe {
        let memory = mmap(null_mut(), BYTES, PROT_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
        assert_ne!(memory.addr(), usize::MAX, "mmap");
        // Single pages are what the list is of.
        madvise(memory, BYTES, MADV_NOHUGEPAGE);
        for offset in (0..BYTES).step_by(PAGE) {
            memory.add(offset).write_volatile(1);
        }
        munmap(memory, BYTES);
    }
    std::thread::sleep(Duration::from_millis(100));
    let _ = std::fs::read("/proc/sys/vm/stat_refresh");
    field("/proc/meminfo", "MemAvailable")
}

/// Files in memory are not what is measured. (3 would also ask zram's allocator to pack itself, and ours:
/// that is measured when all the work is done.)
fn drop_files() {
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "1");
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize % bound
    }
}

/// Stores the pages; returns how many could not be.
fn fill(device: &File, pages: &[Page]) -> usize {
    let mut failed = 0;
    for (number, run) in pages.chunks(RUN).enumerate() {
        if device
            .write_all_at(bytes_of(run), (number * RUN * PAGE) as u64)
            .is_err()
        {
            failed += run.len();
        }
    }
    failed
}

/// Pages of the device that are not what `expected` says.
fn verify(device: &File, pages: &[Page], expected: &[Option<usize>]) -> usize {
    let mut room = vec![Page([0; PAGE]); RUN];
    let mut mismatches = 0;
    for (number, run) in expected.chunks(RUN).enumerate() {
        let room = &mut room[..run.len()];
        if device
            .read_exact_at(bytes_of_mut(room), (number * RUN * PAGE) as u64)
            .is_err()
        {
            mismatches += run.len();
            continue;
        }
        mismatches += std::iter::zip(run, room)
            .filter(|(expected, found)| match expected {
                Some(number) => pages[*number].0 != found.0,
                None => found.0.iter().any(|&byte| byte != 0),
            })
            .count();
    }
    mismatches
}

fn work(device: &str, file: &str, rounds: usize, seed: u64) -> ExitCode {
    let pages = load(file);
    let device = open(device);
    let mut failures = 0;
    let mut step = |name: &str, run: &mut dyn FnMut() -> usize| {
        let began = Instant::now();
        let mismatches = run();
        let time = began.elapsed();
        std::thread::sleep(Duration::from_millis(1500));
        println!(
            "{name} us {} mismatches {mismatches} available {}",
            time.as_micros(),
            available()
        );
        failures += mismatches;
    };
    let mut expected: Vec<Option<usize>> = (0..pages.len()).map(Some).collect();
    drop_files();
    step("begin", &mut || 0);
    step("fill", &mut || fill(&device, &pages));
    step("read", &mut || verify(&device, &pages, &expected));
    let mut random = Random(seed);
    step("churn", &mut || {
        let mut failed = 0;
        for _ in 0..rounds * pages.len() {
            let index = random.below(pages.len());
            if random.below(4) == 0 {
                discard(&device, index, 1);
                expected[index] = None;
            } else {
                let number = random.below(pages.len());
                let page = bytes_of(&pages[number..=number]);
                failed += usize::from(device.write_all_at(page, (index * PAGE) as u64).is_err());
                expected[index] = Some(number);
            }
        }
        failed
    });
    step("read_again", &mut || verify(&device, &pages, &expected));
    drop_files();
    step("dropped", &mut || 0);
    ExitCode::from(u8::from(failures > 0))
}

fn swap(file: &str, mib: usize, group: &str) -> ExitCode {
    let pages = load(file);
    // SAFETY: locks what is mapped now; no preconditions.
    assert_eq!(unsafe { mlockall(MCL_CURRENT) }, 0, "mlockall");
    let id = std::process::id().to_string();
    std::fs::write(format!("{group}/cgroup.procs"), id).expect("the group");
    let before = (
        field("/proc/vmstat", "pswpin"),
        field("/proc/vmstat", "pswpout"),
    );
    let count = mib << 8;
    let began = Instant::now();
    // Not filled beforehand: the system gives memory when it is written.
    let mut memory: Vec<Page> = Vec::with_capacity(count);
    let mut sums = Vec::with_capacity(count);
    let mut page;
    for number in 0..count {
        page = pages[number % pages.len()];
        // Its own number, so that no two are the same.
        page.0[..8].copy_from_slice(&(number as u64).to_le_bytes());
        sums.push(sum(&page));
        memory.push(page);
    }
    let stride = (count / 3) | 1;
    let (mut mismatches, mut number) = (0, count / 2);
    for _ in 0..count {
        mismatches += usize::from(sum(&memory[number]) != sums[number]);
        number = (number + stride) % count;
    }
    let time = began.elapsed();
    println!(
        "swap us {} mismatches {mismatches} pswpin {} pswpout {}",
        time.as_micros(),
        field("/proc/vmstat", "pswpin") - before.0,
        field("/proc/vmstat", "pswpout") - before.1
    );
    ExitCode::from(u8::from(mismatches > 0))
}

fn sum(page: &Page) -> u64 {
    page.0.chunks_exact(8).fold(0u64, |sum, word| {
        (sum.rotate_left(5) ^ u64::from_le_bytes(word.try_into().expect("a word")))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number");
    match words[..] {
        ["work", device, file, rounds, seed] => {
            work(device, file, number(rounds), number(seed) as u64)
        }
        ["swap", file, mib, group] => swap(file, number(mib), group),
        ["fill", device, file] => {
            let device = open(device);
            let failed = std::iter::zip(load(file).chunks(1), 0u64..)
                .filter(|(page, number)| device.write_all_at(bytes_of(page), number << 12).is_err())
                .count();
            println!("fill failed {failed}");
            ExitCode::SUCCESS
        }
        ["verify", device, file] | ["verify", device, file, _] => {
            let (pages, others) = (load(file), words.get(3).map(|other| load(other)));
            let device = open(device);
            let mut found = [Page([0; PAGE])];
            let is_one = |number: usize, found: &Page| {
                let other = others
                    .as_ref()
                    .is_some_and(|others| others[number].0 == found.0);
                other || pages[number].0 == found.0
            };
            let mismatches = (0..pages.len())
                .filter(|&number| {
                    let read =
                        device.read_exact_at(bytes_of_mut(&mut found), (number * PAGE) as u64);
                    read.is_err() || !is_one(number, &found[0])
                })
                .count();
            println!("verify mismatches {mismatches}");
            ExitCode::from(u8::from(mismatches > 0))
        }
        _ => {
            eprintln!(
                "usage: pages work DEVICE FILE ROUNDS SEED | swap FILE MIB GROUP | fill|verify DEVICE FILE [OTHER]"
            );
            ExitCode::from(2)
        }
    }
}
