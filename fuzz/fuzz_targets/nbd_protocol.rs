//! The NBD server's machine, fed by hostile clients and by one that a model knows.
//!
//! Hostile: bytes as they come, at any stage, cut anywhere. The machine must not panic, not ask
//! for more room than its buffers have, and not write more than them. Known: requests of which
//! some are wrong and some fail in the device; every answer is what a vector of bytes says.
#![no_main]

mod model_common;

use compcache_device::{BlockDevice, Error, Extent, ExtentKind, check_range};
use compcache_nbd::probe::{Ask, Client, Loopback, command, command_flag};
use compcache_nbd::{Connection, Export};
use libfuzzer_sys::fuzz_target;
use model_common::{Input, pattern};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

const SIZE: u64 = 128 << 10;
const PAGE: u64 = 4096;
const ASKS_MAX: usize = 60;
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;

static ZEROES: [u8; SIZE as usize] = [0; SIZE as usize];

/// Compares whole slices: the sanitizer counts every comparison of a loop over bytes.
fn is_zero(bytes: &[u8]) -> bool {
    bytes == &ZEROES[..bytes.len()]
}

/// A vector as a device; it fails after a countdown.
struct Bytes {
    bytes: Mutex<Vec<u8>>,
    left: AtomicU32,
}

impl Bytes {
    fn new() -> Self {
        Self {
            bytes: Mutex::new(vec![0; SIZE as usize]),
            left: AtomicU32::new(u32::MAX),
        }
    }

    fn on<T>(&self, offset: u64, len: u64, work: impl FnOnce(&mut [u8]) -> T) -> Result<T, Error> {
        check_range(offset, len, SIZE)?;
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(Error::Corrupt { offset });
        }
        self.left.store(left - 1, Ordering::Relaxed);
        let mut bytes = self.bytes.lock().unwrap();
        Ok(work(&mut bytes[offset as usize..(offset + len) as usize]))
    }
}

impl BlockDevice for Bytes {
    fn size(&self) -> u64 {
        SIZE
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.on(offset, out.len() as u64, |bytes| out.copy_from_slice(bytes))
    }

