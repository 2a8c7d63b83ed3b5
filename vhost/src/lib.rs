//! A block device for virtual machines: the back end of vhost-user-blk, which the guest sees as
//! `/dev/vda`.
//!
//! ```text
//!   guest ── ring, buffers ── shared memory ──▶ chain ─▶ request ─▶ BlockDevice
//!     │                            ▲               answer, through a buffer │
//!     │ kick ─────▶ backend        └────────────────────────────────────────┘
//!   VMM ── features, memory, rings ── unix socket ── server
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `abi` | features and configuration space, as the guest reads them |
//! | `chain` | a request's descriptors, gone through once and checked |
//! | `request` | a request done, and answered |
//! | `backend` | the rings: what is waiting is served, the guest is told |
//! | `server` | the socket, one VMM after the other |
//!
//! | word | meaning |
//! |---|---|
//! | VMM | the program that runs the guest, such as QEMU: the front end of the protocol |
//! | ring | a queue of requests in the guest's memory (virtqueue) |
//! | chain | the descriptors of one request: what the device may read, then what it may write |
//!
//! # What a guest may do wrong
//!
//! Anything: a chain that is circular, too long, in the wrong order or of the wrong size is
//! answered with an error, or where there is no place for an answer given back without one. Nothing
//! a guest writes ends the server or reaches anything but the device and the guest's own memory.
//! The VMM is trusted as far as the memory goes that it shares: if it truncates the file behind it,
//! the server is killed by SIGBUS, like every program that shares memory.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod abi;
mod backend;
mod chain;
mod request;
mod server;

pub use server::{Config, Server, ServerError};
