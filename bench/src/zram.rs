//! The kernel's zram on the same pages: pages in, `mm_stat` out.
//!
//! Takes `/dev/zram0` only if it is not set up, and resets it afterwards, also on failure.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::result::ZramResult;

const SYS: &str = "/sys/block/zram0";
const DEVICE: &str = "/dev/zram0";
const PAGE: usize = 4096;
/// Bytes of zram's table for each page of the device (`struct zram_table_entry`).
const SLOT_BYTES: u64 = 16;
/// Bytes written at once.
const CHUNK: usize = 1 << 20;

/// A buffer that direct I/O takes.
#[repr(C, align(4096))]
struct Aligned([u8; CHUNK]);

/// Resets the device when it goes out of scope.
struct Reset;

impl Drop for Reset {
    fn drop(&mut self) {
        // Nothing can be done about a failure; the device stays set up and visible.
        let _ = write_attribute("reset", "1");
    }
}

fn write_attribute(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new(SYS).join(name), value)
}

fn read_attribute(name: &str) -> io::Result<String> {
    Ok(fs::read_to_string(Path::new(SYS).join(name))?
        .trim()
        .to_owned())
}

/// Writes all pages to zram and reads what it took.
///
/// # Errors
/// What is missing or in use, in words.
pub fn run_zram(pages: &[u8]) -> Result<ZramResult, String> {
    let say = |what: &'static str| move |error: io::Error| format!("zram: {what}: {error}");
    let size = read_attribute("disksize").map_err(say("no /dev/zram0"))?;
    if size != "0" {
        return Err(format!(
            "zram: /dev/zram0 is in use (disksize {size}); reset it or leave --zram out"
        ));
    }
    let reset = Reset;
    write_attribute("reset", "1").map_err(say("cannot reset"))?;
    write_attribute("comp_algorithm", "lz4").map_err(say("no lz4"))?;
    write_attribute("disksize", &pages.len().to_string()).map_err(say("cannot set the size"))?;
    write_pages(pages).map_err(say("cannot write"))?;
    let stat = read_attribute("mm_stat").map_err(say("no mm_stat"))?;
    drop(reset);
    let values: Vec<u64> = stat
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [orig_data_size, compr_data_size, mem_used_total, ..] = values[..] else {
        return Err(format!("zram: mm_stat has another form: {stat}"));
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(ZramResult {
        kernel: kernel.trim().to_owned(),
        codec: "lz4".to_owned(),
        orig_data_size,
        compr_data_size,
        mem_used_total,
        slot_table_bytes: (pages.len() / PAGE) as u64 * SLOT_BYTES,
    })
}

fn write_pages(pages: &[u8]) -> io::Result<()> {
    const O_DIRECT: i32 = libc::O_DIRECT;
    let device: File = OpenOptions::new()
        .write(true)
        .custom_flags(O_DIRECT)
        .open(DEVICE)?;
    let mut buffer = Box::new(Aligned([0; CHUNK]));
    for (number, chunk) in pages.chunks(CHUNK).enumerate() {
        buffer.0[..chunk.len()].copy_from_slice(chunk);
        device.write_all_at(&buffer.0[..chunk.len()], (number * CHUNK) as u64)?;
    }
    Ok(())
}
