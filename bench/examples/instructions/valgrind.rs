//! Client requests: how a program under valgrind steers callgrind.
//!
//! A request is an instruction sequence without effect, by which valgrind recognises it, with a
//! code and arguments in memory. Source: `valgrind.h` and `callgrind.h`, whose licence lets a
//! program contain them. Outside valgrind every request does nothing.

use std::ffi::CString;

const RUNNING_ON_VALGRIND: usize = 0x1001;
const CALLGRIND: usize = (b'C' as usize) << 24 | (b'T' as usize) << 16;
const TOGGLE_COLLECT: usize = CALLGRIND + 2;
const DUMP_STATS_AT: usize = CALLGRIND + 3;
const START_INSTRUMENTATION: usize = CALLGRIND + 4;
const STOP_INSTRUMENTATION: usize = CALLGRIND + 5;

/// Name of [`toggle_collect`] in a profile: what it costs is not the allocator's.
pub(crate) const TOGGLE_NAME: &str = "toggle_collect";

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn request(code: usize, argument: usize) -> usize {
    let arguments = [code, argument, 0, 0, 0, 0];
    let mut result = 0;
    // SAFETY: the rotations add up to 128 bits and the exchange is of a register with itself,
    // so nothing changes but the flags; under valgrind the result is written to rdx, and the six
    // arguments at rax are read.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") result,
            options(nostack),
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn request(code: usize, argument: usize) -> usize {
    let arguments = [code, argument, 0, 0, 0, 0];
    let mut result = 0;
    // SAFETY: the rotations add up to 128 bits and a register is combined with itself, so
    // nothing changes; under valgrind the result is written to x3, and the six arguments at x4
    // are read.
    unsafe {
        core::arch::asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") arguments.as_ptr(),
            inout("x3") result,
            options(nostack),
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the client request sequences of x86_64 and aarch64 are the ones known here");

/// Whether this process runs under valgrind.
pub(crate) fn is_running() -> bool {
    request(RUNNING_ON_VALGRIND, 0) != 0
}

/// Starts or stops counting. Never inlined, so that the part of it that is counted stands in the
/// profile under its own name.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn toggle_collect() {
    request(TOGGLE_COLLECT, 0);
}

/// From here on instructions can be counted; the program runs several times slower.
pub(crate) fn start_instrumentation() {
    request(START_INSTRUMENTATION, 0);
}

/// The program runs at valgrind's full speed, uncounted.
pub(crate) fn stop_instrumentation() {
    request(STOP_INSTRUMENTATION, 0);
}

/// Writes what was counted so far to a file of its own, under `label`, and starts from zero.
pub(crate) fn dump(label: &str) {
    let label = CString::new(label).unwrap_or_default();
    request(DUMP_STATS_AT, label.as_ptr() as usize);
}
