//! Our own allocator as an engine: [`Slots`] over anonymous memory, with its compactor.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RawMutex;

use alloc_xv::{AllocError, Compactor, MmapSource, SlotState, Slots};

use crate::engine::{Engine, EngineError, Footprint};

/// Address space of the source; memory is taken only for pages that are.
const CAPACITY_BYTES: usize = 16 << 30;
/// What the product does by itself counts if it is done within this time.
const SETTLE: Duration = Duration::from_secs(1);
const PAGE: u64 = 4096;

/// One arena, addressed by slot number: the entry that every object needs is the owner's slot,
/// so there is no reference beside it.
pub struct AllocXv {
    // Stops before the pool goes.
    _compactor: Option<Compactor>,
    slots: Arc<Slots<MmapSource, RawMutex>>,
}

impl AllocXv {
    /// An empty pool. `None` if the system refuses the address space.
    pub fn new() -> Option<Self> {
        let slots = Arc::new(Slots::new(MmapSource::new(CAPACITY_BYTES).ok()?));
        Some(Self {
            _compactor: Compactor::spawn(&slots).ok(),
            slots,
        })
    }
}

fn engine_error(error: AllocError, slot: usize, size: usize) -> EngineError {
    match error {
        AllocError::BadSize { size, max } => EngineError::BadSize { size, max },
        AllocError::BadKey { .. } => EngineError::WrongSlotState { slot },
        _ => EngineError::OutOfMemory { size },
    }
}

impl Engine for AllocXv {
    fn name(&self) -> &'static str {
        "alloc_xv"
    }

    fn alloc(&mut self, slot: usize, size: usize) -> Result<(), EngineError> {
        match self.slots.store_unwritten(slot as u64, 0, size) {
            Ok(SlotState::Empty) => Ok(()),
            Ok(_) => Err(EngineError::WrongSlotState { slot }),
            Err(error) => Err(engine_error(error, slot, size)),
        }
    }

    fn free(&mut self, slot: usize) -> Result<(), EngineError> {
        match self.slots.clear(slot as u64) {
            Ok(SlotState::Object { .. }) => Ok(()),
            _ => Err(EngineError::WrongSlotState { slot }),
        }
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), EngineError> {
        match self.slots.get(slot as u64) {
            Ok(Some(mut held)) => held.write(0, bytes).map_err(|_| EngineError::BadSize {
                size: bytes.len(),
                max: held.fragments().size(),
            }),
            _ => Err(EngineError::WrongSlotState { slot }),
        }
    }

    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, EngineError> {
        match self.slots.get(slot as u64) {
            Ok(Some(held)) => {
                let fragments = held.fragments();
                fragments.copy_to(0, out);
                Ok(fragments.size())
            }
            _ => Err(EngineError::WrongSlotState { slot }),
        }
    }

    fn settle(&mut self) {
        std::thread::sleep(SETTLE);
    }

    fn compact(&mut self) {
        self.slots.compact(u64::MAX);
    }

    fn footprint(&self) -> Footprint {
        let stats = self.slots.stats();
        let beside =
            stats.struct_bytes.next_multiple_of(PAGE) + self.slots.source().overhead_bytes() as u64;
        Footprint {
            data_bytes: stats.data_pages * PAGE,
            metadata_bytes: stats.metadata_pages * PAGE + beside,
            reference_bytes: 0,
        }
    }

    fn rss_bytes(&self) -> Option<u64> {
        Some(self.slots.source().resident_bytes() as u64)
    }
}
