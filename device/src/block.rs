//! [`BlockDevice`]: what a front end serves.

use crate::error::Error;

/// Bytes of a sector: the unit of every offset and length.
pub const SECTOR_SIZE: u64 = 512;
/// Bytes of a page: the unit that is stored, and the block size to prefer.
pub const PAGE_SIZE: u64 = 4096;

/// A block device.
///
/// Offsets and lengths are bytes, in whole sectors. Every method may be called by any number of
/// threads at once; a page is read and written as a whole. A request of length 0 inside the
/// device, or at its end, does nothing.
///
/// # Errors
///
/// All methods check their range first and fail with [`Error::Unaligned`] or
/// [`Error::OutOfRange`] before anything is done.
pub trait BlockDevice: Send + Sync {
    /// Bytes of the device: whole pages.
    fn size(&self) -> u64;

    /// Reads bytes; what was never written reads as zeroes.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: content of `out` is unspecified then.
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error>;

    /// Writes bytes.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Corrupt`] where a part of a damaged page is written.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Forgets the pages that lie in the range as a whole; they are holes afterwards. Pages that
    /// lie in it in part are left as they are.
    ///
    /// # Errors
    /// None but those of the range.
    fn discard(&self, offset: u64, len: u64) -> Result<(), Error>;

    /// Makes the range read as zeroes. Whole pages become holes.
    ///
    /// # Errors
    /// As [`write`](Self::write), for the parts of pages at both ends only.
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), Error>;

    /// Returns when every request that was answered before this call would survive what the device
    /// survives. A device in memory has nothing to do.
    ///
    /// # Errors
    /// What the device's medium fails with.
    fn flush(&self) -> Result<(), Error>;

    /// The run that begins at `offset`: pages of one kind, no longer than `len`. Other threads
    /// may change it meanwhile. Looks at one page after the other, so its time grows with `len`.
    ///
    /// # Errors
    /// None but those of the range.
    fn extent(&self, offset: u64, len: u64) -> Result<Extent, Error>;
}

/// A run of bytes of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes; 0 only where 0 were asked for.
    pub len: u64,
    /// What they are.
    pub kind: ExtentKind,
}

/// What a run of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentKind {
    /// Stored pages, whatever they hold.
    Data,
    /// Not stored; reads as zeroes.
    Hole,
}

/// Checks that a request is made of whole sectors inside a device of `size` bytes.
///
/// # Errors
/// [`Error::Unaligned`], [`Error::OutOfRange`].
pub fn check_range(offset: u64, len: u64, size: u64) -> Result<(), Error> {
    if !offset.is_multiple_of(SECTOR_SIZE) || !len.is_multiple_of(SECTOR_SIZE) {
        return Err(Error::Unaligned { offset, len });
    }
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::OutOfRange { offset, len, size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_up_to_the_last_byte() {
        let size = 8192;
        for (offset, len) in [(0, 0), (0, 8192), (7680, 512), (8192, 0)] {
            assert_eq!(check_range(offset, len, size), Ok(()));
        }
        for (offset, len) in [
            (8192, 512),
            (0, 8704),
            (u64::MAX - 511, 512),
            (512, u64::MAX - 511),
        ] {
            let error = Error::OutOfRange { offset, len, size };
            assert_eq!(check_range(offset, len, size), Err(error));
        }
        for (offset, len) in [(1, 512), (0, 511), (u64::MAX, 1), (0, 1)] {
            let error = Error::Unaligned { offset, len };
            assert_eq!(check_range(offset, len, size), Err(error));
        }
    }
}
