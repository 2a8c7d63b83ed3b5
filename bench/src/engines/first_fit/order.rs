//! The free list as a tree: the same order, and its first fit without the walk.
//!
//! ```text
//!                 [max 2048, 4 chunks]                    each node: largest chunk below it,
//!            ┌────────────┴───────────┐                   and how many chunks are below it
//!    [max 2048, 2]               [max 640, 2]
//!     ┌──────┴──────┐            ┌────┴─────┐
//!  [2048] [gone] [96] [gone]  [640]  [32]  ...  unused
//!  place 0                              5 ^ next place
//!  tail of the list                       head of the list
//! ```
//!
//! A list that is only pushed at its front is in order of age. Each chunk gets the next place when
//! it is pushed and keeps it (in its header, where the list had its links), so places from high to
//! low are the list from head to tail, with gaps where chunks were removed. Going down the tree,
//! to the right wherever that half has a chunk that fits, ends at the first that fits, and the
//! chunks of the halves passed by on the right are those that a walk would have looked at before.
//!
//! When places are used up, chunks are numbered anew without gaps, in a tree of at least twice
//! their number: at least half of the places are unused then, so that costs a constant a push.
#![deny(unsafe_code)]

use super::{FirstFound, FreeChunks};
use crate::engines::pages::{Address, Pages};

/// Where a free chunk's header holds its place.
const PLACE: usize = 8;

/// Places of the smallest tree.
const PLACES_MIN: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Bytes of the largest chunk below; 0 if there is none.
    size_max: u32,
    /// Chunks below.
    count: u32,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Order {
    /// A binary tree: the root is node 1, the children of node `n` are `2n` and `2n + 1`, and
    /// place `p` is node `places + p`.
    nodes: Vec<Node>,
    /// Chunk of each place; out of date where the place is a gap.
    chunks: Vec<Address>,
    /// The next place.
    next: usize,
}

impl Default for Order {
    fn default() -> Self {
        Self::with_places(PLACES_MIN)
    }
}

impl Order {
    fn with_places(places: usize) -> Self {
        Self {
            nodes: vec![Node::default(); 2 * places],
            chunks: vec![Address::NONE; places],
            next: 0,
        }
    }

    fn places(&self) -> usize {
        self.chunks.len()
    }

    /// Sets the node of a place and those above it.
    fn set(&mut self, place: usize, node: Node) {
        let mut at = self.places() + place;
        self.nodes[at] = node;
        while at > 1 {
            at /= 2;
            self.join_children(at);
        }
    }

    fn join_children(&mut self, at: usize) {
        let (left, right) = (self.nodes[2 * at], self.nodes[2 * at + 1]);
        self.nodes[at] = Node {
            size_max: left.size_max.max(right.size_max),
            count: left.count + right.count,
        };
    }

    /// Numbers all chunks anew, in the same order and without gaps.
    fn renumber(&mut self, pages: &mut Pages) {
        let count = self.nodes[1].count as usize;
        let places = (2 * count).next_power_of_two().max(PLACES_MIN);
        let old = core::mem::replace(self, Self::with_places(places));
        for (place, &node) in old.nodes[old.places()..].iter().enumerate() {
            if node.count > 0 {
                let chunk = old.chunks[place];
                pages.store_u64(chunk.plus(PLACE), self.next as u64);
                self.nodes[places + self.next] = node;
                self.chunks[self.next] = chunk;
                self.next += 1;
            }
        }
        for at in (1..places).rev() {
            self.join_children(at);
        }
    }
}

impl FreeChunks for Order {
    fn push_front(&mut self, pages: &mut Pages, chunk: Address, size: usize) {
        if self.next == self.places() {
            self.renumber(pages);
        }
        let place = self.next;
        self.next += 1;
        pages.store_u64(chunk.plus(PLACE), place as u64);
        self.chunks[place] = chunk;
        let size_max = size as u32;
        self.set(place, Node { size_max, count: 1 });
    }

    fn remove(&mut self, pages: &mut Pages, chunk: Address) {
        let place = pages.load_u64(chunk.plus(PLACE)) as usize;
        debug_assert_eq!(self.chunks[place], chunk);
        self.set(place, Node::default());
    }

    fn first_fit(&self, _pages: &Pages, size: usize) -> FirstFound {
        let size = size as u32;
        let root = self.nodes[1];
        if root.size_max < size {
            return FirstFound {
                chunk: None,
                visited: root.count,
            };
        }
        let (mut at, mut passed) = (1, 0);
        while at < self.places() {
            let right = self.nodes[2 * at + 1];
            at *= 2;
            if right.size_max >= size {
                at += 1;
            } else {
                passed += right.count;
            }
        }
        FirstFound {
            chunk: Some(self.chunks[at - self.places()]),
            visited: passed + 1,
        }
    }
}
