//! [`Writer`]: the open segment, and batches going into it.

use crate::backing::{Backing, RESERVE};
use crate::error::WriteError;
use crate::plan::{inside, runs, touched};
use crate::seal::{GENERATION_MAX, Kind, Place, Sequence, sealed_units};
use crate::segments::State;
use crate::table::Table;
use crate::token::{RECORD_MAX, SEGMENT_LEN, SEGMENT_UNITS, Token};
use core::sync::atomic::Ordering::Relaxed;
use std::collections::BTreeMap;
use std::io;

/// Records that do not fit into what is left of a segment and are passed over for one that may.
const PASSED_MAX: usize = 64;
/// Tables that could not be written, kept in memory.
const ORPHANS_MAX: usize = 1024;
/// A buffer that grew beyond is not kept.
const BUFFER_KEPT: usize = SEGMENT_LEN as usize;

struct Open {
    segment: u32,
    generation: u64,
    /// The next place. It only grows.
    cursor: u32,
    table: Table,
    /// Whether any record was written.
    used: bool,
}

impl Open {
    /// Takes the next place; none if there is not enough.
    fn claim(&mut self, units: u32) -> Option<Token> {
        let token = Token::new(self.segment, self.cursor, units)?;
        self.cursor += units;
        Some(token)
    }

    fn fits(&self, units: u32) -> bool {
        self.cursor + units + self.table.units_with_one_more() <= SEGMENT_UNITS
    }
}

/// Everything that is only looked at by who holds the writer's lock, which is held during writes.
#[derive(Default)]
pub(crate) struct Writer {
    open: Option<Open>,
    generation: u64,
    sequence: Sequence,
    buffer: Vec<u8>,
    pending: Vec<usize>,
    /// Tables of sealed segments that their segment has no room for, or whose write failed.
    pub(crate) orphans: BTreeMap<u32, Box<[u8]>>,
    /// The segment that the next call of `clean` begins with.
    pub(crate) visited: u32,
    /// Segments visited since there was anything to do.
    pub(crate) quiet: u32,
}

/// Who takes segments: owners leave some for the cleaner, without which nothing would ever become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Owner,
    Cleaner,
}

/// Segments that a batch is in. They are pinned.
pub(crate) type Pinned = Vec<u32>;

impl Backing {
    /// Writes a batch; `tokens` has one for each record if it succeeds, else none.
    pub(crate) fn write_with(
        &self,
        writer: &mut Writer,
        records: &[(u64, &[u8])],
        tokens: &mut Vec<Token>,
        who: Who,
    ) -> Result<Pinned, WriteError> {
        tokens.clear();
        let mut pinned = Pinned::new();
        let result = self.write_all(writer, records, tokens, &mut pinned, who);
        if writer.buffer.capacity() > BUFFER_KEPT * 2 {
            writer.buffer = Vec::new();
        }
        match result {
            Ok(()) => Ok(pinned),
            Err(error) => {
                tokens.clear();
                self.unpin(&pinned);
                if matches!(error, WriteError::Io(_)) {
                    self.counters.write_errors.fetch_add(1, Relaxed);
                }
                Err(error)
            }
        }
    }

    fn write_all(
        &self,
        writer: &mut Writer,
        records: &[(u64, &[u8])],
        tokens: &mut Vec<Token>,
        pinned: &mut Pinned,
        who: Who,
    ) -> Result<(), WriteError> {
        let bad = |len: usize| len == 0 || len > RECORD_MAX;
        if let Some((_, bytes)) = records.iter().find(|(_, bytes)| bad(bytes.len())) {
            return Err(WriteError::BadLength { len: bytes.len() });
        }
        self.check_room(records, who)?;
        // Every place is filled in before this returns Ok.
        let nowhere = Token::new(0, 0, 1).ok_or(WriteError::Full)?;
        tokens.resize(records.len(), nowhere);
        writer.pending.clear();
        writer.pending.extend(0..records.len());
        while !writer.pending.is_empty() {
            let mut open = match writer.open.take() {
                Some(open) => open,
                None => self.open_segment(writer, who)?,
            };
            let result = self.fill(writer, &mut open, records, tokens, pinned);
            match result {
                Ok(Filled::Open) | Err(_) => writer.open = Some(open),
                Ok(Filled::Sealed) => {}
            }
            result?;
        }
        Ok(())
    }

