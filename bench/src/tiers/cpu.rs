//! CPU time of this process, and whether the CPU was taken away.

/// User and system time of all threads so far, in seconds.
pub(super) fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec of ours, which the call fills; nothing else is touched.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// How often this thread had to leave the CPU to others while it still had work.
pub(super) fn preemptions() -> i64 {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is an rusage of ours, which the call fills; nothing else is touched.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    usage.ru_nivcsw
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
