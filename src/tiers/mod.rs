//! Pages in denser forms: recompressed, in clusters, shared, as patches, written back.
//!
//! ```text
//!  slot of a page                         belongs to several
//!  object ─────────────▶ its own bytes
//!  link: cluster ──────▶ info: members, alive ─▶ data: one stream of up to 16 pages
//!  link: shared n ─────▶ [references | stream] or [references | base | patch] ─▶ shared base
//!  link: written back ─▶ a token of the backing store
//! ```
//!
//! # Protocol
//!
//! 1. A slot is held while its page is read or changed. Slots are held in this order: one of the
//!    device, the info of its cluster, the data of that cluster; or one of the device, a shared one,
//!    its base; a segment's last. Who holds one waits for none before it.
//! 2. Who takes a link out of a slot gives back what it stood for before letting go of the slot.
//! 3. There is one worker. It never holds a slot while it compresses: it marks a page when it reads it,
//!    and changes the slot later only if the mark is still there. Whoever stores a page leaves no mark.
//! 4. So a link is made by the worker only, and only of what it has read.

mod check;
mod counters;
mod layout;
mod links;
mod numbers;
mod policy;
mod recompress;
mod records;
mod run;
mod same;
mod sample;
mod tokens;
mod touch;
mod worker;

pub(crate) use counters::TierCounters;
pub use counters::{TierStat, Work};
pub use layout::UNIT_LEN_MAX;
pub(crate) use layout::{Layout, UNIT_PAGES_MAX};
pub use policy::{Policy, Tick};
pub use recompress::{Recompress, What};
pub use records::Stand;
pub use worker::{Notes, Worker};
