//! The device beside a plain vector, and what it costs when it is empty.

use super::*;
use crate::error::Errno;
use compcache_tiers::WriteBack;
use compcache_tiers::backing::{MemoryStore, Store};
use core::sync::atomic::AtomicBool;
use proptest::prelude::*;
use std::io;

const PAGES: u64 = 24;
const SIZE: u64 = PAGES * PAGE_SIZE;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

#[derive(Clone, Debug)]
enum Op {
    Read(u64, u64),
    Write(u64, u64, u64),
    Discard(u64, u64),
    Zero(u64, u64),
    Extent(u64, u64),
    Limit(u64),
    /// Everything gets cold, and what can be done to it is done.
    Settle,
    /// What can be written back is.
    WriteBack,
}

fn any_op() -> impl Strategy<Value = Op> {
    // In sectors; some past the end.
    let range = || (0..PAGES * 8 + 4, 0..40u64);
    prop_oneof![
        3 => range().prop_map(|(at, len)| Op::Read(at * 512, len * 512)),
        4 => (range(), 0..6u64).prop_map(|((at, len), how)| Op::Write(at * 512, len * 512, how)),
        1 => range().prop_map(|(at, len)| Op::Discard(at * 512, len * 512)),
        1 => range().prop_map(|(at, len)| Op::Zero(at * 512, len * 512)),
        1 => range().prop_map(|(at, len)| Op::Extent(at * 512, len * 512)),
        1 => (0..30u64).prop_map(|pages| Op::Limit(pages * PAGE_SIZE)),
        1 => Just(Op::Settle),
        1 => Just(Op::WriteBack),
    ]
}

struct Model {
    device: Device,
    bytes: Vec<u8>,
}

impl Model {
    fn in_range(at: u64, len: u64) -> Option<Range<usize>> {
        (at + len <= SIZE).then_some(at as usize..(at + len) as usize)
    }

    fn out_of_range<T: PartialEq + core::fmt::Debug>(result: Result<T, Error>, at: u64, len: u64) {
        let error = Error::OutOfRange {
            offset: at,
            len,
            size: SIZE,
        };
        assert_eq!(result, Err(error));
    }

    /// Pages are atomic: one after the other is new until the one that failed.
    fn after_failure(&mut self, at: u64, new: &[u8], error: Error) {
        assert!(matches!(error, Error::NoSpace(_)), "{error}");
        let mut back = vec![0; new.len()];
        self.device.read(at, &mut back).unwrap();
        let mut done = 0;
        while done < new.len() {
            let (_, _, len) = piece(at + done as u64, new.len() - done);
            if back[done..done + len] != new[done..done + len] {
                break;
            }
            done += len;
        }
        let start = at as usize;
        assert!(back[done..] == self.bytes[start + done..start + new.len()]);
        self.bytes[start..start + new.len()].copy_from_slice(&back);
    }

