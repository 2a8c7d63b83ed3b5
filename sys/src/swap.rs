//! Swap areas: their header, on, off, and which are active.
//!
//! ```text
//!   byte 0          1024      1028        1032          1036   1052    1068        page - 10
//!     │ boot record │ version │ last_page │ bad pages   │ uuid │ label │ ...       │ SWAPSPACE2
//!     │    zeroes   │    1    │           │      0      │      │       │           │
//! ```
//!
//! A page is the kernel's, which is not 4096 bytes everywhere.

use crate::calls;
use core::fmt;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const AREAS: &str = "/proc/swaps";
const MAGIC: &[u8; 10] = b"SWAPSPACE2";
const VERSION: u32 = 1;
const VERSION_AT: usize = 1024;
const LAST_PAGE_AT: usize = VERSION_AT + 4;
const UUID_AT: usize = VERSION_AT + 12;
const LABEL_AT: usize = UUID_AT + 16;
const LABEL_LEN: usize = 16;

/// swapon(2): bits of its flags, from `linux/swap.h`.
const PREFER: i32 = 0x8000;
const DISCARD: i32 = 0x1_0000;
const DISCARD_PAGES: i32 = 0x4_0000;

/// The highest priority of a swap area; the kernel fills areas of higher priority first.
pub const PRIORITY_MAX: u16 = 0x7fff;
/// The header takes the first page, and an area without another is refused.
pub const PAGES_MIN: u64 = 10;

/// What can go wrong with a swap area.
#[derive(Debug)]
#[non_exhaustive]
pub enum SwapError {
    /// Too small, or more pages than the header can name.
    BadSize {
        /// Bytes asked for.
        size: u64,
        /// The fewest.
        min: u64,
        /// The most.
        max: u64,
    },
    /// The system has no random numbers for the area's UUID.
    Random(io::Error),
    /// A name with a zero byte.
    BadName(PathBuf),
    /// swapon(2) failed.
    On {
        /// Which device.
        device: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// swapoff(2) failed; the area is as active as before.
    Off {
        /// Which device.
        device: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// `/proc/swaps` cannot be read: the kernel has no swap, or nobody has mounted `/proc`.
    Areas(io::Error),
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSize { size, min, max } => write!(
                f,
                "swap area of {size} bytes; expected {min} to {max} in whole pages"
            ),
            Self::Random(error) => write!(f, "no random numbers for a UUID: {error}"),
            Self::BadName(path) => write!(f, "{}: not a name of a device", path.display()),
            Self::On { device, error } => write!(f, "{}: swapon failed: {error}", device.display()),
            Self::Off { device, error } => {
                write!(f, "{}: swapoff failed: {error}", device.display())
            }
            Self::Areas(error) => write!(f, "{AREAS}: {error}"),
        }
    }
}

impl core::error::Error for SwapError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Random(error)
            | Self::On { error, .. }
            | Self::Off { error, .. }
            | Self::Areas(error) => Some(error),
            Self::BadSize { .. } | Self::BadName(_) => None,
        }
    }
}

