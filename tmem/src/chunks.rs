//! Records of one size, numbered: chunks of 2 KiB, each with a free list of its own.
//!
//! ```text
//!   chunk   0      1      2       4       8        12
//!           [ free | live | fresh |  prev |  next  | record | record | ... ]
//! ```
//!
//! * `free`: the first free record, plus one; a free record begins with the next one.
//! * `fresh`: records that were ever used. So a chunk needs no initialization but zeroes.
//! * `prev`, `next`: the list of chunks that have room.
//!
//! A chunk without a record in use is given back. Its number stays, as a value of 8 bytes that names
//! the next such number, until no chunk is left: then all numbers are stale and are taken away, some
//! at a time.

use crate::record::NONE;
use crate::tables::{Region, Tables, contradiction};
use alloc_xv::{AllocError, PageSource};

const HEAD_LEN: usize = 12;

/// Records of `LEN` bytes, `PER` in a chunk.
#[derive(Debug)]
pub(crate) struct Chunks<const LEN: usize, const PER: u32> {
    region: Region,
    /// Record numbers are less than this.
    limit: u32,
    /// Records in use.
    pub(crate) live: u32,
    /// Chunks that exist.
    present: u32,
    /// Numbers given to chunks so far.
    numbers: u32,
    /// Values of earlier chunks may stand below this number, and at or above `numbers`.
    stale: u32,
    /// First number without a chunk.
    absent: u32,
    /// First chunk with room.
    room: u32,
}

#[derive(Clone, Copy)]
struct Head {
    free: u8,
    live: u8,
    fresh: u8,
    prev: u32,
    next: u32,
}

impl Head {
    fn to_bytes(self) -> [u8; HEAD_LEN] {
        let [p0, p1, p2, p3] = self.prev.to_le_bytes();
        let [n0, n1, n2, n3] = self.next.to_le_bytes();
        [
            self.free, self.live, self.fresh, 0, p0, p1, p2, p3, n0, n1, n2, n3,
        ]
    }

    fn from_bytes(bytes: [u8; HEAD_LEN]) -> Self {
        let [free, live, fresh, _, p0, p1, p2, p3, n0, n1, n2, n3] = bytes;
        Self {
            free,
            live,
            fresh,
            prev: u32::from_le_bytes([p0, p1, p2, p3]),
            next: u32::from_le_bytes([n0, n1, n2, n3]),
        }
    }
}

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRecord {
    /// All numbers are in use.
    Limit,
    Alloc(AllocError),
}

impl<const LEN: usize, const PER: u32> Chunks<LEN, PER> {
    const FITS: () = assert!(PER < 256 && HEAD_LEN + LEN * PER as usize <= 2048 && LEN >= 4);

    pub(crate) const fn new(region: Region, limit: u32) -> Self {
        let () = Self::FITS;
        Self {
            region,
            limit,
            live: 0,
            present: 0,
            numbers: 0,
            stale: 0,
            absent: NONE,
            room: NONE,
        }
    }

    fn key(&self, chunk: u32) -> u64 {
        self.region.key(chunk)
    }

    fn head<S: PageSource>(&self, tables: &Tables<S>, chunk: u32) -> Head {
        Head::from_bytes(tables.read(self.key(chunk), 0))
    }

    fn set_head<S: PageSource>(&self, tables: &Tables<S>, chunk: u32, head: Head) {
        tables.write(self.key(chunk), 0, &head.to_bytes());
    }

    const fn offset(place: u32) -> usize {
        HEAD_LEN + LEN * place as usize
    }

    fn is_full(&self, chunk: u32, head: Head) -> bool {
        let records = PER.min(self.limit - chunk * PER);
        head.free == 0 && u32::from(head.fresh) >= records
    }

    pub(crate) fn read<S: PageSource>(&self, tables: &Tables<S>, id: u32) -> [u8; LEN] {
        tables.read(self.key(id / PER), Self::offset(id % PER))
    }

    pub(crate) fn write<S: PageSource>(&self, tables: &Tables<S>, id: u32, bytes: &[u8; LEN]) {
        tables.write(self.key(id / PER), Self::offset(id % PER), bytes);
    }

    /// A record, with any content. On failure nothing has changed.
    pub(crate) fn take<S: PageSource>(&mut self, tables: &Tables<S>) -> Result<u32, NoRecord> {
        if self.room == NONE {
            self.add_chunk(tables)?;
        }
        let chunk = self.room;
        let mut head = self.head(tables, chunk);
        let place = match head.free.checked_sub(1) {
            Some(place) => {
                let offset = Self::offset(u32::from(place));
                head.free = tables.read_word(self.key(chunk), offset) as u8;
                place
            }
            None => {
                head.fresh += 1;
                head.fresh - 1
            }
        };
        head.live += 1;
        self.live += 1;
        self.set_head(tables, chunk, head);
        if self.is_full(chunk, head) {
            self.leave_room(tables, head);
        }
        Ok(chunk * PER + u32::from(place))
    }

