//! [`Room`]: where an object will lie, before its size is known.

use super::{SlotState, Slots, check_object};
use crate::entry::{self, Object, Word, block_granules};
use crate::error::AllocError;
use crate::fragments::Parts;
use crate::source::PageSource;
use core::sync::atomic::AtomicU64;
use lock_api::RawMutex;

/// Room for an object whose bytes are made where they will lie; see [`Slots::reserve`]. Given back on drop.
pub struct Room<'c, S: PageSource, L: RawMutex, const ARENAS: usize> {
    slots: &'c Slots<S, L, ARENAS>,
    /// The key, and where its entry is.
    arena: usize,
    index: u32,
    /// Bytes it has room for.
    most: usize,
    parts: Parts<'c>,
    taken: bool,
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Slots<S, L, ARENAS> {
    /// Room for an object of up to `most` bytes that will be stored under `key`, in one piece: for who makes the bytes, and
    /// does not know before how many there will be. Nothing if there is none that is as good as any other: then
    /// [`store`](Self::store) the bytes when they are there. That is so where memory is not in windows
    /// ([`PageSource::WINDOWS`]), where free blocks are left between objects, and while another thread has room in
    /// the same arena. The slot is as it was until [`Room::commit`].
    ///
    /// Constant time; no lock is held afterwards. Other threads go on storing and freeing, and compaction goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use alloc_xv::{MmapSource, Slots};
    ///
    /// let slots: Slots<MmapSource> = Slots::new(MmapSource::new(1 << 30)?);
    /// # for key in 0..1000 { slots.store(key, 0, &[&[7; 1000]])?; }
    /// if let Some(mut room) = slots.reserve(1000, 4096) {
    ///     room.bytes()[..3].copy_from_slice(b"abc");
    ///     room.commit(5, 3, |_| {})?;
    ///     assert_eq!(slots.get(1000)?.expect("just stored").fragments().concat(), b"abc");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn reserve(&self, key: u64, most: usize) -> Option<Room<'_, S, L, ARENAS>> {
        if !S::WINDOWS {
            return None;
        }
        let (arena, index) = Self::place(key).ok()?;
        let size = check_object(0, most).ok()?;
        if !self.core.seems_to_grow(arena) {
            return None;
        }
        let mut locked = self.core.lock(arena);
        let offset = locked
            .space
            .take_pen(self.core.frames(), block_granules(size))?;
        let object = Object {
            offset,
            size,
            tag: 0,
        };
        let parts = self.core.parts(&locked, object);
        Some(Room {
            slots: self,
            arena,
            index,
            most,
            parts,
            taken: true,
        })
    }
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Room<'_, S, L, ARENAS> {
    /// The bytes, to be written. They hold what memory held before: commit those that were written, no more.
    #[inline]
    pub fn bytes(&mut self) -> &mut [u8] {
        self.parts.contiguous_mut()
    }

    /// Makes the first `size` bytes the object of the slot. `seen` hears what the slot held, while the slot is held:
    /// it must not touch it. On failure slot and pool are as they were.
    #[inline]
    pub fn commit(
        mut self,
        tag: u16,
        size: usize,
        seen: impl FnOnce(SlotState),
    ) -> Result<SlotState, AllocError> {
        let checked = check_object(tag, size)?;
        if size > self.most {
            return Err(AllocError::BadSize {
                size,
                max: self.most,
            });
        }
        let core = &self.slots.core;
        let (mut locked, (cell, old)) = self.slots.claim(self.arena, self.index)?;
        let object = locked.replace_written(core.frames(), self.index, (cell, old), checked, tag);
        self.taken = false;
        core.note_frontier(self.arena, &mut locked, object);
        core.after_free(&mut locked);
        core.after_alloc(&mut locked);
        drop(locked);
        let _held = Unlock(cell, Word::object(object));
        let before = SlotState::of(old);
        seen(before);
        Ok(before)
    }
}

/// An entry that is held until this is dropped, and the word that it has then.
struct Unlock<'c>(&'c AtomicU64, Word);

impl Drop for Unlock<'_> {
    #[inline]
    fn drop(&mut self) {
        entry::unlock(self.0, self.1);
    }
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Drop for Room<'_, S, L, ARENAS> {
    #[inline]
    fn drop(&mut self) {
        if self.taken {
            let core = &self.slots.core;
            let mut locked = core.lock(self.arena);
            locked.space.drop_pen(core.frames());
            core.after_free(&mut locked);
        }
    }
}