    /// Whether a sparse store stays within its bytes.
    fn check_room(&self, records: &[(u64, &[u8])], who: Who) -> Result<(), WriteError> {
        if !self.is_sparse() {
            return Ok(());
        }
        let bytes = |(_, bytes): &(u64, &[u8])| u64::from(sealed_units(bytes.len())) * 16;
        let batch: u64 = records.iter().map(bytes).sum();
        // Tables and rounding are under a sixteenth, and a block.
        let batch = batch + batch / 16 + 8192;
        let reserve = match who {
            Who::Owner => u64::from(RESERVE) * SEGMENT_LEN,
            Who::Cleaner => 0,
        };
        let allocated = self.allocated_bytes();
        match allocated.checked_add(batch + reserve) {
            Some(sum) if sum <= self.store.len() => Ok(()),
            _ => Err(WriteError::Full),
        }
    }

    fn open_segment(&self, writer: &mut Writer, who: Who) -> Result<Open, WriteError> {
        let generation = writer.generation + 1;
        if generation > GENERATION_MAX {
            return Err(WriteError::KeyWornOut);
        }
        let segment = {
            let mut segments = self.segments.lock();
            if who == Who::Owner && segments.free_count() <= RESERVE {
                return Err(WriteError::Full);
            }
            segments.take().ok_or(WriteError::Full)?
        };
        writer.generation = generation;
        self.generations.set(segment, generation);
        let table = Table::default();
        Ok(Open {
            segment,
            generation,
            cursor: 0,
            table,
            used: false,
        })
    }

    /// Puts what fits of the pending records into the open segment, in one write, and seals the
    /// segment if some did not fit.
    fn fill(
        &self,
        writer: &mut Writer,
        open: &mut Open,
        records: &[(u64, &[u8])],
        tokens: &mut [Token],
        pinned: &mut Pinned,
    ) -> Result<Filled, WriteError> {
        let (start, mark) = (open.cursor, open.table.mark());
        let worn_out = |_| WriteError::KeyWornOut;
        writer.buffer.clear();
        let (mut payload, mut units, mut passed) = (0, 0, 0);
        let mut rest = Vec::new();
        let mut pending = writer.pending.iter();
        for &index in pending.by_ref() {
            let Some(&(key, bytes)) = records.get(index) else {
                continue;
            };
            let wanted = sealed_units(bytes.len());
            let token = if open.fits(wanted) {
                open.claim(wanted)
            } else {
                None
            };
            let Some(token) = token else {
                rest.push(index);
                passed += 1;
                if passed == PASSED_MAX {
                    break;
                }
                continue;
            };
            let place = Place {
                kind: Kind::Record,
                key,
                generation: open.generation,
                token,
            };
            self.sealer
                .seal(&mut writer.sequence, place, bytes, &mut writer.buffer)
                .map_err(worn_out)?;
            open.table.push(key, bytes.len());
            payload += bytes.len() as u32;
            units += wanted;
            if let Some(out) = tokens.get_mut(index) {
                *out = token;
            }
        }
        rest.extend(pending);
        let seals = !rest.is_empty();
        let table = if seals && (units != 0 || open.used) {
            self.seal_table(writer, open)?
        } else {
            None
        };
        if units == 0 && table.is_none() {
            // There is nothing to write: the segment had room for gaps only, or for no table.
            self.end_segment(writer, open, None);
            writer.pending = rest;
            return Ok(Filled::Sealed);
        }
        let offset = u64::from(open.segment) * SEGMENT_LEN + u64::from(start) * 16;
        let written = self.store.write_at(offset, &writer.buffer);
        let all_units = open.cursor - start;
        let blocks = touched(start, all_units);
        self.segments
            .lock()
            .change(open.segment, |it| it.blocks |= blocks);
        self.counters
            .bytes_written
            .fetch_add(writer.buffer.len() as u64, Relaxed);
        if let Err(error) = written {
            open.table.reset_to(mark);
            if units == 0 {
                // Only the table was to be written. It stays in memory, and the batch goes on.
                self.counters.write_errors.fetch_add(1, Relaxed);
                self.end_segment(writer, open, None);
                writer.pending = rest;
                return Ok(Filled::Sealed);
            }
            open.table.push_gap(all_units);
            self.give_back(open.segment, inside(start, all_units));
            return Err(WriteError::Io(error));
        }
        if units != 0 {
            open.used = true;
            self.segments.lock().change(open.segment, |it| {
                it.payload += payload;
                it.units += units as u16;
                it.live += units as u16;
                it.pins += 1;
            });
            pinned.push(open.segment);
        }
        self.counters
            .records_written
            .fetch_add((writer.pending.len() - rest.len()) as u64, Relaxed);
        self.counters
            .payload_written
            .fetch_add(payload.into(), Relaxed);
        writer.pending = rest;
        if !seals {
            return Ok(Filled::Open);
        }
        self.end_segment(writer, open, table);
        Ok(Filled::Sealed)
    }

