//! CPU time of this process, and whether the CPU was taken away.

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// User and system time of all threads so far, in seconds; 0 where the system does not tell.
pub(super) fn cpu_seconds() -> f64 {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(0.0, |time| Duration::from(time).as_secs_f64())
}

/// How often this thread had to leave the CPU to others while it still had work.
pub(super) fn preemptions() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_cpu_time() {
        let start = cpu_seconds();
        let wall = std::time::Instant::now();
        let mut number = 1u64;
        while wall.elapsed().as_millis() < 50 {
            number = crate::rng::mix(std::hint::black_box(number));
        }
        let taken = cpu_seconds() - start;
        assert!(taken > 0.0, "{taken} s in {:?}", wall.elapsed());
    }
}
