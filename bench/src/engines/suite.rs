//! One set of tests, run for every engine.

use crate::engine::{Engine, EngineError};
use crate::rng::Rng;

/// Tests that hold for every engine.
macro_rules! engine_suite {
    ($new:expr) => {
        mod every_engine {
            #[allow(unused_imports)]
            use super::*;
            use crate::engines::suite;

            #[test]
            fn agrees_with_a_model_under_random_operations() {
                suite::random_operations(&mut $new, 1);
                suite::random_operations(&mut $new, 2);
            }

            #[test]
            fn keeps_every_size_to_its_last_byte() {
                suite::every_size(&mut $new);
            }

            #[test]
            fn refuses_what_it_must() {
                suite::refusals(&mut $new);
            }

            #[test]
            fn counts_the_references_of_live_objects() {
                suite::references(&mut $new);
            }
        }
    };
}

/// Tests that hold for engines that give a page back as soon as it is free.
macro_rules! page_returning_suite {
    ($new:expr) => {
        #[test]
        fn everything_freed_leaves_metadata_only() {
            crate::engines::suite::drain(&mut $new);
        }
    };
}

pub(crate) use {engine_suite, page_returning_suite};

/// Sizes like those of compressed pages: all of 1 to 4104, some raw pages.
fn random_size(rng: &mut Rng) -> usize {
    match rng.below(8) {
        0 => 4096,
        1 => 1 + rng.below(100) as usize,
        _ => 1 + rng.below(4104) as usize,
    }
}

fn random_bytes(rng: &mut Rng, size: usize) -> Vec<u8> {
    let tag = rng.next_u64();
    (0..size)
        .map(|i| (tag >> (i % 8 * 8)) as u8 ^ i as u8)
        .collect()
}

fn check(engine: &mut dyn Engine, slot: usize, expected: &[u8]) {
    let mut out = vec![0; expected.len()];
    assert_eq!(engine.read(slot, &mut out), Ok(expected.len()));
    assert!(out == expected, "slot {slot} of {}", engine.name());
}

/// Random operations beside a model that keeps a copy of every object.
pub(crate) fn random_operations(engine: &mut dyn Engine, seed: u64) {
    const SLOTS: u64 = 600;
    let mut rng = Rng::new(seed);
    let mut model: Vec<Option<Vec<u8>>> = vec![None; SLOTS as usize];
    for step in 0..30_000 {
        let slot = rng.below(SLOTS) as usize;
        match model[slot].take() {
            Some(bytes) => {
                check(engine, slot, &bytes);
                engine.free(slot).unwrap();
            }
            None => {
                let size = random_size(&mut rng);
                let bytes = random_bytes(&mut rng, size);
                engine.alloc(slot, size).unwrap();
                engine.write(slot, &bytes).unwrap();
                model[slot] = Some(bytes);
            }
        }
        if step % 5_000 == 4_999 {
            engine.compact();
            for (slot, bytes) in model.iter().enumerate() {
                if let Some(bytes) = bytes {
                    check(engine, slot, bytes);
                }
            }
            let payload: usize = model.iter().flatten().map(Vec::len).sum();
            // The heap that malloc shares may shrink for other reasons.
            assert!(engine.name() == "malloc" || engine.footprint().data_bytes >= payload as u64);
        }
    }
}

/// Objects of every size live side by side.
pub(crate) fn every_size(engine: &mut dyn Engine) {
    const SIZE_MAX: usize = 4104;
    for size in 1..=SIZE_MAX {
        engine.alloc(size, size).unwrap();
        engine.write(size, &vec![size as u8; size]).unwrap();
    }
    for size in 1..=SIZE_MAX {
        check(engine, size, &vec![size as u8; size]);
        engine.free(size).unwrap();
    }
}

/// Wrong sizes and slots are errors and change nothing.
pub(crate) fn refusals(engine: &mut dyn Engine) {
    assert!(matches!(
        engine.alloc(0, 0),
        Err(EngineError::BadSize { size: 0, .. })
    ));
    assert!(matches!(
        engine.alloc(0, 1 << 20),
        Err(EngineError::BadSize { max: 4104.., .. })
    ));
    let empty = Err(EngineError::WrongSlotState { slot: 3 });
    assert_eq!(engine.free(3), empty);
    assert_eq!(engine.write(3, &[1]), empty);
    assert!(engine.read(3, &mut [0; 8]).is_err());
    engine.alloc(3, 5).unwrap();
    engine.write(3, b"bytes").unwrap();
    assert_eq!(engine.alloc(3, 5), empty);
    assert!(engine.write(3, b"byte").is_err());
    assert!(engine.read(3, &mut [0; 4]).is_err());
    check(engine, 3, b"bytes");
    engine.free(3).unwrap();
    assert_eq!(engine.free(3), empty);
}

/// 8 bytes a live object.
pub(crate) fn references(engine: &mut dyn Engine) {
    for slot in 0..100 {
        engine.alloc(slot, 500 + slot).unwrap();
    }
    for slot in 0..40 {
        engine.free(slot).unwrap();
    }
    assert_eq!(engine.footprint().reference_bytes, 60 * 8);
    assert_eq!(engine.footprint().metadata_bytes % 4096, 0);
    assert_eq!(engine.footprint().data_bytes % 4096, 0);
}

/// A full life leaves no data page and no resident memory.
pub(crate) fn drain(engine: &mut dyn Engine) {
    let mut rng = Rng::new(9);
    let mut slots: Vec<usize> = (0..2000).collect();
    for &slot in &slots {
        let size = random_size(&mut rng);
        engine.alloc(slot, size).unwrap();
        engine.write(slot, &vec![1; size]).unwrap();
    }
    let footprint = engine.footprint();
    assert!(engine.rss_bytes().unwrap() <= footprint.data_bytes);
    rng.shuffle(&mut slots);
    for &slot in &slots {
        engine.free(slot).unwrap();
    }
    let footprint = engine.footprint();
    assert_eq!((footprint.data_bytes, footprint.reference_bytes), (0, 0));
    assert_eq!(engine.rss_bytes(), Some(0));
}
