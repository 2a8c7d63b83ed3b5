//! A model of zsmalloc, the allocator of today's zram, with chains of up to 8 pages.
//!
//! Source: `Documentation/mm/zsmalloc.rst` of the kernel.
//!
//! ```text
//!  zspage: 1 to 8 single pages seen as one, objects of its class one after the other
//!  page 0                    page 1                    page 2
//!  | obj 0    | obj 1    | obj 2    | obj 3    | ...              | unused |
//!                     crosses a page
//!
//!  object: | handle (8 bytes, bit 0 set) | payload ... |   used
//!          | index of the next free object << 1 | ...  |   free
//! ```
//!
//! - **Classes** ([`classes`]): 255, 16 bytes apart; those with the same shape are merged.
//! - **Handles**: an 8-byte object from a slab cache, holding zspage and index; it is what the
//!   owner keeps, so objects can move. Each object starts with its handle, except in a zspage
//!   with one object only (a huge class), where the zspage has it.
//! - **Fullness** ([`zspage`]): a class keeps its zspages in twelve groups by the share of
//!   objects in use. An allocation takes from the fullest group that has room; the last free
//!   gives the zspage back.
//! - **Compaction** ([`compact`]) empties the sparsest zspages of a class into the fullest ones.
//! - zram stores what is not below the huge-class watermark (3625 bytes with 8-page chains) as
//!   a whole page; so does this engine. An object over a page, which zram never asks for, takes
//!   two.
//!
//! Metadata: the slabs of the handles; 56 bytes of `struct zspage` each; the pool struct with
//! its 255 class pointers, and 336 bytes for each distinct class (twelve list heads, shape and
//! statistics). zram's slot table is not part of it.
#![deny(unsafe_code)]

pub(crate) mod classes;
mod compact;
#[cfg(test)]
mod tests;
mod zspage;

use self::classes::{CLASS_MAX, ClassTable};
use self::zspage::{Class, Zspage};
use super::memory::{PAGE_SIZE, Table, whole_pages};
use super::pages::{Address, PAGES_MAX, Pages};
use super::slab::cache::{Cache, SlabInfo};
use super::slots::{Reference, Slots};
use crate::engine::{Engine, EngineError, Footprint};

/// Bytes of a handle object, and of the header that repeats it.
const HANDLE_BYTES: usize = 8;

/// Largest object: two pages.
const SIZE_MAX: usize = 2 * PAGE_SIZE;

/// `struct zspage`, `struct zs_pool` and `struct size_class` on 64-bit Linux.
const ZSPAGE_BYTES: u64 = 56;
const POOL_BYTES: u64 = 255 * 8 + 128;
const CLASS_BYTES: u64 = 336;

/// Where an object is, as its handle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    zspage: u32,
    index: u32,
}

impl Place {
    fn to_word(self) -> u64 {
        (u64::from(self.zspage) << 32) | u64::from(self.index)
    }

    fn from_word(word: u64) -> Self {
        Self {
            zspage: (word >> 32) as u32,
            index: word as u32,
        }
    }
}

/// The engine.
#[derive(Debug)]
pub(crate) struct Zsmalloc {
    pages: Pages,
    slots: Slots,
    table: ClassTable,
    classes: Vec<Class>,
    zspages: Table<Zspage>,
    /// Number of the first unused item of `zspages` (a list through `next_unused`), if any.
    unused_zspage: Option<u32>,
    zspages_made: u32,
    zspages_live: u64,
    handles: Cache,
    handle_pages: Pages,
    handle_slabs: Table<SlabInfo>,
}

impl Zsmalloc {
    /// An empty pool.
    pub(crate) fn new() -> Self {
        let table = ClassTable::new();
        Self {
            pages: Pages::new(),
            slots: Slots::new(),
            classes: table.shapes().map(Class::new).collect(),
            table,
            zspages: Table::new(PAGES_MAX),
            unused_zspage: None,
            zspages_made: 0,
            zspages_live: 0,
            handles: Cache::new(HANDLE_BYTES),
            handle_pages: Pages::new(),
            handle_slabs: Table::new(PAGES_MAX),
        }
    }

