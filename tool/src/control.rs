//! The control socket: what a running server tells, and does, for `ctl` and `top`.
//!
//! | module | what it does |
//! |---|---|
//! | `protocol` | requests and answers: one JSON object a line |
//! | `place` | where sockets are, names, leftovers of servers that were killed |
//! | `subject` | the served device as requests see it |
//! | `attribute` | zram's attributes, read and set |
//! | `change` | what they are set to: zram's syntax |
//! | `work` | what takes long: recompression, writing back, merging |
//! | `server`, `client` | the two ends |

mod attribute;
mod change;
mod client;
mod place;
mod protocol;
mod server;
mod subject;
mod work;

use std::path::PathBuf;

pub(crate) use attribute::Attribute;
pub(crate) use change::Change;
pub(crate) use client::{Client, devices, find};
pub(crate) use place::Name;
#[cfg(any(feature = "fuse", feature = "ublk"))]
pub(crate) use place::{SYSTEM_DIR, make_directory};
#[cfg(feature = "top")]
pub(crate) use protocol::Tiers;
pub(crate) use protocol::{Requests, Status};
pub(crate) use server::Control;
pub(crate) use subject::{HeldUsers, Subject, Users};

/// Arguments of every command that serves a device.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ControlArgs {
    /// Name of the device in `ctl` and `top` [default: compcache0 or the next free number]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// Control socket for `ctl` and `top`: a path, or none [default: NAME.sock in /run/compcache, or in
    /// $XDG_RUNTIME_DIR/compcache where that may not be written]
    #[arg(long, value_name = "PATH|none", value_parser = place::parse_wanted)]
    pub(crate) control: Option<Wanted>,
    /// Serve statistics to Prometheus at this address, such as 127.0.0.1:9100, path /metrics
    #[arg(long, value_name = "HOST:PORT", value_parser = crate::metrics::parse_address)]
    pub(crate) metrics: Option<String>,
}

/// Where the control socket is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nowhere.
    Nowhere,
    /// At this path.
    Path(PathBuf),
}
