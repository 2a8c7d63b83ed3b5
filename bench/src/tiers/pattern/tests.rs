//! The pattern is what the documents say it is.

use super::*;

fn operations(pages: usize, cold: usize, seed: u64, seconds: usize) -> (Pattern, Vec<Operation>) {
    let mut pattern = Pattern::new(pages, cold, seed).unwrap();
    let mut operations = Vec::new();
    pattern.fill(&mut operations);
    assert_eq!(operations.len(), pages);
    operations.clear();
    for _ in 0..seconds {
        pattern.second(&mut operations);
    }
    (pattern, operations)
}

#[test]
fn a_seed_decides_everything() {
    let run = |seed| operations(2000, 80, seed, 20).1;
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    // The figures of the README are of this very sequence: a change of it is a change of them.
    let sum = run(1).iter().fold(0u64, |sum, operation| {
        let number = match *operation {
            Operation::Get { index, content, .. } => u64::from(index) << 32 | u64::from(content),
            Operation::Put { index, content } => !(u64::from(index) << 32 | u64::from(content)),
            Operation::Discard { index } => u64::from(index),
        };
        crate::rng::mix(sum ^ number)
    });
    assert_eq!(sum, EXPECTED_SUM);
}

const EXPECTED_SUM: u64 = 1_447_752_214_179_333_447;

#[test]
fn shares_are_as_documented() {
    let (pattern, operations) = operations(10_000, 80, 3, 400);
    let all = operations.len() as f64;
    let share = |like: &dyn Fn(&Operation) -> bool| {
        operations.iter().filter(|one| like(one)).count() as f64 / all
    };
    let gets = share(&|one| matches!(one, Operation::Get { .. }));
    let cold = share(&|one| matches!(one, Operation::Get { hot: false, .. }));
    let puts = share(&|one| matches!(one, Operation::Put { .. }));
    let discards = share(&|one| matches!(one, Operation::Discard { .. }));
    assert!((gets - 0.80).abs() < 0.005, "{gets}");
    assert!((cold / gets - 0.01).abs() < 0.001, "{cold}");
    assert!((puts - 0.175).abs() < 0.005, "{puts}");
    assert!((discards - 0.025).abs() < 0.001, "{discards}");

    assert_eq!(pattern.hot().len(), 2000);
    assert_eq!(pattern.cold().len(), 8000);
    let is_hot = pattern.hot_map();
    for operation in &operations {
        match *operation {
            Operation::Get { index, hot, .. } => assert_eq!(hot, is_hot[index as usize]),
            Operation::Put { index, .. } | Operation::Discard { index } => {
                assert!(is_hot[index as usize], "only hot pages are written");
            }
        }
    }
}

/// Zipf's law: the first of 2000 gets a share of 1/8.18, the second half of that.
#[test]
fn hot_gets_follow_zipf() {
    let (pattern, operations) = operations(10_000, 80, 4, 400);
    let mut counts = vec![0u64; 10_000];
    for operation in operations {
        if let Operation::Get {
            index, hot: true, ..
        } = operation
        {
            counts[index as usize] += 1;
        }
    }
    let gets: u64 = counts.iter().sum();
    let share = |rank: usize| counts[pattern.hot()[rank] as usize] as f64 / gets as f64;
    let harmonic: f64 = (1..=2000).map(|rank| 1.0 / f64::from(rank)).sum();
    for rank in [0, 1, 4, 19] {
        let expected = 1.0 / (rank as f64 + 1.0) / harmonic;
        let got = share(rank);
        assert!(
            (got / expected - 1.0).abs() < 0.15,
            "rank {rank}: {got} for {expected}"
        );
    }
}

/// A model of the store: what is read was stored, what is discarded is there, nothing is stored twice.
#[test]
fn every_page_of_the_input_is_held_once() {
    for (pages, cold) in [(256, 95), (256, 80), (3000, 95), (4097, 50)] {
        let mut pattern = Pattern::new(pages, cold, 9).unwrap();
        let mut model: Vec<Option<u32>> = vec![None; pages];
        let mut operations = Vec::new();
        pattern.fill(&mut operations);
        for hour in 0..6 {
            for _ in 0..20 {
                pattern.second(&mut operations);
                for operation in operations.drain(..) {
                    match operation {
                        Operation::Get { index, content, .. } => {
                            assert_eq!(model[index as usize], Some(content));
                        }
                        Operation::Put { index, content } => {
                            model[index as usize] = Some(content);
                        }
                        Operation::Discard { index } => {
                            assert!(model[index as usize].take().is_some());
                        }
                    }
                }
                for (index, held) in model.iter().enumerate() {
                    assert_eq!(pattern.content(index as u32), *held, "hour {hour}");
                }
            }
            pattern.move_hot_set();
        }
        pattern.fill(&mut operations);
        for operation in operations {
            let Operation::Put { index, content } = operation else {
                panic!("{operation:?}");
            };
            model[index as usize] = Some(content);
        }
        let mut held: Vec<u32> = model.into_iter().flatten().collect();
        held.sort_unstable();
        assert_eq!(held, (0..pages as u32).collect::<Vec<_>>());
    }
}

#[test]
fn hot_pages_lie_in_runs_and_the_set_moves_by_an_eighth() {
    let mut pattern = Pattern::new(20_000, 80, 5).unwrap();
    let before = pattern.hot_map();
    let starts = (1..before.len()).filter(|&at| before[at] && !before[at - 1]);
    let mean = 4000.0 / starts.count() as f64;
    assert!((20.0..60.0).contains(&mean), "runs of {mean} pages");

    let order = pattern.hot().to_vec();
    pattern.move_hot_set();
    let after = pattern.hot_map();
    let gone = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| **before && !**after);
    let gone = gone.count();
    assert!((400..700).contains(&gone), "{gone} of 4000");
    assert_eq!(pattern.hot().len(), 4000);
    assert_eq!(pattern.cold().len(), 16_000);
    // Who stayed has kept its rank.
    for (old, new) in order.iter().zip(pattern.hot()) {
        assert!(old == new || !after[*old as usize]);
        assert!(after[*new as usize]);
    }
}

#[test]
fn a_sweep_reads_every_hot_page() {
    let mut pattern = Pattern::new(1000, 95, 5).unwrap();
    let mut operations = Vec::new();
    pattern.fill(&mut operations);
    operations.clear();
    pattern.sweep(&mut operations);
    let mut read: Vec<u32> = operations
        .iter()
        .map(|operation| match *operation {
            Operation::Get {
                index, hot: true, ..
            } => index,
            _ => panic!("{operation:?}"),
        })
        .collect();
    read.sort_unstable();
    assert_eq!(read, pattern.pages_that_are(true));
}

#[test]
fn what_makes_no_pattern_is_refused_in_words() {
    assert!(Pattern::new(PAGES_MIN - 1, 80, 1).is_err_and(|text| text.contains("at least 256")));
    assert!(Pattern::new(1000, 0, 1).is_err());
    assert!(Pattern::new(1000, 100, 1).is_err());
    assert!(Pattern::new(PAGES_MIN, 99, 1).is_ok());
}
