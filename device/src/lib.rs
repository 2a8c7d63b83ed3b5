//! The page cache as a block device, for front ends (NBD, ublk, FUSE, vhost-user) to serve.
//!
//! ```text
//!   front end ── read, write, discard, write_zeroes, flush, extent ── BlockDevice
//!                        bytes, whole sectors of 512                       │
//!                                                                       Device
//!                            whole page of 4096: put, get, discard ────────┤
//!                            part of one: sector reads and writes ─────────┤
//!                                                                        Tiered
//!                                             policy thread ── page cache ──┴── backing store
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | sector | 512 bytes, the unit of offsets and lengths |
//! | page | 4096 bytes, the unit that is stored, and that is atomic |
//! | hole | pages that are not stored: they read as zeroes and take no memory |
//!
//! # Examples
//!
//! ```
//! use compcache_device::{BlockDevice, Config, Device, ExtentKind};
//!
//! let device = Device::new(Config::new(1 << 20))?; // 1 MiB, LZ4
//! device.write(4096, &[7; 512])?;
//! let mut back = [0; 1024];
//! device.read(4096, &mut back)?;
//! assert_eq!((back[511], back[512]), (7, 0));
//!
//! let extent = device.extent(0, device.size())?;
//! assert_eq!((extent.len, extent.kind), (4096, ExtentKind::Hole));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod backed;
mod block;
mod device;
mod error;
mod latency;

pub use block::{BlockDevice, Extent, ExtentKind, PAGE_SIZE, SECTOR_SIZE, check_range};
pub use compcache::Growth;
pub use compcache_tiers::{
    BackingStat, Policy, Recompress, TierStat, Tiered, What, WriteBack, WriteBackKind,
};
pub use compress::{AnyCodec, Ladder};
pub use device::{Cache, Config, Device, Stat};
pub use error::{BackingError, Errno, Error, NewError};
pub use latency::{Kind, Latency};
