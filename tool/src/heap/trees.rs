//! Pointer-rich structures: ordered maps, linked graphs, doubly linked lists.

use std::collections::BTreeMap;
use std::ptr;

use super::rng::Rng;
use super::text::Words;

/// Where the classes of a managed language would have their descriptors.
const CLASS_BASE: u64 = 0x0000_0008_0004_0000;

/// A node of an object graph, as in a DOM, a syntax tree or a scene.
/// No padding: what padding holds is not the same from run to run.
#[repr(C)]
struct Node {
    class: u64,
    parent: *const Node,
    #[expect(
        clippy::vec_box,
        reason = "one chunk an object, as in the heaps imitated; and children point to it"
    )]
    children: Vec<Box<Node>>,
    name: String,
    flags: u32,
    line: u32,
    value: f64,
}

fn object(
    rng: &mut Rng,
    words: &Words,
    parent: *const Node,
    depth: u32,
    line: &mut u32,
) -> Box<Node> {
    *line += 1 + rng.below(3) as u32;
    let name = if rng.one_in(3) {
        String::new()
    } else {
        words.word(rng).to_owned()
    };
    let mut node = Box::new(Node {
        class: CLASS_BASE + rng.skewed(12) * 0x158,
        parent,
        children: Vec::new(),
        name,
        flags: 1 << rng.below(6),
        line: *line,
        value: rng.skewed(400) as f64 / 4.0,
    });
    if depth > 0 {
        let this = ptr::from_ref(&*node);
        for _ in 0..rng.range(1, 6) {
            let child = object(rng, words, this, depth - 1, line);
            node.children.push(child);
        }
    }
    node
}

/// Trees of named objects that point to their parents and children.
pub(super) fn object_graph(rng: &mut Rng, words: &Words) {
    let mut line = 0;
    for _ in 0..4 {
        std::mem::forget(object(rng, words, ptr::null(), 5, &mut line));
    }
}

/// What an ordered map's value points to: a row of an index.
#[repr(C)]
struct Row {
    id: u64,
    updated: u64,
    owner: u64,
    amount: i64,
    label: String,
}

/// An ordered map from keys to rows, filled out of order, with deletions.
pub(super) fn ordered_map(rng: &mut Rng, words: &Words) {
    let mut map = BTreeMap::new();
    let first = rng.below(1 << 24);
    for nth in 0..6000u64 {
        let id = first + nth * 3 + rng.below(64);
        let label = if rng.one_in(2) {
            words.address(rng)
        } else {
            words.word(rng).to_owned()
        };
        let row = Row {
            id,
            updated: 1_741_000_000_000 + nth * 977 + rng.below(900),
            owner: rng.skewed(5000),
            amount: rng.skewed(100_000) as i64 - 20_000,
            label,
        };
        map.insert(id, Box::new(row));
        if rng.one_in(9) {
            map.remove(&(first + rng.below(nth * 3 + 1)));
        }
    }
    std::mem::forget(map);
}

/// An ordered set of numbers, as indexes and interval maps hold them.
pub(super) fn number_tree(rng: &mut Rng) {
    let mut map = BTreeMap::new();
    let range = 1 << rng.range(20, 44);
    for _ in 0..16_000 {
        map.insert(rng.below(range), rng.skewed(1000));
    }
    std::mem::forget(map);
}

/// A list cell as C programs lay it out: links first, then counters.
#[repr(C)]
struct Cell {
    next: *const Cell,
    previous: *const Cell,
    kind: u32,
    references: u32,
    key: u64,
    data: *const u8,
}

/// A least-recently-used list over small buffers.
pub(super) fn linked_list(rng: &mut Rng, words: &Words) {
    let mut cells: Vec<Box<Cell>> = Vec::with_capacity(5000);
    for nth in 0..5000u64 {
        let mut text = String::with_capacity(64);
        let count = rng.range(1, 9);
        words.sentence(rng, count, &mut text);
        let data = text.leak().as_ptr();
        cells.push(Box::new(Cell {
            next: ptr::null(),
            previous: ptr::null(),
            kind: rng.below(4) as u32,
            references: 1 + rng.skewed(2) as u32,
            key: (nth << 12) | rng.below(4096),
            data,
        }));
    }
    // Linked in an order of use that is not the order of addresses.
    let mut order: Vec<usize> = (0..cells.len()).collect();
    for at in (1..order.len()).rev() {
        if rng.one_in(4) {
            order.swap(at, rng.index(at + 1));
        }
    }
    for pair in order.windows(2) {
        let (one, two) = (
            ptr::from_ref(&*cells[pair[0]]),
            ptr::from_ref(&*cells[pair[1]]),
        );
        cells[pair[0]].next = two;
        cells[pair[1]].previous = one;
    }
    std::mem::forget(cells);
}
