//! [`discard`]: blocks of a device that are of no use any more.

use crate::calls;
use std::io;
use std::os::fd::AsFd;

/// Tells a block device that a range holds nothing of interest: TRIM, or a hole in what is
/// behind it. Whole sectors.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] if the device cannot; otherwise what the kernel says.
pub fn discard(device: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    match calls::block_discard(device, [offset, len]) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOTTY) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        Err(errno) => Err(errno.into()),
    }
}