    fn write(&self, offset: u64, new: &[u8]) -> Result<(), Error> {
        self.on(offset, new.len() as u64, |bytes| bytes.copy_from_slice(new))
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.on(offset, len, |bytes| bytes.fill(0))
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.on(offset, len, |bytes| bytes.fill(0))
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent, Error> {
        let kind_of = |page: &[u8]| match is_zero(page) {
            true => ExtentKind::Hole,
            false => ExtentKind::Data,
        };
        self.on(offset, len, |bytes| {
            let first = (PAGE - offset % PAGE).min(len) as usize;
            let (head, rest) = bytes.split_at(first);
            let kind = kind_of(head);
            let same = rest
                .chunks(PAGE as usize)
                .take_while(|page| kind_of(page) == kind);
            let len = (first + same.map(<[u8]>::len).sum::<usize>()) as u64;
            Extent { len, kind }
        })
    }
}

fn loopback(device: &Arc<Bytes>, input: &mut Input<'_>) -> Loopback {
    let buffer_bytes = 20_000 + usize::from(input.byte()) * 300;
    let export = Arc::new(Export::new("disk", false).unwrap());
    let device = Arc::clone(device) as Arc<dyn BlockDevice>;
    let connection = Connection::with_buffers(device, export, buffer_bytes);
    let mut loopback = Loopback::new(connection, buffer_bytes);
    loopback.chunk = match input.byte() {
        0 => usize::MAX,
        byte => usize::from(byte) * usize::from(byte),
    };
    loopback
}

fn hostile(stage: u8, mut input: Input<'_>) {
    let device = Arc::new(Bytes::new());
    let stream = loopback(&device, &mut input);
    let mut stream = match stage {
        0 => stream,
        1 => Client::greet(stream).unwrap().stream,
        _ => {
            Client::connect(stream, "disk", stage & 1 == 1)
                .unwrap()
                .stream
        }
    };
    let _ = stream.write_all(input.0);
    let mut sent = Vec::new();
    stream.read_to_end(&mut sent).unwrap();
}

fn any_ask(input: &mut Input<'_>) -> Ask {
    let (kind, how) = (input.byte(), input.byte());
    let mut ask = Ask {
        command: u16::from(kind % 8),
        flags: 0,
        offset: u64::from(input.byte()) * 512,
        len: u32::from(input.byte()) * 512,
    };
    ask.flags = match ask.command {
        command::READ if how & 1 != 0 => command_flag::DF,
        command::WRITE_ZEROES => u16::from(how) & (command_flag::NO_HOLE | command_flag::FAST_ZERO),
        command::BLOCK_STATUS if how & 1 != 0 => command_flag::REQ_ONE,
        _ => u16::from(how & 1),
    };
    match how >> 3 {
        0 => ask.flags |= 1 << 9,
        1 => ask.offset = ask.offset.wrapping_sub(u64::from(how)),
        2 => ask.len = u32::MAX - u32::from(how),
        3 => ask.command = u16::from(how) << 5,
        _ => {}
    }
    match ask.command {
        command::FLUSH => (ask.offset, ask.len) = (0, 0),
        // What goes with it would be as long.
        command::WRITE => ask.len = ask.len.min(1 << 18),
        command::DISC => ask.command = command::CACHE,
        _ => {}
    }
    ask
}

/// What the protocol says about a request, without regard to the device.
fn expected(ask: Ask, structured: bool) -> u32 {
    use command::{BLOCK_STATUS, CACHE, FLUSH, READ, TRIM, WRITE, WRITE_ZEROES};
    use command_flag::{DF, FAST_ZERO, FUA, NO_HOLE, REQ_ONE};
    let known = match ask.command {
        READ => FUA | DF,
        WRITE_ZEROES => FUA | NO_HOLE | FAST_ZERO,
        BLOCK_STATUS => FUA | REQ_ONE,
        WRITE | TRIM | CACHE | FLUSH => FUA,
        _ => return EINVAL,
    };
    let end = ask.offset.checked_add(u64::from(ask.len));
    let too_long = ask.len > 32 << 20 && ask.command == READ;
    if ask.flags & !known != 0 || ask.offset % 512 != 0 || ask.len % 512 != 0 || too_long {
        return EINVAL;
    }
    if end.is_none_or(|end| end > SIZE) {
        return match ask.command {
            WRITE | WRITE_ZEROES => ENOSPC,
            _ => EINVAL,
        };
    }
    match ask.command {
        BLOCK_STATUS if ask.len == 0 || !structured => EINVAL,
        _ => 0,
    }
}

fn known(structured: bool, mut input: Input<'_>) {
    let device = Arc::new(Bytes::new());
    let stream = loopback(&device, &mut input);
    let chunk = stream.chunk;
    let mut client = Client::connect(stream, "", structured).unwrap();
    let mut model = vec![0u8; SIZE as usize];
    for nth in 0..ASKS_MAX as u64 {
        if input.is_empty() {
            break;
        }
        let ask = any_ask(&mut input);
        let fails = input.byte();
        let data = match ask.command {
            command::WRITE => pattern(nth, ask.len as usize),
            _ => Vec::new(),
        };
        // Headers are cut anywhere, long data not into its bytes: that takes long and shows no more.
        client.stream.chunk = chunk.max(data.len() / 32);
        device.left.store(
            if fails < 16 {
                u32::from(fails)
            } else {
                u32::MAX
            },
            Ordering::Relaxed,
        );
        let answer = match client.call(ask, &data) {
            Ok(answer) => answer,
            // A read that failed after its header was sent: all that is left is to hang up.
            Err(_) => return assert!(fails < 16 && client.stream.is_closed()),
        };
        let error = expected(ask, structured);
        let (from, len) = (ask.offset as usize, ask.len as usize);
        if error != 0 {
            assert_eq!(answer.error, error, "{ask:?}");
            continue;
        }
        if answer.error != 0 {
            assert!(
                fails < 16 && answer.error == EIO,
                "{ask:?} {}",
                answer.error
            );
            // Perhaps done in part.
            model.copy_from_slice(&device.bytes.lock().unwrap());
            continue;
        }
        match ask.command {
            command::READ => assert!(answer.data == model[from..from + len]),
            command::WRITE => model[from..from + len].copy_from_slice(&data),
            command::TRIM | command::WRITE_ZEROES => model[from..from + len].fill(0),
            command::BLOCK_STATUS => {
                let total: u64 = answer
                    .extents
                    .iter()
                    .map(|extent| u64::from(extent.0))
                    .sum();
                let one = ask.flags & command_flag::REQ_ONE != 0;
                assert!(total <= u64::from(ask.len) && (!one || answer.extents.len() == 1));
                assert!(!answer.extents.is_empty());
                let mut at = from;
                for (len, flags) in answer.extents {
                    let bytes = &model[at..at + len as usize];
                    assert!(len > 0 && (flags == 0 || flags == 3));
                    assert!(flags == 0 || is_zero(bytes));
                    at += len as usize;
                }
            }
            _ => {}
        }
    }
    assert!(*device.bytes.lock().unwrap() == model);
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    match input.byte() % 8 {
        mode @ 0..4 => hostile(mode, input),
        mode => known(mode & 1 == 1, input),
    }
});
