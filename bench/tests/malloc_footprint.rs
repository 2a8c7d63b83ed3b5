//! `malloc`'s footprint, in a process where nothing else allocates: its one test runs alone.
#![cfg(target_env = "gnu")]

use compcache_bench::comparison_engines;
use compcache_bench::phases::run_phases;

/// Old free memory of the heap must not hide what the engine takes.
#[test]
fn growth_of_the_heap_is_the_engines_own() {
    let kept: Vec<Vec<u8>> = {
        let litter: Vec<Vec<u8>> = (0..4000).map(|i| vec![1; 100 + i % 3000]).collect();
        litter.into_iter().step_by(2).collect()
    };
    let sizes: Vec<u32> = (0..5000).map(|i| 30 + i * 7919 % 4067).collect();
    let mut engine = comparison_engines()
        .into_iter()
        .find(|engine| engine.name() == "malloc")
        .expect("glibc has malloc");
    let result = run_phases(engine.as_mut(), &sizes, 1, &mut |_, _| ()).expect("phases run");
    let ratio = |phase: usize| {
        let phase = &result.phases[phase];
        phase.data_bytes as f64 / phase.payload_bytes as f64
    };
    assert!((1.0..1.05).contains(&ratio(0)), "fill {}", ratio(0));
    assert!((1.0..1.5).contains(&ratio(1)), "churn {}", ratio(1));
    // Whether the end of the heap goes back is glibc's choice; it cannot have grown by frees.
    assert!(result.phases[4].data_bytes <= result.phases[1].data_bytes);
    drop(kept);
}
