//! Doubly linked lists: of table items by index, and of free blocks inside their own memory.
#![deny(unsafe_code)]

use super::memory::Table;
use super::pages::{Address, Pages};

/// Index that stands for none.
pub(crate) const NIL: u32 = u32::MAX;

/// Neighbours of a table item in the list it is on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    previous: u32,
    next: u32,
}

impl Links {
    /// On no list.
    pub(crate) const NONE: Self = Self {
        previous: NIL,
        next: NIL,
    };
}

/// A table item that can be on one list at a time.
pub(crate) trait Linked: Copy {
    /// Its links.
    fn links(&mut self) -> &mut Links;
}

/// A list of table items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexList {
    head: u32,
    tail: u32,
    /// Items on it.
    pub(crate) count: u32,
}

impl IndexList {
    /// Empty.
    pub(crate) const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        count: 0,
    };

    /// First item.
    pub(crate) fn first(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    /// Puts `item` first.
    pub(crate) fn push_front<T: Linked>(&mut self, table: &mut Table<T>, item: u32) {
        *table[item as usize].links() = Links {
            previous: NIL,
            next: self.head,
        };
        match self.first() {
            Some(old) => table[old as usize].links().previous = item,
            None => self.tail = item,
        }
        self.head = item;
        self.count += 1;
    }

    /// Puts `item` last.
    pub(crate) fn push_back<T: Linked>(&mut self, table: &mut Table<T>, item: u32) {
        *table[item as usize].links() = Links {
            previous: self.tail,
            next: NIL,
        };
        match self.tail {
            NIL => self.head = item,
            old => table[old as usize].links().next = item,
        }
        self.tail = item;
        self.count += 1;
    }

    /// Takes `item`, which is on this list, off it.
    pub(crate) fn remove<T: Linked>(&mut self, table: &mut Table<T>, item: u32) {
        let Links { previous, next } =
            core::mem::replace(table[item as usize].links(), Links::NONE);
        match previous {
            NIL => self.head = next,
            previous => table[previous as usize].links().next = next,
        }
        match next {
            NIL => self.tail = previous,
            next => table[next as usize].links().previous = previous,
        }
        self.count -= 1;
    }
}

/// A list of free blocks; each holds its neighbours in 16 bytes at `LINKS` from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockList<const LINKS: usize> {
    head: Address,
}

impl<const LINKS: usize> BlockList<LINKS> {
    /// Empty.
    pub(crate) const EMPTY: Self = Self {
        head: Address::NONE,
    };

    /// First block.
    pub(crate) fn first(&self) -> Option<Address> {
        Some(self.head).filter(|&head| head != Address::NONE)
    }

    /// Puts `block` first.
    pub(crate) fn push_front(&mut self, pages: &mut Pages, block: Address) {
        pages.store_u64(block.plus(LINKS), self.head.0);
        pages.store_u64(block.plus(LINKS + 8), Address::NONE.0);
        if let Some(old) = self.first() {
            pages.store_u64(old.plus(LINKS + 8), block.0);
        }
        self.head = block;
    }

    /// Takes `block`, which is on this list, off it.
    pub(crate) fn remove(&mut self, pages: &mut Pages, block: Address) {
        let next = Address(pages.load_u64(block.plus(LINKS)));
        let previous = Address(pages.load_u64(block.plus(LINKS + 8)));
        if previous == Address::NONE {
            self.head = next;
        } else {
            pages.store_u64(previous.plus(LINKS), next.0);
        }
        if next != Address::NONE {
            pages.store_u64(next.plus(LINKS + 8), previous.0);
        }
    }
}
