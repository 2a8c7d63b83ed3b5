//! The system calls and ioctls themselves.

#![allow(unsafe_code)]

use linux_raw_sys::loop_device::{LOOP_CLR_FD, LOOP_CONFIGURE, LOOP_CTL_GET_FREE, loop_config};
use rustix::io;
use rustix::ioctl::{Ioctl, IoctlOutput, NoArg, Opcode, Setter, ioctl};
use rustix::process::Pid;
use std::ffi::CStr;
use std::os::fd::AsFd;

/// An ioctl whose answer is its return value.
struct Answer<const OPCODE: Opcode>;

// SAFETY: the opcodes used with it take no argument, so no pointer is passed, and the answer is
// the plain return value.
unsafe impl<const OPCODE: Opcode> Ioctl for Answer<OPCODE> {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        core::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        out: IoctlOutput,
        _: *mut rustix::ffi::c_void,
    ) -> io::Result<Self::Output> {
        Ok(out)
    }
}

/// The number of a loop device that is not in use, made if there is none.
pub(crate) fn loop_get_free(control: impl AsFd) -> io::Result<IoctlOutput> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and answers with its return value; on another
    // kind of file it fails.
    unsafe { ioctl(control, Answer::<LOOP_CTL_GET_FREE>) }
}

/// Gives a loop device its file.
pub(crate) fn loop_configure(device: impl AsFd, config: &loop_config) -> io::Result<()> {
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`, whose layout here is generated from
    // the kernel's headers, and keeps no pointer to it.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, loop_config>::new(*config)) }
}

/// Takes a loop device's file away, now or when its last user closes it.
pub(crate) fn loop_clear(device: impl AsFd) -> io::Result<()> {
    // SAFETY: LOOP_CLR_FD takes no argument.
    unsafe { ioctl(device, NoArg::<LOOP_CLR_FD>::new()) }
}

/// BLKDISCARD (`linux/fs.h`): a group, a number, no direction in it.
const BLKDISCARD: Opcode = rustix::ioctl::opcode::none(0x12, 119);

/// Discards a range, in bytes, of a block device.
pub(crate) fn block_discard(device: impl AsFd, range: [u64; 2]) -> io::Result<()> {
    // SAFETY: BLKDISCARD reads two u64, which live during the call, and keeps no pointer; another
    // kind of file does not know it and fails.
    unsafe { ioctl(device, Setter::<BLKDISCARD, [u64; 2]>::new(range)) }
}

/// swapon(2).
pub(crate) fn swap_on(path: &CStr, flags: i32) -> std::io::Result<()> {
    // SAFETY: `path` ends with a zero byte and lives during the call, which reads it only.
    answer(unsafe { libc::swapon(path.as_ptr(), flags) })
}

/// swapoff(2).
pub(crate) fn swap_off(path: &CStr) -> std::io::Result<()> {
    // SAFETY: as for `swap_on`.
    answer(unsafe { libc::swapoff(path.as_ptr()) })
}

/// sched_setscheduler(2) for the calling thread.
pub(crate) fn schedule(policy: i32, priority: i32) -> std::io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the call reads one `sched_param`, which lives during it, and keeps no pointer.
    answer(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })
}

/// fork(2) of a process that has no other threads: the child's number in the parent, none in the child.
pub(crate) fn fork_single() -> std::io::Result<Option<Pid>> {
    // SAFETY: what a child may do is limited only where other threads of the parent could have held
    // a lock; the caller has seen that there are none.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        child => Ok(Pid::from_raw(child)),
    }
}

/// munlock(2).
pub(crate) fn unlock(address: usize, len: usize) -> std::io::Result<()> {
    // SAFETY: the call changes neither content nor protection of any mapping, only whether its
    // pages may be taken from memory; a range that is not mapped makes it fail.
    answer(unsafe { libc::munlock(address as *const libc::c_void, len) })
}

fn answer(code: i32) -> std::io::Result<()> {
    match code {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
