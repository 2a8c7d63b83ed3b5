//! Which keys of the slots are what: pages of the device first, then what belongs to several.
//!
//! ```text
//!  0 .. pages      clusters              segments     shared         table
//! [ device pages | data, info of each | live units | [n], [n+1].. | candidates ]
//!                  unit
//! ```
//!
//! Slots exist where they are used, in leaves of a page: a region that is empty takes nothing. Each
//! region begins with a leaf, so none keeps another's; and no further on, as neighbouring leaves share an
//! arena, and an arena that is used at all takes some pages.

use core::ops::Range;

/// Bytes of the longest unit: neighbouring pages that may be compressed as one piece.
pub const UNIT_LEN_MAX: usize = 64 * 1024;
/// Pages of the longest unit.
pub(crate) const UNIT_PAGES_MAX: usize = 16;
/// Bytes of a segment of the backing store.
const SEGMENT_LEN: u64 = 256 * 1024;
/// See the module's text. A region of length zero is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pages: u64,
    clusters: u64,
    per_unit: u64,
    /// Units of the device; as many of shared pages follow.
    units: u64,
    shared: u64,
    shared_len: u64,
    segments: u64,
    segments_len: u64,
    table: u64,
    table_len: u64,
}

impl Layout {
    /// The regions behind a device of `pages` pages of `page` bytes, of which `unit` bytes form a
    /// unit, with `keys` keys in all, of which `leaf` stand together. What does not fit any more is left
    /// out or shorter.
    pub(crate) const fn new(pages: u64, page: usize, unit: usize, keys: u64, leaf: u64) -> Self {
        let per_unit = (unit / page) as u64;
        let clusters = pages.next_multiple_of(leaf);
        let units = match per_unit > 1 {
            true => fit(pages.div_ceil(per_unit), keys.saturating_sub(clusters) / 8),
            false => 0,
        };
        let segments = (clusters + 4 * units).next_multiple_of(leaf);
        // Twice the device, and some.
        let wanted = (pages * page as u64).div_ceil(SEGMENT_LEN) * 2 + 64;
        let segments_len = fit(wanted, keys.saturating_sub(segments));
        let shared = (segments + segments_len).next_multiple_of(leaf);
        let room = keys.saturating_sub(shared);
        // Without a table nothing is found to be shared.
        let table_len = fit(pages, room / 4);
        let shared_len = fit(
            fit(pages, room.saturating_sub(table_len + leaf)),
            u32::MAX as u64,
        );
        let table = (shared + shared_len).next_multiple_of(leaf);
        Self {
            pages,
            clusters,
            per_unit,
            units,
            shared,
            shared_len,
            segments,
            segments_len,
            table,
            table_len,
        }
    }

    /// The unit of a page of the device, or of a shared one, and the page's place in it.
    #[inline]
    pub(crate) const fn unit_of(&self, key: u64) -> (u64, u32) {
        let len = match self.per_unit {
            0 => 1,
            len => len,
        };
        match key < self.pages {
            true => (key / len, (key % len) as u32),
            false => {
                let number = key - self.shared;
                (self.units + number / len, (number % len) as u32)
            }
        }
    }

    /// The keys of a unit's pages.
    pub(crate) const fn keys_of(&self, unit: u64) -> Range<u64> {
        let len = self.per_unit;
        let (from, end) = match unit < self.units {
            true => (unit * len, self.pages),
            false => (
                self.shared + (unit - self.units) * len,
                self.shared + self.shared_len,
            ),
        };
        from..fit(from + len, end)
    }

    /// Whether a key is that of a shared object, or else of a page of the device.
    #[inline]
    pub(crate) const fn is_shared(&self, key: u64) -> bool {
        key >= self.pages
    }

    /// Pages of a unit; 1 or 0 where there are no units.
    pub(crate) const fn unit_pages(&self) -> u64 {
        self.per_unit
    }

    /// Units that may have a cluster.
    pub(crate) const fn units(&self) -> u64 {
        2 * self.units
    }

    /// Key of the slot with a cluster's bytes.
    pub(crate) const fn cluster_data(&self, unit: u64) -> Option<u64> {
        match unit < self.units() {
            true => Some(self.clusters + 2 * unit),
            false => None,
        }
    }

