//! The C interface of compcache: the allocator as a pool, and the cache of compressed pages, for
//! kernels, hypervisors and programs that are not in Rust.
//!
//! The interface is described where C programs read it, in `include/compcache.h` and
//! `include/compcache_zs.h` (zsmalloc's shape), which are generated out of this crate; how to embed it, and
//! what each function may do in which context, in `docs/embedding.md`.
//!
//! * **No allocator, no `std`**: objects lie in memory that the caller gives, pages come from a callback.
//! * **Errors**: every function returns a [`compcache_status`]; none panics for what it is given, unless
//!   memory was overwritten. A panic never unwinds into the caller: see
//!   [`compcache_set_panic_hook`].
//! * **Ownership**: the library keeps no pointer of the caller's after a call, but for the object's memory,
//!   pages that were not given back, the host's callbacks and context, and a reading between its begin and end.

#![no_std]
#![allow(
    non_camel_case_types,
    reason = "types are named as C programs know them"
)]
#![deny(unsafe_op_in_unsafe_fn)]

mod abi;
mod cache;
mod common;
mod host;
mod object;
mod panic;
mod pool;
mod status;
#[cfg(target_pointer_width = "64")]
mod zs;

pub use abi::*;
pub use cache::*;
pub use host::*;
pub use panic::*;
pub use pool::*;
pub use status::*;
#[cfg(target_pointer_width = "64")]
pub use zs::*;
