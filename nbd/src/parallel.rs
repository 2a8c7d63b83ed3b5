//! Large requests, cut into parts for all CPUs.
//!
//! A page takes a microsecond or two, handing work to a sleeping thread ten: a request of a few
//! pages is done where it arrived.

use compcache_device::{BlockDevice, Error, PAGE_SIZE};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// Requests under this many bytes are done by one thread.
const PARALLEL_MIN: usize = 256 << 10;
/// Parts are cut in two down to this.
const PART_MAX: usize = 64 << 10;
/// Threads: no request is larger than this many parts would be worth.
const THREADS_MAX: usize = 16;

/// Threads for large requests; without any where there is one CPU.
pub(crate) struct Helpers(Option<ThreadPool>);

impl Helpers {
    /// None: everything is done where it arrives.
    pub(crate) const NONE: Self = Self(None);

    /// As many as there are CPUs.
    pub(crate) fn start() -> Result<Self, ThreadPoolBuildError> {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
        if cpus == 1 {
            return Ok(Self::NONE);
        }
        ThreadPoolBuilder::new()
            .num_threads(cpus.min(THREADS_MAX))
            .thread_name(|nth| format!("compcache-nbd-{nth}"))
            .build()
            .map(|pool| Self(Some(pool)))
    }

    pub(crate) fn read(
        &self,
        device: &dyn BlockDevice,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), Error> {
        match &self.0 {
            Some(pool) if out.len() >= PARALLEL_MIN => {
                pool.install(|| read_parts(device, offset, out))
            }
            _ => device.read(offset, out),
        }
    }

    pub(crate) fn write(
        &self,
        device: &dyn BlockDevice,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        match &self.0 {
            Some(pool) if bytes.len() >= PARALLEL_MIN => {
                pool.install(|| write_parts(device, offset, bytes))
            }
            _ => device.write(offset, bytes),
        }
    }
}

/// Where to cut in two: between pages, so that no page is written by two threads.
fn middle(offset: u64, len: usize) -> usize {
    let within = (offset % PAGE_SIZE) as usize;
    let half = (within + len / 2) / PAGE_SIZE as usize * PAGE_SIZE as usize;
    half.saturating_sub(within)
}

fn read_parts(device: &dyn BlockDevice, offset: u64, out: &mut [u8]) -> Result<(), Error> {
    if out.len() <= PART_MAX {
        return device.read(offset, out);
    }
    let cut = middle(offset, out.len());
    let (front, back) = out.split_at_mut_checked(cut).ok_or(Error::Internal)?;
    let (first, second) = rayon::join(
        || read_parts(device, offset, front),
        || read_parts(device, offset + cut as u64, back),
    );
    first.and(second)
}

fn write_parts(device: &dyn BlockDevice, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() <= PART_MAX {
        return device.write(offset, bytes);
    }
    let cut = middle(offset, bytes.len());
    let (front, back) = bytes.split_at_checked(cut).ok_or(Error::Internal)?;
    let (first, second) = rayon::join(
        || write_parts(device, offset, front),
        || write_parts(device, offset + cut as u64, back),
    );
    first.and(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use compcache_device::{Config, Device};

    #[test]
    fn parts_meet_between_pages() {
        for offset in [0, 512, 4096, 7680] {
            for len in [PART_MAX + 512, 100_352, 1 << 20] {
                let cut = middle(offset, len);
                assert!(cut > 0 && cut < len);
                assert!((offset + cut as u64).is_multiple_of(PAGE_SIZE));
            }
        }
    }

    #[test]
    fn large_requests_are_the_sum_of_their_parts() {
        let helpers = Helpers(ThreadPoolBuilder::new().num_threads(3).build().ok());
        let device = Device::new(Config::new(8 << 20)).unwrap();
        let bytes: Vec<u8> = (0..1_500_160u32).map(|n| (n / 7) as u8).collect();
        helpers.write(&device, 1536, &bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        helpers.read(&device, 1536, &mut back).unwrap();
        assert!(back == bytes);
        device.set_mem_limit(1);
        assert!(matches!(
            helpers.write(&device, 4 << 20, &bytes),
            Err(Error::NoSpace(_))
        ));
        helpers.read(&device, 1536, &mut back).unwrap();
        assert!(back == bytes);
    }
}