    /// Appends the sealed table to the buffer, if there is room for it in the segment.
    fn seal_table(
        &self,
        writer: &mut Writer,
        open: &mut Open,
    ) -> Result<Option<Token>, WriteError> {
        let Some(token) = open.claim(sealed_units(open.table.bytes().len())) else {
            return Ok(None);
        };
        let place = Place {
            kind: Kind::Table,
            key: 0,
            generation: open.generation,
            token,
        };
        self.sealer
            .seal(
                &mut writer.sequence,
                place,
                open.table.bytes(),
                &mut writer.buffer,
            )
            .map_err(|_| WriteError::KeyWornOut)?;
        Ok(Some(token))
    }

    /// Nothing more is added to a segment. Its table is where `table` says, or stays in memory.
    fn end_segment(&self, writer: &mut Writer, open: &mut Open, table: Option<Token>) {
        let segment = open.segment;
        if !open.used {
            self.release(segment);
            return;
        }
        if table.is_none() {
            if writer.orphans.len() >= ORPHANS_MAX {
                // Its records can be read as before; it is given back when none of them is live.
                writer.orphans.pop_first();
            }
            writer.orphans.insert(segment, open.table.bytes().into());
        }
        self.segments.lock().change(segment, |it| {
            debug_assert_eq!(it.state, State::Open);
            it.state = State::Sealed;
            it.table_first = table.map_or(0, |token| token.first_unit() as u16);
            it.table_units = table.map_or(0, |token| token.units() as u16);
        });
        if self
            .store
            .settle(u64::from(segment) * SEGMENT_LEN, SEGMENT_LEN)
            .is_err()
        {
            self.counters.settle_errors.fetch_add(1, Relaxed);
        }
    }

    /// A segment that holds nothing any more: readers are turned away, its room is given back.
    pub(crate) fn release(&self, segment: u32) {
        self.generations.set(segment, 0);
        let blocks = self.segments.lock().get(segment).map_or(0, |it| it.blocks);
        let mut left = blocks;
        if blocks != 0 && self.may_discard() {
            let offset = u64::from(segment) * SEGMENT_LEN;
            if self.discard(offset, SEGMENT_LEN).is_ok() {
                left = 0;
            }
        }
        self.segments.lock().release(segment, left);
    }

    /// Discards blocks of a segment in use. Those that were.
    pub(crate) fn give_back(&self, segment: u32, blocks: u64) -> u64 {
        if !self.is_sparse() || !self.may_discard() {
            return 0;
        }
        let mut gone = 0;
        for (first, count) in runs(self.whole_grains(blocks)) {
            let offset = u64::from(segment) * SEGMENT_LEN + u64::from(first) * 4096;
            if self.discard(offset, u64::from(count) * 4096).is_ok() {
                gone |= touched(first * 256, count * 256);
            }
        }
        self.segments
            .lock()
            .change(segment, |it| it.blocks &= !gone);
        gone
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let result = self.store.discard(offset, len);
        if let Err(error) = &result {
            if error.kind() == io::ErrorKind::Unsupported {
                self.no_discard.store(true, Relaxed);
            } else {
                self.counters.discard_errors.fetch_add(1, Relaxed);
            }
        }
        result
    }

    pub(crate) fn unpin(&self, pinned: &[u32]) {
        let mut segments = self.segments.lock();
        for &segment in pinned {
            segments.change(segment, |it| {
                debug_assert!(it.pins != 0);
                it.pins = it.pins.saturating_sub(1);
            });
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// Everything fitted.
    Open,
    /// The segment is full. More is pending.
    Sealed,
}
