//! compcache inside a Linux kernel: the page cache and the allocator, unchanged, behind functions
//! that the C shim calls.
//!
//! ```text
//!   block layer     zswap                     what only C can reach: ../compcache_main.c, ..._zpool.c
//!       │             │
//!   disk.rs        zpool.rs                   C ABI of this crate, declared in ../compcache.h
//!       │             │
//!   compcache::Cache  alloc_xv::Pool          the workspace's crates
//!       │             │
//!   pages.rs    lock.rs    bank.rs            alloc_page, spin locks, workspaces for each CPU
//!       │
//!   shim.rs                                   functions of the kernel, through the shim
//! ```
//!
//! # Contexts
//!
//! Every function here is called with preemption off, unless it says that it may sleep: a thread
//! that holds a slot or a workspace is never off its CPU, so who waits for it waits for
//! microseconds. Pages are taken without sleeping; the shim has a few at hand where that failed
//! and tries again.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

mod bank;
mod disk;
mod errno;
mod lock;
mod pages;
mod shim;
mod zpool;

/// A contradiction in the allocator's own tables: the kernel stops this thread rather than walk
/// into somebody else's memory.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info
        .location()
        .map_or(("unknown", 0), |place| (place.file(), place.line()));
    shim::bug(file, line)
}
