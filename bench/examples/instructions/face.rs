//! The two faces of the allocator, seen alike.

use crate::source::Apart;
use alloc_xv::{Handle, MmapSource, Pool, Slots};

/// Their names.
pub(crate) const FACES: [&str; 2] = ["slots", "pool"];

/// Address space of a pool.
const CAPACITY_BYTES: usize = 16 << 30;

/// A pool whose objects are named by a slot number. False: an operation failed.
pub(crate) trait Face {
    fn alloc(&mut self, slot: usize, bytes: &[u8]) -> bool;
    fn free(&mut self, slot: usize) -> bool;
}

struct SlotsFace(Slots<Apart>);

impl Face for SlotsFace {
    #[inline(never)]
    fn alloc(&mut self, slot: usize, bytes: &[u8]) -> bool {
        // The bytes are not written: only the allocator is to be counted.
        self.0.store_unwritten(slot as u64, 0, bytes.len()).is_ok()
    }

    #[inline(never)]
    fn free(&mut self, slot: usize) -> bool {
        self.0.clear(slot as u64).is_ok()
    }
}

struct PoolFace {
    pool: Pool<Apart>,
    handles: Vec<Option<Handle>>,
}

impl Face for PoolFace {
    #[inline(never)]
    fn alloc(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let handle = self.pool.alloc_unwritten(bytes.len()).ok();
        self.handles[slot] = handle;
        handle.is_some()
    }

    #[inline(never)]
    fn free(&mut self, slot: usize) -> bool {
        self.handles[slot].is_some_and(|handle| self.pool.free(handle).is_ok())
    }
}

/// An empty pool for `live` objects, with the face `name`.
pub(crate) fn new(name: &str, live: usize, inline_moves: u32) -> Result<Box<dyn Face>, String> {
    let source = MmapSource::new(CAPACITY_BYTES).map_err(|error| error.to_string())?;
    let source = Apart(source);
    match name {
        "slots" => {
            let slots = Slots::new(source);
            slots.set_inline_moves(inline_moves);
            Ok(Box::new(SlotsFace(slots)))
        }
        "pool" => {
            let pool = Pool::new(source);
            pool.set_inline_moves(inline_moves);
            let handles = vec![None; live];
            Ok(Box::new(PoolFace { pool, handles }))
        }
        _ => Err(format!("no face {name}")),
    }
}
