//! The class table, and when slabs go back.

use super::cache::slab_order;
use super::*;
use crate::engine::Engine;
use crate::engines::suite::engine_suite;

engine_suite!(Slab::new());

#[test]
fn the_table_is_that_of_a_running_kernel() {
    let orders = CLASS_SIZES.map(slab_order);
    assert_eq!(orders, [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3]);
}

#[test]
fn sizes_round_up_to_the_next_class() {
    assert_eq!(CLASS_SIZES[class_index(1)], 8);
    assert_eq!(CLASS_SIZES[class_index(8)], 8);
    assert_eq!(CLASS_SIZES[class_index(129)], 192);
    assert_eq!(CLASS_SIZES[class_index(4096)], 4096);
    assert_eq!(CLASS_SIZES[class_index(4097)], 8192);
}

#[test]
fn a_slab_of_1024_byte_objects_is_four_pages() {
    let mut slab = Slab::new();
    for slot in 0..17 {
        slab.alloc(slot, 1000).unwrap();
        let slabs = slot as u64 / 16 + 1;
        assert_eq!(slab.footprint().data_bytes, slabs * 4 * 4096);
    }
    assert_eq!(slab.footprint().reference_bytes, 17 * 8);
}

#[test]
fn empty_slabs_stay_below_min_partial() {
    let mut slab = Slab::new();
    for slot in 0..100 * 16 {
        slab.alloc(slot, 256).unwrap();
    }
    assert_eq!(slab.footprint().data_bytes, 100 * 4096);
    for slot in 0..100 * 16 {
        slab.free(slot).unwrap();
    }
    // Nothing was active, since the last slab had just filled up.
    assert_eq!(slab.footprint().data_bytes, 4 * 4096);
}
