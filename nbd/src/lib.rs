//! An NBD server (network block device) for a [`BlockDevice`].
//!
//! ```text
//!   socket ──recv──▶ inbox ─▶ Connection ─▶ outbox ──send──▶ socket
//!                             handshake      ▲
//!                             requests ──────┤ read straight into the outbox,
//!                                │           │ written straight from the inbox
//!                                ▼           │
//!                             BlockDevice ───┘
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `wire` | the numbers of the protocol, big-endian in and out |
//! | `buffer` | inbox and outbox: of fixed size |
//! | `handshake` | options: from greeting to transmission |
//! | `request`, `reply` | headers of the transmission, parsed and written |
//! | `connection` | all of that as one machine that never touches a socket |
//! | `parallel` | large requests on all CPUs |
//! | `address`, `server` | sockets and threads |
//! | `probe` | a client for tests (feature of that name) |
//!
//! The protocol is fixed newstyle as described in `doc/proto.md` of the NBD project, with structured
//! replies and the metadata context `base:allocation`, without TLS.
//!
//! # Limits
//!
//! Requests of 32 MiB of data, options of 16 KiB, handshakes of 256 options and 30 seconds, 1 MiB
//! of buffers a connection, 128 connections unless configured.

#![forbid(unsafe_code)]

mod address;
mod buffer;
mod connection;
mod handshake;
mod parallel;
mod patience;
#[cfg(any(test, feature = "probe"))]
pub mod probe;
mod reply;
mod request;
mod server;
mod wire;

pub use address::{Address, AddressError};
pub use compcache_device::BlockDevice;
pub use connection::{Connection, Next};
pub use handshake::{Export, ExportError, NAME_MAX};
pub use request::DATA_MAX;
pub use server::{Config, Server, ServerError, Stopped};