    fn step(&mut self, op: &Op, nth: u64) {
        match *op {
            Op::Read(at, len) => {
                let mut out = vec![0xa5; len as usize];
                let result = self.device.read(at, &mut out);
                match Self::in_range(at, len) {
                    None => Self::out_of_range(result, at, len),
                    Some(range) => assert!(result.is_ok() && out == self.bytes[range]),
                }
            }
            Op::Write(at, len, how) => {
                let new = match how {
                    0 => vec![0; len as usize],
                    1 => vec![nth as u8; len as usize],
                    2 => noise(nth, len as usize),
                    _ => noise(nth, 16)
                        .into_iter()
                        .cycle()
                        .take(len as usize)
                        .collect(),
                };
                let result = self.device.write(at, &new);
                match (Self::in_range(at, len), result) {
                    (None, result) => Self::out_of_range(result, at, len),
                    (Some(range), Ok(())) => self.bytes[range].copy_from_slice(&new),
                    (Some(_), Err(error)) => self.after_failure(at, &new, error),
                }
            }
            Op::Discard(at, len) => {
                let result = self.device.discard(at, len);
                match Self::in_range(at, len) {
                    None => Self::out_of_range(result, at, len),
                    Some(_) => {
                        result.unwrap();
                        for index in whole_pages(at, len) {
                            let at = (index * PAGE_SIZE) as usize;
                            self.bytes[at..at + PAGE_SIZE as usize].fill(0);
                        }
                    }
                }
            }
            Op::Zero(at, len) => {
                let result = self.device.write_zeroes(at, len);
                match (Self::in_range(at, len), result) {
                    (None, result) => Self::out_of_range(result, at, len),
                    (Some(range), Ok(())) => self.bytes[range].fill(0),
                    // The ends are parts of pages, which may want more room than they had.
                    (Some(range), Err(error)) => {
                        assert!(matches!(error, Error::NoSpace(_)), "{error}");
                        let mut back = vec![0; len as usize];
                        self.device.read(at, &mut back).unwrap();
                        for (old, new) in self.bytes[range].iter_mut().zip(back) {
                            assert!(new == 0 || new == *old);
                            *old = new;
                        }
                    }
                }
            }
            Op::Extent(at, len) => {
                let result = self.device.extent(at, len);
                match Self::in_range(at, len) {
                    None => Self::out_of_range(result, at, len),
                    Some(range) => {
                        let extent = result.unwrap();
                        assert!(extent.len <= len && (extent.len > 0) == (len > 0));
                        if extent.kind == ExtentKind::Hole {
                            let hole = &self.bytes[range][..extent.len as usize];
                            assert!(hole.iter().all(|&byte| byte == 0));
                        }
                    }
                }
            }
            Op::Limit(bytes) => self.device.set_mem_limit(bytes),
            Op::Settle => drop(self.device.tiered().settle().unwrap()),
            Op::WriteBack => {
                let all = WriteBack::Pages(0..PAGES);
                match self.device.tiered().write_back(&all, || true) {
                    Ok(_) | Err(compcache_tiers::Error::NoStore) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_device_is_a_vector_of_bytes(ops in proptest::collection::vec(any_op(), 1..120), codec in 0..3usize) {
        let names = if cfg!(feature = "zstd") { ["lz4", "raw", "zstd:1"] } else { ["lz4", "raw", "lz4"] };
        let codec = names[codec].parse().unwrap();
        let device = Device::new(Config { codec, ..Config::new(SIZE) }).unwrap();
        let mut model = Model { device, bytes: vec![0; SIZE as usize] };
        for (nth, op) in ops.iter().enumerate() {
            model.step(op, nth as u64);
        }
        let mut all = vec![0xa5; SIZE as usize];
        model.device.read(0, &mut all).unwrap();
        prop_assert!(all == model.bytes);
        model.device.discard(0, SIZE).unwrap();
        prop_assert_eq!(model.device.stat().mm.mem_used_total, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The same where pages get denser, are merged, and go to a store and come back.
    #[test]
    fn a_device_with_tiers_is_a_vector_of_bytes(ops in proptest::collection::vec(any_op(), 1..120), stored: bool) {
        let name = if cfg!(feature = "zstd") { "lz4 lz4hc zstd:1" } else { "lz4 lz4hc" };
        let codec = name.parse().unwrap();
        let device = Device::new(Config { codec, policy: Policy::ALL, ..Config::new(SIZE) }).unwrap();
        if stored {
            device.set_store(Box::new(MemoryStore::new(8 << 20))).unwrap();
        }
        let mut model = Model { device, bytes: vec![0; SIZE as usize] };
        for (nth, op) in ops.iter().enumerate() {
            model.step(op, nth as u64);
        }
        let mut all = vec![0xa5; SIZE as usize];
        model.device.read(0, &mut all).unwrap();
        prop_assert!(all == model.bytes);
        model.device.discard(0, SIZE).unwrap();
        let stat = model.device.stat();
        prop_assert_eq!((stat.mm.orig_data_size, stat.tiers.backed_bytes), (0, 0));
    }
}

/// Memory that reads nothing back while it is told so.
struct Deaf {
    memory: MemoryStore,
    is_deaf: Arc<AtomicBool>,
}

impl Store for Deaf {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.is_deaf.load(Ordering::Relaxed) {
            true => Err(io::Error::other("deaf")),
            false => self.memory.read_at(offset, out),
        }
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_at(offset, bytes)
    }
    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.memory.discard(offset, len)
    }
    fn len(&self) -> u64 {
        self.memory.len()
    }
}

#[test]
fn a_store_that_fails_is_an_io_error_for_its_pages_alone() {
    let device = Device::new(Config::new(SIZE)).unwrap();
    let is_deaf = Arc::new(AtomicBool::new(false));
    device
        .set_store(Box::new(Deaf {
            memory: MemoryStore::new(8 << 20),
            is_deaf: Arc::clone(&is_deaf),
        }))
        .unwrap();
    let (there, here) = (noise(1, 4096), noise(2, 4096));
    device.write(0, &there).unwrap();
    device.write(4096, &here).unwrap();
    let written = device
        .tiered()
        .write_back(&WriteBack::Pages(0..1), || true)
        .unwrap();
    assert_eq!((written, device.stat().tiers.backed_pages), (1, 1));
    is_deaf.store(true, Ordering::Relaxed);
    let mut page = [0; 4096];
    let error = device.read(0, &mut page).unwrap_err();
    assert_eq!(error, Error::Backing { offset: 0 });
    assert_eq!(error.errno(), Errno::Io);
    assert_eq!(page, [0; 4096], "no other bytes");
    // A part of it cannot be written either; all of it can, and others are where they were.
    assert_eq!(device.write(0, &[1; 512]), Err(error));
    device.read(4096, &mut page).unwrap();
    assert!(page[..] == here);
    assert!(device.stat().backing.errors > 0);
    is_deaf.store(false, Ordering::Relaxed);
    device.read(0, &mut page).unwrap();
    assert!(page[..] == there);
    device.write(0, &here).unwrap();
    device.read(0, &mut page).unwrap();
    assert!(page[..] == here);
}

#[test]
fn a_limit_of_writing_back_is_kept_while_it_is_off() {
    let device = Device::new(Config::new(SIZE)).unwrap();
    assert_eq!(device.writeback_limit(), (0, false));
    device.set_writeback_limit(Some(7), false);
    assert_eq!(device.writeback_limit(), (7, false));
    device.set_writeback_limit(None, true);
    assert_eq!(device.writeback_limit(), (7, true));
    device.set_writeback_limit(None, false);
    assert_eq!(device.writeback_limit(), (7, false));
}

#[test]
fn a_device_has_one_store_and_a_thread_once_there_is_something_to_do() {
    let device = Device::new(Config::new(SIZE)).unwrap();
    assert!(!device.tiered().has_thread());
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        device.set_backing(std::path::Path::new("/dev/null"), 8 << 20),
        Err(crate::BackingError::Open(_))
    ));
    assert_eq!(device.backing_path(), None);
    device.set_backing(dir.path(), 8 << 20).unwrap();
    assert!(device.tiered().has_thread());
    assert_eq!(device.backing_path(), Some(dir.path()));
    assert!(matches!(
        device.set_backing(dir.path(), 8 << 20),
        Err(crate::BackingError::HasStore)
    ));
    let device = Device::new(Config::new(SIZE)).unwrap();
    device.set_policy(Policy::ALL).unwrap();
    assert!(device.tiered().has_thread());
}

#[test]
fn unaligned_requests_are_refused_and_counted() {
    let device = Device::new(Config::new(SIZE)).unwrap();
    let error = Error::Unaligned {
        offset: 1,
        len: 512,
    };
    assert_eq!(device.read(1, &mut [0; 512]), Err(error));
    assert_eq!(device.discard(1, 512), Err(error));
    assert_eq!(device.write_zeroes(1, 512), Err(error));
    assert_eq!(device.extent(1, 512), Err(error));
    assert_eq!(
        device.write(0, &[0; 100]),
        Err(Error::Unaligned {
            offset: 0,
            len: 100
        })
    );
    assert_eq!(device.io_stat().invalid_io, 5);
    assert_eq!(device.latency(Kind::Read).failed(), 1);
}

#[test]
fn sizes_are_whole_pages() {
    for size in [0, 1, 512, 4095, 4097, u64::MAX] {
        assert!(matches!(
            Device::new(Config::new(size)),
            Err(NewError::BadSize { .. })
        ));
    }
    assert!(matches!(
        Device::new(Config::new(1 << 60)),
        Err(NewError::Build(_))
    ));
}

#[test]
fn an_empty_device_of_16_gib_costs_next_to_nothing() {
    let size = 16 << 30;
    let device = Device::new(Config::new(size)).unwrap();
    let limit = size * 15 / 10_000;
    let cost = |device: &Device| {
        let memory = device.stat().memory;
        memory.mem_used_total + memory.beside
    };
    assert!(cost(&device) <= limit);
    device.write_zeroes(0, size).unwrap();
    assert!(cost(&device) <= limit);
    for index in (0..size / PAGE_SIZE).step_by(4) {
        device.write(index * PAGE_SIZE, &ZEROES).unwrap();
    }
    assert_eq!(
        device.extent(0, 8192).unwrap(),
        Extent {
            len: 4096,
            kind: ExtentKind::Data
        }
    );
    device.discard(0, size).unwrap();
    assert!(cost(&device) <= limit);
    assert_eq!(
        device.extent(0, size).unwrap(),
        Extent {
            len: size,
            kind: ExtentKind::Hole
        }
    );
}

#[test]
fn same_filled_pages_take_no_object() {
    let device = Device::new(Config::new(SIZE)).unwrap();
    device.write(0, &[0x61; 8192]).unwrap();
    let stat = device.stat();
    assert_eq!((stat.mm.same_pages, stat.memory.blocks), (2, 0));
    assert_eq!(
        (stat.io.writes, device.latency(Kind::Write).requests()),
        (2, 1)
    );
}

#[test]
fn at_the_limit_the_old_page_stays() {
    let device = Device::new(Config::new(SIZE)).unwrap();
    let old = noise(3, 4096);
    device.write(4096, &old).unwrap();
    device.set_mem_limit(1);
    assert!(matches!(
        device.write(4096, &noise(4, 4096)),
        Err(Error::NoSpace(_))
    ));
    assert!(matches!(
        device.write(8192, &noise(4, 4096)),
        Err(Error::NoSpace(_))
    ));
    let mut back = vec![0; 4096];
    device.read(4096, &mut back).unwrap();
    assert!(back == old);
    device.set_mem_limit(0);
    device.write(8192, &noise(4, 4096)).unwrap();
}

/// `ctl NAME reset` looked for clients before and after, not meanwhile: who connected in between had
/// writes acknowledged, and then forgotten.
#[test]
fn a_write_that_comes_during_a_reset_is_kept() {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    let device = Device::new(Config::new(SIZE)).unwrap();
    device.write(0, &noise(1, 4096)).unwrap();
    let (done, is_done) = channel();
    std::thread::scope(|scope| {
        let reset = device.reset_unless(|| {
            // Somebody connects after he was looked for.
            scope.spawn(|| {
                device.write(4096, &noise(2, 4096)).unwrap();
                done.send(()).unwrap();
            });
            let early = is_done.recv_timeout(std::time::Duration::from_millis(200));
            assert_eq!(
                early,
                Err(RecvTimeoutError::Timeout),
                "acknowledged too early"
            );
            Ok::<(), ()>(())
        });
        assert_eq!(reset, Ok(()));
        is_done.recv().unwrap();
    });
    let mut page = [0; 4096];
    device.read(4096, &mut page).unwrap();
    assert!(page[..] == noise(2, 4096));
    device.read(0, &mut page).unwrap();
    assert_eq!(page, [0; 4096]);
    assert_eq!(device.reset_unless(|| Err(7)), Err(7));
    assert_eq!(device.stat().mm.orig_data_size, 4096);
}
