//! Splitting and joining.

use super::*;
use crate::engine::Engine;
use crate::engines::suite::{engine_suite, page_returning_suite};

engine_suite!(Buddy::new());
page_returning_suite!(Buddy::new());

#[test]
fn orders() {
    assert_eq!(order_of(1), 0);
    assert_eq!(order_of(32), 0);
    assert_eq!(order_of(33), 1);
    assert_eq!(order_of(2049), PAGE_ORDER);
    assert_eq!(order_of(4097), PAGE_ORDER + 1);
}

#[test]
fn just_over_half_a_page_takes_the_whole_page() {
    let mut buddy = Buddy::new();
    buddy.alloc(0, 2049).unwrap();
    buddy.alloc(1, 2048).unwrap();
    buddy.alloc(2, 1025).unwrap();
    assert_eq!(buddy.footprint().data_bytes, 2 * 4096);
    buddy.alloc(3, 32).unwrap();
    assert_eq!(buddy.footprint().data_bytes, 3 * 4096);
}

#[test]
fn halves_join_in_either_order_and_the_page_goes_back() {
    for order in [[0, 1], [1, 0]] {
        let mut buddy = Buddy::new();
        buddy.alloc(0, 32).unwrap();
        buddy.alloc(1, 32).unwrap();
        for slot in order {
            assert_eq!(buddy.footprint().data_bytes, 4096);
            buddy.free(slot).unwrap();
        }
        assert_eq!(buddy.footprint().data_bytes, 0);
    }
}
