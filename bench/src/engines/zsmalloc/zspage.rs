//! Zspages: taking and giving back objects, and the fullness groups of a class.
#![deny(unsafe_code)]

use super::super::lists::{IndexList, Linked, Links};
use super::super::memory::PAGE_SIZE;
use super::super::pages::Address;
use super::classes::{CHAIN_MAX, Shape};
use super::{Place, Zsmalloc};
use crate::engine::EngineError;

/// Groups by objects in use: none, up to a tenth, ... below all, all.
pub(super) const GROUPS: usize = 12;
pub(super) const GROUP_FULL: usize = GROUPS - 1;
/// The groups with objects and room.
pub(super) const GROUPS_PARTIAL: core::ops::RangeInclusive<usize> = 1..=GROUP_FULL - 1;

/// Bit 0 of an object's first word: in use.
pub(super) const USED: u64 = 1;

/// One chain of pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zspage {
    links: Links,
    /// Numbers of its pages.
    pages: [u32; CHAIN_MAX],
    pub(super) class: u16,
    pub(super) in_use: u16,
    /// First free object, if not all are in use.
    first_free: u32,
    /// While unused: the next unused one.
    next_unused: Option<u32>,
}

impl Zspage {
    const UNUSED: Self = Self {
        links: Links::NONE,
        pages: [0; CHAIN_MAX],
        class: 0,
        in_use: 0,
        first_free: 0,
        next_unused: None,
    };

    /// The byte at `offset` in the chain.
    pub(super) fn address(&self, offset: usize) -> Address {
        let page = self.pages[offset / PAGE_SIZE] as usize;
        Address((page * PAGE_SIZE + offset % PAGE_SIZE) as u64)
    }
}

impl Linked for Zspage {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// A size class and its zspages.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) shape: Shape,
    pub(super) groups: [IndexList; GROUPS],
    /// Objects in use in all its zspages.
    pub(super) objects_in_use: usize,
}

impl Class {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            groups: [IndexList::EMPTY; GROUPS],
            objects_in_use: 0,
        }
    }

    /// Objects in its zspages that are not in use.
    pub(super) fn objects_free(&self) -> usize {
        let zspages: usize = self.groups.iter().map(|group| group.count as usize).sum();
        zspages * self.shape.objects - self.objects_in_use
    }

    /// The fullness group of a zspage with `in_use` objects.
    pub(super) fn group_of(&self, in_use: u16) -> usize {
        let in_use = usize::from(in_use);
        match in_use {
            0 => 0,
            all if all == self.shape.objects => GROUP_FULL,
            _ => 100 * in_use / self.shape.objects / 10 + 1,
        }
    }
}

impl Zsmalloc {
    /// Takes an object of `class` for `handle`.
    pub(super) fn take_object(&mut self, class: usize, handle: u64) -> Result<Place, EngineError> {
        let fullest = GROUPS_PARTIAL
            .rev()
            .find_map(|group| self.classes[class].groups[group].first());
        let zspage = match fullest {
            Some(zspage) => zspage,
            None => self.new_zspage(class)?,
        };
        Ok(self.take_object_in(zspage, handle))
    }

    /// Takes an object of a zspage that has room.
    pub(super) fn take_object_in(&mut self, zspage: u32, handle: u64) -> Place {
        let info = &self.zspages[zspage as usize];
        let (index, in_use) = (info.first_free, info.in_use);
        let shape = self.classes[usize::from(info.class)].shape;
        if !shape.is_huge() {
            let at = info.address(index as usize * shape.size);
            self.zspages[zspage as usize].first_free = (self.pages.load_u64(at) >> 1) as u32;
            self.pages.store_u64(at, handle | USED);
        }
        self.set_in_use(zspage, in_use + 1);
        Place { zspage, index }
    }

    /// Gives an object back, and its zspage with the last one.
    pub(super) fn release_object(&mut self, place: Place) {
        let info = &self.zspages[place.zspage as usize];
        let in_use = info.in_use;
        let shape = self.classes[usize::from(info.class)].shape;
        if !shape.is_huge() {
            let at = info.address(place.index as usize * shape.size);
            self.pages.store_u64(at, u64::from(info.first_free) << 1);
            self.zspages[place.zspage as usize].first_free = place.index;
        }
        self.set_in_use(place.zspage, in_use - 1);
        if in_use == 1 {
            self.free_zspage(place.zspage);
        }
    }

    /// Sets the number of objects in use and moves the zspage to the group it belongs to.
    fn set_in_use(&mut self, zspage: u32, in_use: u16) {
        let info = &mut self.zspages[zspage as usize];
        let before = core::mem::replace(&mut info.in_use, in_use);
        let class = &mut self.classes[usize::from(info.class)];
        class.objects_in_use = class.objects_in_use + usize::from(in_use) - usize::from(before);
        let (from, to) = (class.group_of(before), class.group_of(in_use));
        if from != to {
            class.groups[from].remove(&mut self.zspages, zspage);
            class.groups[to].push_front(&mut self.zspages, zspage);
        }
    }

    /// Chains pages for `class` and threads the free objects through them.
    fn new_zspage(&mut self, class: usize) -> Result<u32, EngineError> {
        let shape = self.classes[class].shape;
        let number = match self.unused_zspage {
            Some(number) => number,
            None => {
                self.zspages
                    .cover(self.zspages_made as usize, Zspage::UNUSED)?;
                self.zspages_made
            }
        };
        let mut info = Zspage {
            class: class as u16,
            ..Zspage::UNUSED
        };
        for taken in 0..shape.pages {
            match self.pages.take(0) {
                Ok(page) => info.pages[taken] = page.page_index() as u32,
                Err(error) => {
                    self.give_back_pages(&info, taken);
                    return Err(error);
                }
            }
        }
        if !shape.is_huge() {
            for index in 0..shape.objects {
                let at = info.address(index * shape.size);
                self.pages.store_u64(at, (index as u64 + 1) << 1);
            }
        }
        if self.unused_zspage.is_some() {
            self.unused_zspage = self.zspages[number as usize].next_unused;
        } else {
            self.zspages_made += 1;
        }
        self.zspages_live += 1;
        self.zspages[number as usize] = info;
        self.classes[class].groups[0].push_front(&mut self.zspages, number);
        Ok(number)
    }

    /// Gives an empty zspage back.
    fn free_zspage(&mut self, number: u32) {
        let info = self.zspages[number as usize];
        let class = &mut self.classes[usize::from(info.class)];
        class.groups[0].remove(&mut self.zspages, number);
        let pages = class.shape.pages;
        self.give_back_pages(&info, pages);
        self.zspages[number as usize].next_unused = self.unused_zspage;
        self.unused_zspage = Some(number);
        self.zspages_live -= 1;
    }

    fn give_back_pages(&mut self, info: &Zspage, count: usize) {
        for page in &info.pages[..count] {
            let start = Address(u64::from(*page) * PAGE_SIZE as u64);
            self.pages.give_back(start, 0);
        }
    }
}
