//! The cache on a machine without an operating system, without an allocator, and with the 16 KiB of stack that a
//! kernel's thread has: see `docs/embedding.md`.
//!
//! It gives its free memory to the cache, page by page, stores more pages than the machine has memory, reads them
//! back, overwrites, discards, packs, fills the memory up, and gives all of it back.
#![no_std]
#![no_main]
#![deny(unsafe_op_in_unsafe_fn)]

mod boot;
mod frames;
mod io;

use boot::{STACK, StartInfo};
use compcache::{Cache, Config, Error, Lz4, Lz4Workspace, Shared};
use core::mem::MaybeUninit;
use frames::FreePages;

type Workspace = Shared<Lz4, 4096>;
/// One CPU: one arena and a workspace are enough.
type Pages = Cache<&'static FreePages, Lz4, &'static [Workspace], spin::Mutex<()>, 4096, 1>;

static FREE: FreePages = FreePages::new();
static WORKSPACES: [Workspace; 1] = [Shared::new(Lz4Workspace::small())];
/// Where the cache is. Nothing of it passes through the stack.
static mut PLACE: MaybeUninit<Pages> = MaybeUninit::uninit();
/// Buffers, for the same reason.
static mut BUFFERS: [[u8; 4096]; 2] = [[0; 4096]; 2];

/// What a page of the device holds: its number and how often it was written.
#[derive(Clone, Copy)]
struct Content(u64, u32);

impl Content {
    /// Pages as programs have them: zeroes, words repeated, text and tables that shrink to between a fifth and
    /// three quarters, and some that do not.
    fn write(self, page: &mut [u8; 4096]) {
        let mut state = (self.0 << 20 ^ u64::from(self.1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let noise = match self.0 % 16 {
            0 => return page.fill(0),
            1 => return page.fill(self.1 as u8),
            2 => 64,
            kind => 8 + kind * 2,
        };
        for line in page.chunks_exact_mut(64) {
            let mut number = 0;
            for word in line.chunks_exact_mut(8) {
                // `noise` of 64 bytes are new, the rest repeats.
                let value = if number < noise { next() } else { self.0 };
                word.copy_from_slice(&value.to_le_bytes());
                number += 8;
            }
        }
    }
}

/// The device, and what each of its pages should hold.
struct Device {
    cache: &'static Pages,
    page: &'static mut [u8; 4096],
    back: &'static mut [u8; 4096],
    /// By page: 0 for nothing, else how often it was written.
    written: &'static mut [u8],
    wrong: u64,
}

impl Device {
    fn put(&mut self, index: u64) -> Result<(), Error> {
        let turn = self.written[index as usize] % 250 + 1;
        Content(index, turn.into()).write(self.page);
        self.cache.put(index, self.page)?;
        self.written[index as usize] = turn;
        Ok(())
    }

    fn discard(&mut self, index: u64) {
        let stored = self.cache.discard(index).expect("inside the device");
        self.wrong += u64::from(stored != (self.written[index as usize] != 0));
        self.written[index as usize] = 0;
    }

    /// Reads every page, in another order than they were written in.
    fn verify(&mut self) {
        let pages = self.written.len() as u64;
        for turn in 0..pages {
            let index = turn * 7919 % pages;
            let written = self.written[index as usize];
            let stored = self.cache.get(index, self.back);
            match written {
                0 => self.page.fill(0),
                _ => Content(index, written.into()).write(self.page),
            }
            let right = stored == Ok(written != 0) && self.page == self.back;
            self.wrong += u64::from(!right);
        }
    }

    fn report(&mut self, step: &str) {
        self.verify();
        self.cache.check().expect("the cache's tables agree");
        let stat = self.cache.mm_stat();
        say!(
            "{step:<10} stored {:>6} KiB  compressed {:>6} KiB  memory {:>6} KiB  same {:>5}  huge {:>5}  wrong {}",
            stat.orig_data_size >> 10,
            stat.compr_data_size >> 10,
            stat.mem_used_total >> 10,
            stat.same_pages,
            stat.huge_pages,
            self.wrong,
        );
    }
}

/// Entered by `boot`.
#[unsafe(no_mangle)]
extern "C" fn baremetal_main(start: &'static StartInfo) -> ! {
    for piece in start.free_memory() {
        // SAFETY: RAM behind the program, mapped where it lies, and used by nobody.
        unsafe { FREE.add(piece) };
    }
    let machine = FREE.free();
    say!("{machine} free pages, {} KiB", machine * 4);

    // A device of three times the memory, of which two are stored.
    let pages = machine * 3;
    let (place, buffers) = (&raw mut PLACE, &raw mut BUFFERS);
    // SAFETY: both are used here only, and this is entered once.
    let (place, [page, back]) = unsafe { (&mut *place, &mut *buffers) };
    let config = Config::new(pages as u64);
    let cache = Pages::new_at(place, &FREE, Lz4, &WORKSPACES[..], config).expect("a cache");
    let mut device = Device {
        cache,
        page,
        back,
        written: table(pages),
        wrong: 0,
    };
    let before = FREE.free();

    let fill = machine as u64 * 3 / 2;
    for index in 0..fill {
        device.put(index).expect("room");
    }
    device.report("fill");

    let mut state = 1u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    for _ in 0..fill {
        device.put(random(fill)).expect("room");
    }
    device.report("churn");

    for index in 0..fill {
        if random(10) < 4 {
            device.discard(index);
        }
    }
    device.report("discard");

    let compacted = device.cache.compact(u64::MAX);
    device.report("compact");
    say!("           {} pages were given back by it", compacted.pages);

    // To the last page: the put that fails changes nothing.
    let mut refused = 0;
    for index in (0..pages as u64).rev() {
        match device.put(index) {
            Ok(()) => {}
            Err(Error::NoSpace(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        if refused == 100 {
            break;
        }
    }
    device.report("full");
    say!(
        "           {refused} puts were refused, {} pages are free",
        FREE.free()
    );

    for index in 0..pages as u64 {
        device.discard(index);
    }
    device.report("empty");
    let leaked = before - FREE.free();
    let used = STACK - boot::stack_unused();
    say!("{}", device.cache.mm_stat());
    say!(
        "stack: {used} of {STACK} bytes; pages not given back: {leaked}; wrong: {}",
        device.wrong
    );
    let passed = device.wrong == 0 && leaked == 0 && refused > 0 && used < STACK;
    say!("baremetal: {}", if passed { "passed" } else { "FAILED" });
    io::exit(if passed { io::PASSED } else { io::FAILED })
}

/// A table with a byte for each page of the device.
fn table(bytes: usize) -> &'static mut [u8] {
    static mut TABLE: [u8; 1 << 17] = [0; 1 << 17];
    let table = &raw mut TABLE;
    // SAFETY: called once.
    let table: &mut [u8] = unsafe { &mut *table };
    table.get_mut(..bytes).expect("a machine of up to 128 MiB")
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("baremetal: {info}");
    io::exit(io::FAILED)
}
