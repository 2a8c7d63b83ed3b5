//! A queue's thread: fetch, serve, commit.

use crate::abi::{Descriptor, IoCommand, Operation};
use crate::ring::{Event, Ring};
use compcache_device::{BlockDevice, Errno};
use std::io;

/// Answers that wait for each other before the driver is told of them: less calls, and yet no
/// request waits for more than a few others.
const BATCH: usize = 8;

/// Serves until the driver wants nothing more.
///
/// # Errors
/// Where the ring fails; the driver then fails what is left.
pub(crate) fn serve(ring: &mut Ring, depth: u16, device: &dyn BlockDevice) -> io::Result<()> {
    for tag in 0..depth {
        ring.push(tag, IoCommand::Fetch)?;
    }
    let mut live = usize::from(depth);
    while live > 0 {
        ring.submit(1)?;
        let mut waiting = 0;
        while let Some(event) = ring.next() {
            let Event::Request(tag) = event else {
                live -= 1;
                continue;
            };
            let result = match ring.request(tag) {
                Some((descriptor, data)) => answer(device, descriptor, data),
                // Longer than what was agreed on.
                None => -(Errno::Inval as i32),
            };
            ring.push(tag, IoCommand::CommitAndFetch(result))?;
            waiting += 1;
            if waiting == BATCH {
                ring.submit(0)?;
                waiting = 0;
            }
        }
    }
    Ok(())
}

/// Bytes done, or a negative error number.
fn answer(device: &dyn BlockDevice, descriptor: Descriptor, data: &mut [u8]) -> i32 {
    let Some(offset) = descriptor.start_sector.checked_mul(512) else {
        return -(Errno::Inval as i32);
    };
    let len = u64::from(descriptor.sectors) << 9;
    let done = match descriptor.operation {
        Operation::Read => device.read(offset, data),
        Operation::Write => device.write(offset, data),
        Operation::Flush => device.flush(),
        Operation::Discard => device.discard(offset, len),
        Operation::WriteZeroes => device.write_zeroes(offset, len),
        Operation::Unknown => return -EOPNOTSUPP,
    };
    match done {
        // Bytes count for data only, where they are few.
        Ok(()) => data.len() as i32,
        Err(error) => -(error.errno() as i32),
    }
}

const EOPNOTSUPP: i32 = 95;

#[cfg(test)]
mod tests {
    use super::*;
    use compcache_device::{Config, Device};

    #[test]
    fn requests_are_answered_with_bytes_or_errors() {
        let device = Device::new(Config::new(1 << 20)).unwrap();
        let ask = |operation, sectors, start_sector, data: &mut [u8]| {
            let descriptor = Descriptor {
                operation,
                sectors,
                start_sector,
            };
            answer(&device, descriptor, data)
        };
        let mut page = [7; 4096];
        assert_eq!(ask(Operation::Write, 8, 8, &mut page), 4096);
        page.fill(0);
        assert_eq!(ask(Operation::Read, 8, 8, &mut page), 4096);
        assert_eq!(page, [7; 4096]);
        assert_eq!(ask(Operation::Flush, 0, 0, &mut []), 0);
        assert_eq!(ask(Operation::WriteZeroes, 1, 8, &mut []), 0);
        assert_eq!(ask(Operation::Read, 8, 8, &mut page), 4096);
        assert_eq!((page[511], page[512]), (0, 7));
        assert_eq!(ask(Operation::Discard, 2048, 0, &mut []), 0);
        assert_eq!(ask(Operation::Read, 8, 8, &mut page), 4096);
        assert_eq!(page, [0; 4096]);
        assert_eq!(ask(Operation::Read, 8, 2048, &mut page), -22);
        assert_eq!(ask(Operation::Read, 8, u64::MAX, &mut page), -22);
        assert_eq!(ask(Operation::Unknown, 8, 0, &mut page), -95);
    }
}