    /// Class number for an object of `size`.
    fn class_of(&self, size: usize) -> usize {
        if size > PAGE_SIZE {
            self.table.class_for_two_pages()
        } else if size >= self.table.huge_size() {
            self.table.class_for(CLASS_MAX)
        } else {
            self.table.class_for(size + HANDLE_BYTES)
        }
    }

    fn place_of(&self, handle: u64) -> Place {
        Place::from_word(self.handle_pages.load_u64(Address(handle)))
    }

    fn set_place(&mut self, handle: u64, place: Place) {
        self.handle_pages
            .store_u64(Address(handle), place.to_word());
    }

    /// Position of the payload in its zspage.
    fn payload_offset(&self, place: Place) -> usize {
        let class = &self.classes[usize::from(self.zspages[place.zspage as usize].class)];
        let header = if class.shape.is_huge() {
            0
        } else {
            HANDLE_BYTES
        };
        place.index as usize * class.shape.size + header
    }
}

impl Engine for Zsmalloc {
    fn name(&self) -> &'static str {
        "zsmalloc"
    }

    fn alloc(&mut self, slot: usize, size: usize) -> Result<(), EngineError> {
        self.slots.prepare(slot, size, SIZE_MAX)?;
        let handle = self
            .handles
            .alloc(&mut self.handle_pages, &mut self.handle_slabs)?;
        match self.take_object(self.class_of(size), handle.0) {
            Ok(place) => {
                self.set_place(handle.0, place);
                let location = handle.0;
                self.slots.fill(slot, Reference { location, size });
                Ok(())
            }
            Err(error) => {
                self.handles
                    .free(&mut self.handle_pages, &mut self.handle_slabs, handle);
                Err(error)
            }
        }
    }

    fn free(&mut self, slot: usize) -> Result<(), EngineError> {
        let handle = self.slots.empty(slot)?.location;
        self.release_object(self.place_of(handle));
        self.handles.free(
            &mut self.handle_pages,
            &mut self.handle_slabs,
            Address(handle),
        );
        Ok(())
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), EngineError> {
        let object = self.slots.get_exact(slot, bytes.len())?;
        let place = self.place_of(object.location);
        let mut rest = bytes;
        let mut offset = self.payload_offset(place);
        while !rest.is_empty() {
            let len = rest.len().min(PAGE_SIZE - offset % PAGE_SIZE);
            let (piece, after) = rest.split_at(len);
            let at = self.zspages[place.zspage as usize].address(offset);
            self.pages.bytes_mut(at, len).copy_from_slice(piece);
            rest = after;
            offset += len;
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, EngineError> {
        let object = self.slots.get_fitting(slot, out.len())?;
        let place = self.place_of(object.location);
        let mut rest = &mut out[..object.size];
        let mut offset = self.payload_offset(place);
        while !rest.is_empty() {
            let len = rest.len().min(PAGE_SIZE - offset % PAGE_SIZE);
            let (piece, after) = rest.split_at_mut(len);
            let at = self.zspages[place.zspage as usize].address(offset);
            piece.copy_from_slice(self.pages.bytes(at, len));
            rest = after;
            offset += len;
        }
        Ok(object.size)
    }

    fn compact(&mut self) {
        self.compact_all();
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            data_bytes: self.pages.live_bytes(),
            metadata_bytes: self.handle_pages.live_bytes()
                + whole_pages(self.zspages_live * ZSPAGE_BYTES)
                + whole_pages(POOL_BYTES)
                + whole_pages(self.classes.len() as u64 * CLASS_BYTES),
            reference_bytes: self.slots.reference_bytes(),
        }
    }

    fn rss_bytes(&self) -> Option<u64> {
        self.pages.resident_bytes()
    }
}
