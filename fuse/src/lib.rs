//! A block device as one file of a FUSE file system, and a loop device over it.
//!
//! ```text
//!   swapon, mkfs, ...                     qemu, a reader of files, ...
//!          │                                     │
//!     /dev/loopN ── direct I/O ── file `disk` ───┘
//!                                     │
//!                          FUSE: read, write, fallocate, fsync, lseek
//!                                     │            some threads, a buffer each
//!                                 BlockDevice
//! ```
//!
//! For kernels with neither ublk nor nbd: FUSE and loop are in nearly every kernel. It costs two
//! more changes of context for each request than ublk does.
//!
//! | module | what it does |
//! |---|---|
//! | `disk` | the file system: a directory with one file |
//! | `buffers` | memory for what is read, taken once and touched once |
//! | `attach` | where the file system is: at a directory, or nowhere but in this process |
//! | `server` | starting and stopping all of it |

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod attach;
mod buffers;
mod disk;
mod server;

pub use attach::{AttachError, Place, clear_stale};
pub use server::{Config, FILE_NAME, FuseError, Server};
