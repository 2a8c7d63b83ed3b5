//! A block device for the kernel's ublk driver: `/dev/ublkbN`, Linux 6.0 and newer.
//!
//! ```text
//!   /dev/ublk-control ── add, set parameters, start, stop, delete ── Control
//!   /dev/ublkcN ──────── a ring for each queue ───────────────────── Queue, a thread each
//!                        fetch ▸ request ▸ commit and fetch ▸ ...        │
//!   /dev/ublkbN ◂─ swap, file systems                               BlockDevice
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | queue | requests of some CPUs, served by one thread |
//! | tag | a place for one request in a queue, with a buffer of its own |
//! | descriptor | what the request in a tag asks for, in memory of the driver's |
//!
//! A request costs no system call of its own where several are waiting: what is answered and what
//! is new goes through the ring together.
//!
//! # When the server is killed
//!
//! The pages were in its memory and are gone. Devices are made recoverable all the same: without
//! that the driver removes `/dev/ublkbN` under an active swap area, which then cannot be taken off
//! until the next boot. [`Server::take_over`] serves such a device again, failing every read, so
//! that swapoff works and whoever needs a lost page is told (SIGBUS) instead of given zeroes.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod abi;
mod control;
mod lost;
mod memory;
mod queue;
mod ring;
mod server;

pub use control::{CONTROL, UblkError, is_available};
pub use server::{Config, Server};
