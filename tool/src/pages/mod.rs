//! The pages that go into a run, and where they come from.
//!
//! A [`PageSet`] is one buffer of 4096-byte pages, from files ([`files`]), from a
//! live process ([`process`]) or from a process built for the purpose ([`generate`]).

pub(crate) mod files;
pub(crate) mod generate;
pub(crate) mod process;

use compcache_bench::result::PagesInfo;
use twox_hash::XxHash3_64;

/// Bytes of a page.
pub(crate) const PAGE_SIZE: usize = 4096;

/// Pages in one contiguous buffer, counted once.
pub(crate) struct PageSet {
    source: String,
    bytes: Vec<u8>,
    same_filled: u64,
    duplicates: u64,
}

impl PageSet {
    /// Takes whole pages and counts the same-filled and the duplicate ones.
    ///
    /// # Errors
    /// Where there is no page, or the last one is not whole.
    pub(crate) fn new(source: String, bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err(format!("{source}: no pages"));
        }
        if !bytes.len().is_multiple_of(PAGE_SIZE) {
            return Err(format!(
                "{source}: {} bytes are not a whole number of {PAGE_SIZE}-byte pages",
                bytes.len()
            ));
        }
        let mut hashed = Vec::with_capacity(bytes.len() / PAGE_SIZE);
        let mut same_filled = 0;
        for page in bytes.chunks_exact(PAGE_SIZE) {
            if compress::same_filled(page).is_some() {
                same_filled += 1;
            } else {
                hashed.push((XxHash3_64::oneshot(page), page));
            }
        }
        let duplicates = count_duplicates(hashed);
        Ok(PageSet {
            source,
            bytes,
            same_filled,
            duplicates,
        })
    }

    /// All pages, one after the other.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of pages; never zero.
    pub(crate) fn count(&self) -> usize {
        self.bytes.len() / PAGE_SIZE
    }

    /// The `pages` part of the JSON documents.
    pub(crate) fn info(&self) -> PagesInfo {
        PagesInfo {
            source: self.source.clone(),
            count: self.count() as u64,
            same_filled: self.same_filled,
            duplicates: self.duplicates,
        }
    }
}

/// How many of the hashed pages equal one before. Pages with equal hashes are compared.
fn count_duplicates(mut hashed: Vec<(u64, &[u8])>) -> u64 {
    hashed.sort_by_key(|(hash, _)| *hash);
    let mut duplicates = 0;
    for group in hashed.chunk_by(|one, two| one.0 == two.0) {
        // One entry for each content of this hash: one, but for a collision.
        let mut distinct: Vec<&[u8]> = Vec::with_capacity(1);
        for (_, page) in group {
            if distinct.contains(page) {
                duplicates += 1;
            } else {
                distinct.push(page);
            }
        }
    }
    duplicates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(words: &[u64]) -> Vec<u8> {
        words
            .iter()
            .cycle()
            .take(PAGE_SIZE / 8)
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    #[test]
    fn same_filled_and_duplicate_pages_are_counted_apart() {
        let mixed = page(&[1, 2]);
        let other = page(&[1, 3]);
        let bytes = [
            page(&[0]),
            page(&[7]),
            page(&[0]),
            mixed.clone(),
            other,
            mixed.clone(),
            mixed,
        ]
        .concat();
        let set = PageSet::new("test".to_owned(), bytes).unwrap();
        let info = set.info();
        assert_eq!((info.count, info.same_filled, info.duplicates), (7, 3, 2));
        assert_eq!(set.bytes().len(), set.count() * PAGE_SIZE);
    }

    #[test]
    fn pages_with_one_hash_and_different_contents_are_no_duplicates() {
        let (one, two) = (page(&[1, 2]), page(&[1, 3]));
        assert_eq!(
            count_duplicates(vec![(9, &one), (9, &two), (9, &one), (9, &two)]),
            2
        );
    }

    #[test]
    fn a_set_has_whole_pages_and_at_least_one() {
        assert!(
            PageSet::new("empty".to_owned(), Vec::new())
                .is_err_and(|text| text.contains("no pages"))
        );
        assert!(
            PageSet::new("odd".to_owned(), vec![0; PAGE_SIZE + 1])
                .is_err_and(|text| text.contains("4097"))
        );
    }
}
