//! Growth of the region.

use super::*;
use crate::engines::suite::engine_suite;

engine_suite!(TlsfRegion::new());

#[test]
fn the_region_grows_by_what_is_missing_only() {
    let mut tlsf = TlsfRegion::new();
    tlsf.alloc(0, 2000).unwrap();
    assert_eq!(tlsf.footprint().data_bytes, 4096);
    tlsf.alloc(1, 1900).unwrap();
    assert_eq!(tlsf.footprint().data_bytes, 4096);
    tlsf.alloc(2, 8192).unwrap();
    assert!(tlsf.footprint().data_bytes <= 4 * 4096);
}

#[test]
fn nothing_goes_back() {
    let mut tlsf = TlsfRegion::new();
    for slot in 0..100 {
        tlsf.alloc(slot, 4000).unwrap();
    }
    let filled = tlsf.footprint().data_bytes;
    for slot in 0..100 {
        tlsf.free(slot).unwrap();
    }
    assert_eq!(tlsf.footprint().data_bytes, filled);
    // All of it has become one block again.
    for slot in 0..50 {
        tlsf.alloc(slot, 8000).unwrap();
    }
    assert_eq!(tlsf.footprint().data_bytes, filled);
}
