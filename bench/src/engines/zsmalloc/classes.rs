//! Size classes: which object sizes there are, and how many pages a zspage of each has.
//!
//! Sizes are 32, 48, ... 4096. For each, the chain of 1 to 8 pages with the least left over at
//! its end is chosen (the shortest of equals; one page for powers of two). Going
//! down from 4096, a class that has as many pages and as many objects in a zspage as the one
//! above is merged into it: its objects would have the room anyway.
#![deny(unsafe_code)]

use super::super::memory::PAGE_SIZE;
use super::HANDLE_BYTES;

/// Smallest and largest class, and their distance.
const CLASS_MIN: usize = 32;
pub(crate) const CLASS_MAX: usize = PAGE_SIZE;
const CLASS_STEP: usize = 16;
pub(crate) const CLASSES: usize = (CLASS_MAX - CLASS_MIN) / CLASS_STEP + 1;

/// Longest chain (`CONFIG_ZSMALLOC_CHAIN_SIZE`).
pub(crate) const CHAIN_MAX: usize = 8;

/// What the zspages of a class look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes of an object, header included.
    pub(crate) size: usize,
    /// Pages in a zspage.
    pub(crate) pages: usize,
    /// Objects in a zspage.
    pub(crate) objects: usize,
}

impl Shape {
    fn of_size(size: usize) -> Self {
        let chain = if size.is_power_of_two() {
            1
        } else {
            (1..=CHAIN_MAX)
                .min_by_key(|pages| pages * PAGE_SIZE % size)
                .unwrap_or(1)
        };
        Self {
            size,
            pages: chain,
            objects: chain * PAGE_SIZE / size,
        }
    }

    /// A single object, which needs no header.
    pub(crate) fn is_huge(&self) -> bool {
        self.objects == 1
    }
}

/// All sizes, and the classes they use after merging.
#[derive(Debug)]
pub(crate) struct ClassTable {
    /// Distinct shapes, largest first; the very first is for objects over a page.
    shapes: Vec<Shape>,
    /// For each of the sizes its index in `shapes`.
    class_of_size: [u16; CLASSES],
    huge_size: usize,
}

impl ClassTable {
    /// The table for 4096-byte pages.
    pub(crate) fn new() -> Self {
        let mut shapes = vec![Shape {
            size: 2 * PAGE_SIZE,
            pages: 2,
            objects: 1,
        }];
        let mut class_of_size = [0; CLASSES];
        let mut huge_size = PAGE_SIZE;
        let mut largest_shared = None;
        for number in (0..CLASSES).rev() {
            let shape = Shape::of_size(CLASS_MIN + number * CLASS_STEP);
            let merges = shapes
                .last()
                .is_some_and(|last| (last.pages, last.objects) == (shape.pages, shape.objects));
            if !merges {
                shapes.push(shape);
            }
            class_of_size[number] = (shapes.len() - 1) as u16;
            if largest_shared.is_none() && shape.objects > 1 && shape.pages > 1 {
                largest_shared = Some(shape.size);
                huge_size = shape.size - (HANDLE_BYTES - 1);
            }
        }
        Self {
            shapes,
            class_of_size,
            huge_size,
        }
    }

    /// Payloads of this size and more are kept as a whole page.
    pub(crate) fn huge_size(&self) -> usize {
        self.huge_size
    }

    /// Distinct shapes, by class number.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = Shape> + '_ {
        self.shapes.iter().copied()
    }

    /// Class of objects of `size` bytes, header included.
    pub(crate) fn class_for(&self, size: usize) -> usize {
        let number = size.saturating_sub(CLASS_MIN).div_ceil(CLASS_STEP);
        usize::from(self.class_of_size[number.min(CLASSES - 1)])
    }

    /// Class of objects over a page.
    pub(crate) fn class_for_two_pages(&self) -> usize {
        0
    }
}
