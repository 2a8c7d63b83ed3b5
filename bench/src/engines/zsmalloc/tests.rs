//! The class table, huge objects, fullness and compaction.

use super::classes::Shape;
use super::*;
use crate::engines::suite::{engine_suite, page_returning_suite};

engine_suite!(Zsmalloc::new());

/// Handles stay: their cache keeps empty slabs, which are metadata.
mod drained {
    use super::*;
    page_returning_suite!(Zsmalloc::new());
}

#[test]
fn classes_are_as_documented() {
    let table = ClassTable::new();
    let shape = |size: usize| {
        let class = table.class_for(size);
        table.shapes().nth(class).unwrap()
    };
    // Rows of the table in the kernel's zsmalloc.rst, for 8-page chains.
    for (size, pages, objects) in [(32, 1, 128), (1536, 3, 8), (2048, 1, 2), (3072, 3, 4)] {
        let found = shape(size);
        assert_eq!((found.pages, found.objects), (pages, objects), "{size}");
    }
    let largest_shared = Shape {
        size: 3632,
        pages: 8,
        objects: 9,
    };
    assert_eq!(shape(3632), largest_shared);
    assert_eq!(shape(3633).size, 4096);
    assert_eq!(table.huge_size(), 3625);
}

#[test]
fn every_class_holds_what_is_put_into_it() {
    let table = ClassTable::new();
    for size in 1..=4096 {
        let shape = table.shapes().nth(table.class_for(size)).unwrap();
        assert!(shape.size >= size);
        assert!(shape.objects * shape.size <= shape.pages * PAGE_SIZE);
    }
}

#[test]
fn objects_at_the_watermark_take_a_whole_page() {
    let mut engine = Zsmalloc::new();
    for slot in 0..9 {
        engine.alloc(slot, 3624).unwrap();
    }
    assert_eq!(engine.footprint().data_bytes, 8 * 4096);
    engine.alloc(9, 3625).unwrap();
    assert_eq!(engine.footprint().data_bytes, 9 * 4096);
}

#[test]
fn allocations_go_to_the_fullest_zspage_that_has_room() {
    let mut engine = Zsmalloc::new();
    // 1528 + 8: zspages of 8 objects in 3 pages. Two of them, the first sparser.
    for slot in 0..16 {
        engine.alloc(slot, 1528).unwrap();
    }
    for slot in [0, 1, 2, 3, 4, 8] {
        engine.free(slot).unwrap();
    }
    engine.alloc(20, 1528).unwrap();
    for slot in [5, 6, 7] {
        engine.free(slot).unwrap();
    }
    assert_eq!(engine.footprint().data_bytes, 3 * 4096);
}

#[test]
fn compaction_empties_sparse_zspages_and_keeps_contents() {
    let mut engine = Zsmalloc::new();
    for slot in 0..80 {
        engine.alloc(slot, 1528).unwrap();
        engine.write(slot, &[slot as u8; 1528]).unwrap();
    }
    assert_eq!(engine.footprint().data_bytes, 30 * 4096);
    for slot in (0..80).filter(|slot| slot % 2 == 0) {
        engine.free(slot).unwrap();
    }
    assert_eq!(engine.footprint().data_bytes, 30 * 4096);
    engine.compact();
    assert_eq!(engine.footprint().data_bytes, 15 * 4096);
    for slot in (0..80).filter(|slot| slot % 2 == 1) {
        let mut out = [0; 1528];
        engine.read(slot, &mut out).unwrap();
        assert!(out.iter().all(|&byte| byte == slot as u8));
    }
}