/// The first page of a swap area of `size` bytes, to be written at its beginning: what `mkswap`
/// writes.
///
/// # Errors
/// [`SwapError::BadSize`], [`SwapError::Random`].
pub fn header(size: u64, label: &str) -> Result<Vec<u8>, SwapError> {
    let mut uuid = [0; 16];
    let random = rustix::rand::getrandom(&mut uuid, rustix::rand::GetRandomFlags::empty());
    match random {
        Ok(16) => {}
        Ok(_) => return Err(SwapError::Random(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => return Err(SwapError::Random(error.into())),
    }
    // Version and variant of a random UUID (RFC 9562).
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    header_of(size, rustix::param::page_size(), uuid, label)
}

fn header_of(size: u64, page: usize, uuid: [u8; 16], label: &str) -> Result<Vec<u8>, SwapError> {
    let pages = size / page as u64;
    let bad_size = SwapError::BadSize {
        size,
        min: PAGES_MIN * page as u64,
        max: u64::from(u32::MAX) * page as u64,
    };
    if pages < PAGES_MIN || !size.is_multiple_of(page as u64) {
        return Err(bad_size);
    }
    let last = u32::try_from(pages - 1).map_err(|_| bad_size)?;
    let mut bytes = vec![0; page];
    let mut put = |at: usize, field: &[u8]| {
        if let Some(room) = bytes.get_mut(at..at + field.len()) {
            room.copy_from_slice(field);
        }
    };
    put(VERSION_AT, &VERSION.to_ne_bytes());
    put(LAST_PAGE_AT, &last.to_ne_bytes());
    put(UUID_AT, &uuid);
    // One byte less, so that the label ends with a zero.
    let label = label.as_bytes();
    put(LABEL_AT, label.get(..LABEL_LEN - 1).unwrap_or(label));
    put(page - MAGIC.len(), MAGIC);
    Ok(bytes)
}

/// Gives a device with a header to the kernel, to swap to; runs of pages that the kernel no longer
/// needs are discarded.
///
/// # Errors
/// [`SwapError::On`].
pub fn on(device: &Path, priority: u16) -> Result<(), SwapError> {
    let flags = PREFER | i32::from(priority.min(PRIORITY_MAX)) | DISCARD | DISCARD_PAGES;
    calls::swap_on(&name(device)?, flags).map_err(|error| SwapError::On {
        device: device.to_owned(),
        error,
    })
}

/// Takes it away again: brings every page back into memory, which takes its time.
///
/// While it runs, the kernel kills the caller first if memory runs out, whatever its
/// `oom_score_adj`. Who serves the device lets another process do this.
///
/// # Errors
/// [`SwapError::Off`]: the area stays active.
pub fn off(device: &Path) -> Result<(), SwapError> {
    calls::swap_off(&name(device)?).map_err(|error| SwapError::Off {
        device: device.to_owned(),
        error,
    })
}

fn name(device: &Path) -> Result<CString, SwapError> {
    CString::new(device.as_os_str().as_bytes()).map_err(|_| SwapError::BadName(device.to_owned()))
}

/// An active swap area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// The device or file, as the kernel names it.
    pub device: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Bytes in use.
    pub used: u64,
    /// Areas of higher priority are filled first.
    pub priority: i32,
}

/// The active swap areas.
///
/// # Errors
/// [`SwapError::Areas`].
pub fn areas() -> Result<Vec<Area>, SwapError> {
    let text = std::fs::read(AREAS).map_err(SwapError::Areas)?;
    Ok(text
        .split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(area)
        .collect())
}

/// The active area on a device, if there is one.
///
/// # Errors
/// [`SwapError::Areas`].
pub fn area_on(device: &Path) -> Result<Option<Area>, SwapError> {
    Ok(areas()?.into_iter().find(|area| area.device == device))
}

/// `Filename  Type  Size  Used  Priority`, sizes in KiB.
fn area(line: &[u8]) -> Option<Area> {
    let mut fields = line
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|field| !field.is_empty());
    let device = unescape(fields.next()?);
    let mut number = || {
        let field = str::from_utf8(fields.next()?).ok()?;
        field.parse::<i64>().ok()
    };
    // The kind has no number.
    let _kind = number();
    let (size, used, priority) = (number()?, number()?, number()?);
    Some(Area {
        device: PathBuf::from(OsString::from_vec(device)),
        size: u64::try_from(size).ok()? << 10,
        used: u64::try_from(used).ok()? << 10,
        priority: i32::try_from(priority).ok()?,
    })
}

/// The kernel writes blanks and backslashes in names as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind.get(..3).filter(|_| first == b'\\');
        let code = code.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        name.push(code.unwrap_or(first));
        rest = match code {
            Some(_) => behind.get(3..).unwrap_or_default(),
            None => behind,
        };
    }
    name
}

#[cfg(test)]
mod tests;
