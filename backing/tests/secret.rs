//! Nothing that was written can be found in the store.

use compcache_backing::{Backing, FileStore, Options};
use std::collections::HashSet;
use std::fs;

/// Pages of text, each 4 KiB of words.
fn text(page: u64) -> Vec<u8> {
    let words = [
        "memory",
        "that",
        "is",
        "cold",
        "kept",
        "compressed",
        "pages",
        "swap",
        "kernel",
        "of",
    ];
    let mut bytes = Vec::new();
    let mut state = page;
    while bytes.len() < 4096 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(words[(state >> 33) as usize % words.len()].as_bytes());
        bytes.push(b' ');
    }
    bytes.truncate(4096);
    bytes
}

#[test]
fn no_run_of_16_bytes_is_found_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let log = {
        let store = FileStore::open(&path, 64 << 20).unwrap();
        Backing::new(Box::new(store), Options::default()).unwrap()
    };
    let mut runs = HashSet::new();
    let mut tokens = Vec::new();
    let mut kept = Vec::new();
    for batch in 0..40u64 {
        let pages: Vec<_> = (batch * 16 + 1..batch * 16 + 17)
            .map(|page| (page, text(page)))
            .collect();
        for (page, bytes) in &pages {
            runs.extend(
                bytes
                    .windows(16)
                    .map(|run| <[u8; 16]>::try_from(run).unwrap()),
            );
            // The key neither: it names a page, in the table as well.
            runs.insert(
                [page.to_le_bytes(), page.to_le_bytes()]
                    .concat()
                    .try_into()
                    .unwrap(),
            );
        }
        let records: Vec<_> = pages
            .iter()
            .map(|(key, bytes)| (*key, bytes.as_slice()))
            .collect();
        drop(log.write(&records, &mut tokens).unwrap());
        kept.extend(tokens.iter().copied());
    }
    let file = fs::read(&path).unwrap();
    assert!(file.len() > 2 << 20);
    assert!(
        !file.windows(16).any(|run| runs.contains(run)),
        "plaintext in the file"
    );
    // The same page twice is not the same bytes twice.
    let units: Vec<_> = file
        .chunks_exact(16)
        .filter(|unit| *unit != [0; 16])
        .collect();
    assert_eq!(units.iter().collect::<HashSet<_>>().len(), units.len());
    // And the test would have found it: what is read back is there.
    let mut bytes = Vec::new();
    log.read(4, kept[3], &mut bytes).unwrap();
    assert!(bytes.windows(16).all(|run| runs.contains(run)));
}
