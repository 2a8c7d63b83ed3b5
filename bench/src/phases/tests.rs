//! The harness on real engines, and on engines with faults.

use super::*;
use crate::engine::Footprint;
use crate::engines::comparison_engines;

fn sizes() -> Vec<u32> {
    let mut rng = Rng::new(3);
    (0..800).map(|_| 1 + rng.below(4096) as u32).collect()
}

#[test]
fn every_engine_gets_through_all_phases() {
    let sizes = sizes();
    let payload: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
    for mut engine in comparison_engines() {
        let mut seen = Vec::new();
        let mut progress = |phase: &str, share: f64| {
            assert!((0.0..=1.0).contains(&share));
            if seen.last().is_none_or(|last| last != phase) {
                seen.push(phase.to_owned());
            }
        };
        let result = run_phases(engine.as_mut(), &sizes, 5, &mut progress).unwrap();
        assert_eq!(seen, PHASES);
        assert_eq!(result.name, engine.name());
        let objects: Vec<_> = result.phases.iter().map(|phase| phase.objects).collect();
        assert_eq!(objects, [800, 800, 560, 560, 0]);
        let fill = &result.phases[0];
        assert_eq!(fill.payload_bytes, payload);
        for phase in &result.phases {
            let parts = phase.data_bytes + phase.metadata_bytes + phase.reference_bytes;
            assert_eq!(phase.footprint_bytes, parts);
            assert_eq!(phase.reference_bytes, 8 * phase.objects);
        }
        assert_eq!(result.phases[4].payload_bytes, 0);
        assert!(result.phases[1].alloc_ns.max > 0 && result.phases[4].free_ns.max > 0);
    }
}

#[test]
fn the_same_seed_gives_the_same_footprints() {
    let sizes = sizes();
    let footprints = |index: usize| {
        let mut engine = comparison_engines().swap_remove(index);
        let result = run_phases(engine.as_mut(), &sizes, 5, &mut |_, _| ()).unwrap();
        result
            .phases
            .iter()
            .map(|phase| (phase.footprint_bytes, phase.payload_bytes))
            .collect::<Vec<_>>()
    };
    for index in 0..6 {
        assert_eq!(footprints(index), footprints(index));
    }
}

#[test]
fn no_objects_are_no_problem() {
    for mut engine in comparison_engines() {
        run_phases(engine.as_mut(), &[], 1, &mut |_, _| ()).unwrap();
    }
}

/// All objects share their bytes, as if the engine had given the same memory out twice.
struct Overlapping {
    sizes: std::collections::HashMap<usize, usize>,
    memory: [u8; 8192],
    room_for: usize,
}

impl Engine for Overlapping {
    fn name(&self) -> &'static str {
        "overlapping"
    }

    fn alloc(&mut self, slot: usize, size: usize) -> Result<(), EngineError> {
        if self.sizes.len() == self.room_for {
            return Err(EngineError::OutOfMemory { size });
        }
        self.sizes.insert(slot, size);
        Ok(())
    }

    fn free(&mut self, slot: usize) -> Result<(), EngineError> {
        self.sizes.remove(&slot);
        Ok(())
    }

    fn write(&mut self, _slot: usize, bytes: &[u8]) -> Result<(), EngineError> {
        self.memory[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, EngineError> {
        let size = self.sizes[&slot];
        out[..size].copy_from_slice(&self.memory[..size]);
        Ok(size)
    }

    fn footprint(&self) -> Footprint {
        Footprint::default()
    }
}

#[test]
fn overlapping_objects_are_found() {
    let mut engine = Overlapping {
        sizes: Default::default(),
        memory: [0; 8192],
        room_for: usize::MAX,
    };
    let error = run_phases(&mut engine, &sizes(), 1, &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, EngineError::Corrupted { .. }));
}

#[test]
fn a_refusal_of_the_engine_is_passed_on() {
    let mut engine = Overlapping {
        sizes: Default::default(),
        memory: [0; 8192],
        room_for: 100,
    };
    let error = run_phases(&mut engine, &sizes(), 1, &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, EngineError::OutOfMemory { .. }));
}

#[test]
fn patterns_differ_by_slot_size_and_position() {
    let mut content = [0; 21];
    fill_pattern(&mut content, 4);
    for offset in [0, 8, 16] {
        assert!(word_matches(&content, offset, 4));
        assert!(!word_matches(&content, offset, 5));
    }
    assert!(!word_matches(&content[..20], 8, 4));
    assert_ne!(content[..8], content[8..16]);
}
