//! Before others: processor and memory.

use crate::calls;
use std::io;

/// The lowest real-time priority: before everything that has none, behind whatever asked for more.
const LOWEST: i32 = 1;

/// Gives the calling thread, and those that it starts from now on, the lowest real-time priority.
///
/// For a server of swap that is about memory more than about time: when free memory is down to
/// what the kernel keeps (`vm.min_free_kbytes`), only real-time threads may take some of the rest
/// (half of it). Without, the server waits for memory like those who wait for it.
///
/// # Errors
/// Where it is not permitted (`CAP_SYS_NICE`).
pub fn before_others() -> io::Result<()> {
    calls::schedule_round_robin(LOWEST)
}

/// Lets the kernel take pages of this range from memory again, of a process whose memory is locked.
///
/// For memory that belongs to somebody else, who shares it: locked here, it would be locked for
/// its owner too.
///
/// # Errors
/// Where the range is not mapped.
pub fn unlock(address: usize, len: usize) -> io::Result<()> {
    calls::unlock(address, len)
}
