//! An encrypted, packed log of records in a file or block device: where a cache writes what it
//! does not keep in memory.
//!
//! It is swap, not storage: the key lives in memory only, so after the end of the process the
//! bytes are noise. What was not written correctly gives an error when it is read, never other
//! bytes.
//!
//! | word | meaning |
//! |---|---|
//! | record | bytes that are written and read as one, 1 to 65,600 of them, with a key of the owner's choice |
//! | unit | 16 bytes; records take whole ones |
//! | segment | 256 KiB; records are packed into it, and do not cross its end |
//! | [`Token`] | where a record lies: segment, first unit, units; 56 bits for the owner to keep |
//! | live | a record whose token the owner still keeps |
//! | generation | a number that a segment gets when it is opened, and that never comes back |
//!
//! ```
//! use compcache_backing::{Backing, MemoryStore, Options, ReadError};
//!
//! let store = Box::new(MemoryStore::new(16 << 20));
//! let log = Backing::new(store, Options::default())?;
//! let mut tokens = Vec::new();
//! let batch = log.write(&[(7, b"seven"), (8, b"eight")], &mut tokens)?;
//! // The owner keeps the tokens and counts their units as live in their segments. Then:
//! drop(batch);
//!
//! let mut bytes = Vec::new();
//! log.read(8, tokens[1], &mut bytes)?;
//! assert_eq!(bytes, b"eight");
//! // Another key's record is no record.
//! assert!(matches!(log.read(8, tokens[0], &mut bytes), Err(ReadError::Damaged)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To an owner, records die silently: it drops their tokens. [`Backing::clean`] asks what is live
//! and gives the rest back; call it with a budget, from the thread that does such work. Reads go
//! on meanwhile, without locks. One that is overtaken gives [`ReadError::Damaged`]: look again
//! where the record is now.
//!
//! | module | what it does |
//! |---|---|
//! | `token` | places and sizes |
//! | `store` | [`Store`]; files, devices, memory, one that fails |
//! | `seal` | encryption, nonces |
//! | `table` | which records lie in a segment |
//! | `generations`, `segments` | what is known of segments: to readers, to the others |
//! | `writer` | batches |
//! | `plan`, `clean` | what to give back, and doing so |

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod backing;
mod clean;
mod error;
mod generations;
mod plan;
mod seal;
mod segments;
mod stats;
mod store;
mod table;
mod token;
mod writer;

pub use backing::{Backing, Batch, Options};
pub use clean::{Cleaned, Owner};
pub use error::{OpenError, ReadError, WriteError};
pub use stats::Stats;
pub use store::{Failing, Faults, FileStore, Injected, MemoryStore, Store};
pub use token::{RECORD_MAX, SEGMENT_LEN, SEGMENT_UNITS, SEGMENTS_MAX, Token, UNIT_LEN};