    fn add_chunk<S: PageSource>(&mut self, tables: &Tables<S>) -> Result<(), NoRecord> {
        let reused = self.absent != NONE;
        let chunk = if reused { self.absent } else { self.numbers };
        if chunk >= self.limit.div_ceil(PER) {
            return Err(NoRecord::Limit);
        }
        let next = if reused {
            tables
                .value(self.key(chunk))
                .unwrap_or_else(|| contradiction("a chunk that is absent is there"))
                as u32
        } else {
            NONE
        };
        let head = Head {
            free: 0,
            live: 0,
            fresh: 0,
            prev: NONE,
            next: NONE,
        };
        let size = HEAD_LEN + LEN * PER as usize;
        tables
            .create(self.key(chunk), size, &head.to_bytes())
            .map_err(NoRecord::Alloc)?;
        if reused {
            self.absent = next;
        } else {
            self.numbers += 1;
        }
        self.present += 1;
        self.room = chunk;
        Ok(())
    }

    /// Gives a record back.
    pub(crate) fn free<S: PageSource>(&mut self, tables: &Tables<S>, id: u32) {
        let (chunk, place) = (id / PER, id % PER);
        let mut head = self.head(tables, chunk);
        let was_full = self.is_full(chunk, head);
        tables.write(
            self.key(chunk),
            Self::offset(place),
            &u32::from(head.free).to_le_bytes(),
        );
        head.free = place as u8 + 1;
        head.live = head
            .live
            .checked_sub(1)
            .unwrap_or_else(|| contradiction("a record was freed twice"));
        self.live -= 1;
        if head.live == 0 {
            if !was_full {
                self.leave_room(tables, head);
            }
            self.drop_chunk(tables, chunk);
            return;
        }
        if was_full {
            (head.prev, head.next) = (NONE, self.room);
            if self.room != NONE {
                let mut next = self.head(tables, self.room);
                next.prev = chunk;
                self.set_head(tables, self.room, next);
            }
            self.room = chunk;
        }
        self.set_head(tables, chunk, head);
    }

    /// Takes a chunk off the list of those with room.
    fn leave_room<S: PageSource>(&mut self, tables: &Tables<S>, head: Head) {
        match head.prev {
            NONE => self.room = head.next,
            prev => {
                let mut before = self.head(tables, prev);
                before.next = head.next;
                self.set_head(tables, prev, before);
            }
        }
        if head.next != NONE {
            let mut after = self.head(tables, head.next);
            after.prev = head.prev;
            self.set_head(tables, head.next, after);
        }
    }

    fn drop_chunk<S: PageSource>(&mut self, tables: &Tables<S>, chunk: u32) {
        tables.replace_by_value(self.key(chunk), u64::from(self.absent));
        self.absent = chunk;
        self.present -= 1;
        if self.present == 0 {
            self.stale = self.stale.max(self.numbers);
            self.numbers = 0;
            self.absent = NONE;
        }
    }

    /// Takes some stale numbers away; false if more are left.
    pub(crate) fn trim<S: PageSource>(&mut self, tables: &Tables<S>, most: u32) -> bool {
        for _ in 0..most {
            if self.stale <= self.numbers {
                break;
            }
            self.stale -= 1;
            tables.remove(self.key(self.stale));
        }
        self.stale <= self.numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::PAGES;
    use alloc_xv::{MmapSource, Slots};
    use std::vec::Vec;

    #[test]
    fn records_keep_what_is_written_and_go_without_a_trace() {
        let tables = Tables {
            slots: Slots::new(MmapSource::<4096>::new(1 << 24).unwrap()),
        };
        let mut chunks = Chunks::<8, 5>::new(PAGES, 203);
        for round in 0..3u32 {
            let mut ids: Vec<u32> = (0..203).map(|_| chunks.take(&tables).unwrap()).collect();
            assert_eq!(chunks.take(&tables), Err(NoRecord::Limit));
            for &id in &ids {
                chunks.write(&tables, id, &[id as u8; 8]);
            }
            // Some go and come back, in another order.
            for step in 0..400u32 {
                let place = (step * 37 + round) as usize % ids.len();
                let id = ids.swap_remove(place);
                assert_eq!(chunks.read(&tables, id), [id as u8; 8]);
                chunks.free(&tables, id);
                if step % 3 != 0 || ids.len() < 20 {
                    let id = chunks.take(&tables).unwrap();
                    chunks.write(&tables, id, &[id as u8; 8]);
                    ids.push(id);
                }
            }
            let mut sorted = ids.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), ids.len(), "a record twice");
            for id in ids {
                assert_eq!(chunks.read(&tables, id), [id as u8; 8]);
                chunks.free(&tables, id);
            }
            assert_eq!((chunks.live, chunks.present), (0, 0));
            while !chunks.trim(&tables, 3) {}
            assert_eq!(tables.slots.pages_used(), 0);
            tables.slots.check().unwrap();
        }
    }
}
