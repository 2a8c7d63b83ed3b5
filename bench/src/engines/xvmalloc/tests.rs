//! Lists, headers and the page limit.

use super::*;
use crate::engine::Engine;
use crate::engines::suite::{engine_suite, page_returning_suite};

engine_suite!(XvMalloc::new());
page_returning_suite!(XvMalloc::new());

#[test]
fn pool_struct_is_three_pages() {
    assert_eq!(LISTS, 508);
    assert_eq!(XvMalloc::new().footprint().metadata_bytes, 3 * 4096);
}

#[test]
fn a_search_never_finds_a_block_too_small() {
    for size in (LISTED_MIN..=BLOCK_MAX).step_by(ALIGN) {
        let list = list_for(size);
        assert!(LISTED_MIN + list * LIST_STEP >= size);
        assert!(list_of(size) <= list && list <= list_of(size) + 1);
    }
}

#[test]
fn two_objects_over_half_a_page_take_two_pages() {
    let mut engine = XvMalloc::new();
    engine.alloc(0, 2060).unwrap();
    engine.alloc(1, 2060).unwrap();
    assert_eq!(engine.footprint().data_bytes, 2 * 4096);
    engine.alloc(2, 2024).unwrap();
    assert_eq!(engine.footprint().data_bytes, 2 * 4096);
}

#[test]
fn three_neighbours_join_whatever_the_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        let mut engine = XvMalloc::new();
        // The last one leaves a rest of 12 bytes, which is on no list.
        for (slot, size) in [1000, 1000, 2068].into_iter().enumerate() {
            engine.alloc(slot, size).unwrap();
        }
        for slot in order {
            assert_eq!(engine.footprint().data_bytes, 4096);
            engine.free(slot).unwrap();
        }
        assert_eq!(engine.footprint().data_bytes, 0);
    }
}
