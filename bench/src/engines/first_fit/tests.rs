//! Splitting, joining and the page limit.

use super::*;
use crate::engine::Engine;
use crate::engines::suite::{engine_suite, page_returning_suite};

engine_suite!(FirstFit::new());
page_returning_suite!(FirstFit::new());

#[test]
fn an_object_near_a_page_takes_two() {
    let mut engine = FirstFit::new();
    engine.alloc(0, 4096 - HEADER).unwrap();
    assert_eq!(engine.footprint().data_bytes, 4096);
    engine.alloc(1, 4096 - HEADER + 1).unwrap();
    assert_eq!(engine.footprint().data_bytes, 3 * 4096);
}

#[test]
fn a_rest_shorter_than_two_headers_stays_with_its_object() {
    let mut engine = FirstFit::new();
    // 32 + 4000 bytes leave 64: exactly two headers, room for 32 bytes more.
    engine.alloc(0, 4000).unwrap();
    engine.alloc(1, 32).unwrap();
    assert_eq!(engine.footprint().data_bytes, 4096);
    // 32 + 4032 leave 32: nothing.
    engine.alloc(2, 4032).unwrap();
    engine.alloc(3, 1).unwrap();
    assert_eq!(engine.footprint().data_bytes, 3 * 4096);
}

#[test]
fn three_neighbours_join_whatever_the_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        let mut engine = FirstFit::new();
        for slot in 0..3 {
            engine.alloc(slot, 1000).unwrap();
        }
        for slot in order {
            assert_eq!(engine.footprint().data_bytes, 4096);
            engine.free(slot).unwrap();
        }
        assert_eq!(engine.footprint().data_bytes, 0);
    }
}
