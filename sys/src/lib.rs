//! Linux interfaces that front ends need and no well-kept crate wraps.
//!
//! | module | what it does |
//! |---|---|
//! | [`daemon`] | a process that goes on in the background once it is ready |
//! | [`discard`] | blocks of a device that are of no use any more |
//! | [`loops`] | loop devices: set up over a file, taken down, found in use |
//! | [`priority`] | the calling thread before others, and its memory |
//! | [`socket`] | unix sockets to listen on |
//! | [`swap`] | swap areas: header, on, off, which are active |
//! | `calls` | the system calls and ioctls themselves; the only `unsafe` |
//!
//! `loopdev-3` would do the first, but needs libclang to build.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod calls;
pub mod daemon;
pub mod discard;
pub mod loops;
pub mod priority;
pub mod socket;
pub mod swap;