    /// Key of the slot that says which pages are in a cluster.
    pub(crate) const fn cluster_info(&self, unit: u64) -> Option<u64> {
        match unit < self.units() {
            true => Some(self.clusters + 2 * unit + 1),
            false => None,
        }
    }

    /// Whether the slot of a key can be written back: a page's, or a cluster's bytes.
    pub(crate) const fn has_records(&self, key: u64) -> bool {
        match key.checked_sub(self.clusters) {
            None => key < self.pages,
            Some(place) => place < 2 * self.units && place.is_multiple_of(2),
        }
    }

    /// Key of a shared object.
    pub(crate) const fn shared(&self, number: u32) -> Option<u64> {
        match (number as u64) < self.shared_len {
            true => Some(self.shared + number as u64),
            false => None,
        }
    }

    /// Shared objects there may be.
    pub(crate) const fn shared_len(&self) -> u64 {
        self.shared_len
    }

    /// Key of the slot with the live units of a segment of the backing store.
    pub(crate) const fn segment(&self, number: u64) -> Option<u64> {
        match number < self.segments_len {
            true => Some(self.segments + number),
            false => None,
        }
    }

    /// Segments that have a slot.
    pub(crate) const fn segments_len(&self) -> u64 {
        self.segments_len
    }

    /// Key of a place of the table of candidates.
    pub(crate) const fn table(&self, place: u64) -> Option<u64> {
        match place < self.table_len {
            true => Some(self.table + place),
            false => None,
        }
    }

    /// Places of the table of candidates.
    pub(crate) const fn table_len(&self) -> u64 {
        self.table_len
    }
}

const fn fit(wanted: u64, room: u64) -> u64 {
    if wanted < room { wanted } else { room }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_follow_one_another_and_stay_in_the_keys() {
        for page in [4096, 16384, 65536] {
            for pages in [1, 40, 8192, 100_000, 1 << 24, 60_000_000, 1 << 26] {
                let keys = 1 << 26;
                let layout = Layout::new(pages, page, 65536, keys, 512);
                let regions = [
                    (0, pages),
                    (layout.clusters, 2 * layout.units()),
                    (layout.segments, layout.segments_len),
                    (layout.shared, layout.shared_len),
                    (layout.table, layout.table_len),
                ];
                for pair in regions.windows(2) {
                    assert!(pair[0].0 + pair[0].1 <= pair[1].0);
                    assert!(pair[1].0.is_multiple_of(512));
                }
                for (start, len) in regions {
                    assert!(len == 0 || start + len <= keys, "{page} {pages}");
                }
                if pages < 1 << 24 && page < 65536 {
                    assert!(layout.units >= pages * page as u64 / 65536);
                    assert_eq!(layout.shared_len, pages);
                }
            }
        }
    }

    #[test]
    fn units_have_two_slots_each() {
        let layout = Layout::new(1000, 4096, 65536, 1 << 26, 512);
        assert_eq!(layout.units(), 126);
        for unit in 0..63 {
            let key = layout.cluster_data(unit).unwrap();
            assert_eq!(layout.cluster_info(unit), Some(key + 1));
            assert!(layout.has_records(key) && !layout.has_records(key + 1));
            if unit < 62 {
                assert_eq!(layout.unit_of(16 * unit + 3), (unit, 3));
            }
        }
        assert!(layout.has_records(999) && !layout.has_records(1000));
        assert!(!layout.has_records(layout.segments));
        assert!(!layout.has_records(layout.cluster_data(63).unwrap()));
        assert_eq!(layout.cluster_data(126), None);
        assert_eq!(layout.keys_of(62), 992..1000);
        let first = layout.shared(0).unwrap();
        assert_eq!(layout.keys_of(63), first..first + 16);
        assert_eq!(layout.keys_of(125), first + 992..first + 1000);
        assert_eq!(layout.unit_of(first + 35), (65, 3));
        assert!(layout.is_shared(first) && !layout.is_shared(999));
        assert_eq!(layout.shared(1000), None);
        assert_eq!(layout.table(1000), None);
    }
}
