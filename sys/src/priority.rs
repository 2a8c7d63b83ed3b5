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
    calls::schedule(libc::SCHED_RR, LOWEST)
}

/// Gives the calling thread, and those that it starts from now on, no priority over others: for what
/// a server does beside serving.
///
/// # Errors
/// None that is known: everybody may ask for less.
pub fn as_others() -> io::Result<()> {
    calls::schedule(libc::SCHED_OTHER, 0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::spawn;

    /// Policy of the calling thread, as the kernel says it.
    fn policy() -> String {
        let text = std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("policy"));
        let value = line.and_then(|line| line.split(':').nth(1));
        value.unwrap_or_default().trim().to_owned()
    }

    #[test]
    fn a_thread_gives_its_priority_back() {
        let thread = spawn(|| {
            if before_others().is_err() || policy().is_empty() {
                println!("SKIPPED: no real-time priority here, or no /proc/thread-self/sched");
                return;
            }
            assert_eq!(policy(), "2");
            // Inherited, and given back by that thread alone.
            let child = spawn(|| (policy(), as_others().map(|()| policy()).unwrap()));
            assert_eq!(child.join().unwrap(), ("2".to_owned(), "0".to_owned()));
            assert_eq!(policy(), "2");
        });
        thread.join().unwrap();
    }
}
