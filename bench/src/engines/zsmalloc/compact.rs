//! Compaction: in each class, objects of the sparsest zspages move into the fullest.
//!
//! It goes on while the free objects of the class would make a whole zspage. A source that ends
//! up empty goes back; a target is filled to the last object.
#![deny(unsafe_code)]

use super::super::memory::PAGE_SIZE;
use super::super::pages::Address;
use super::zspage::{GROUPS_PARTIAL, USED};
use super::{HANDLE_BYTES, Place, Zsmalloc};

impl Zsmalloc {
    /// Compacts every class, the largest objects first.
    pub(super) fn compact_all(&mut self) {
        for class in 0..self.classes.len() {
            self.compact_class(class);
        }
    }

    fn compact_class(&mut self, class: usize) {
        while self.could_free_a_zspage(class) {
            let Some(target) = self.first_partial(class, GROUPS_PARTIAL.rev()) else {
                return;
            };
            // Off its list, so that it is not its own source.
            let class_info = &mut self.classes[class];
            let group = class_info.group_of(self.zspages[target as usize].in_use);
            class_info.groups[group].remove(&mut self.zspages, target);
            let source = self.first_partial(class, GROUPS_PARTIAL);
            self.classes[class].groups[group].push_front(&mut self.zspages, target);
            let Some(source) = source else {
                return;
            };
            self.move_objects(class, source, target);
        }
    }

    /// First zspage of the first of `groups` that has one.
    fn first_partial(&self, class: usize, mut groups: impl Iterator<Item = usize>) -> Option<u32> {
        groups.find_map(|group| self.classes[class].groups[group].first())
    }

    /// Whether the free objects of the class are at least one zspage.
    fn could_free_a_zspage(&self, class: usize) -> bool {
        let class = &self.classes[class];
        class.objects_free() >= class.shape.objects
    }

    /// Moves objects until `source` is empty, and gone, or `target` is full.
    fn move_objects(&mut self, class: usize, source: u32, target: u32) {
        let shape = self.classes[class].shape;
        for index in 0..shape.objects as u32 {
            let from = Place {
                zspage: source,
                index,
            };
            let word = self.pages.load_u64(self.object_start(from, shape.size));
            if word & USED == 0 {
                continue;
            }
            if usize::from(self.zspages[target as usize].in_use) == shape.objects {
                return;
            }
            let handle = word & !USED;
            let to = self.take_object_in(target, handle);
            self.copy_payload(from, to, shape.size);
            self.set_place(handle, to);
            let source_is_empty = self.zspages[source as usize].in_use == 1;
            self.release_object(from);
            if source_is_empty {
                return;
            }
        }
    }

    fn object_start(&self, place: Place, size: usize) -> Address {
        self.zspages[place.zspage as usize].address(place.index as usize * size)
    }

    /// Copies what follows the header, piece by piece as pages end on either side.
    fn copy_payload(&mut self, from: Place, to: Place, size: usize) {
        let mut from_offset = from.index as usize * size + HANDLE_BYTES;
        let mut to_offset = to.index as usize * size + HANDLE_BYTES;
        let mut left = size - HANDLE_BYTES;
        while left > 0 {
            let len = left
                .min(PAGE_SIZE - from_offset % PAGE_SIZE)
                .min(PAGE_SIZE - to_offset % PAGE_SIZE);
            let source = self.zspages[from.zspage as usize].address(from_offset);
            let target = self.zspages[to.zspage as usize].address(to_offset);
            self.pages.copy(source, target, len);
            from_offset += len;
            to_offset += len;
            left -= len;
        }
    }
}
