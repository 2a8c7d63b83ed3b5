//! Cleaning: room of dead records is given back, in bounded steps.

use crate::backing::{Backing, RESERVE};
use crate::error::WriteError;
use crate::plan::{FREE, Question, touched};
use crate::seal::{Kind, Place};
use crate::segments::{NEVER, Segment, State};
use crate::table::{self, Entry};
use crate::token::{SEGMENT_LEN, SEGMENT_UNITS, Token, UNIT_LEN};
use crate::writer::{Who, Writer};
use core::sync::atomic::Ordering::Relaxed;
use std::collections::BinaryHeap;

/// Segments whose live units are asked for in one call: 1 GiB of the store.
const VISITED_MAX: u32 = 4096;
/// Bytes won for 1,000 moved: what is taken at once, and what is not worth it any more.
const YIELD_GOOD: u32 = 1000;
const YIELD_MIN: u32 = 20;
/// Fewer dead bytes than a block are not looked for.
const DEAD_MIN: u64 = 4096;
/// Dead bytes between two records up to which they are read together.
const BETWEEN_MAX: usize = 32 << 10;
/// What giving back counts as, of a budget in bytes.
const DISCARD_COST: u64 = 4096;

/// Who knows which records are wanted: the slots that link to them.
pub trait Owner {
    /// Whether this key is still linked to this token.
    fn wanted(&mut self, key: u64, token: Token) -> bool;

    /// The record is about to be moved; here it is. False if it need not be, since it was
    /// overwritten, or has been taken into memory.
    fn keep(&mut self, key: u64, token: Token, bytes: &[u8]) -> bool {
        let _ = (key, token, bytes);
        true
    }

    /// The record lies at `new`, too. Whether its key is linked to `new` now; if not, `new` is
    /// dead, and `old` is kept as long as it is [`wanted`](Self::wanted).
    fn moved(&mut self, key: u64, old: Token, new: Token) -> bool;
}

/// What a call of [`Backing::clean`] did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Cleaned {
    /// There is nothing more to do until records are written or die.
    pub done: bool,
    /// Bytes read, for tables and records.
    pub bytes_read: u64,
    /// Bytes written again, with what belongs to them.
    pub bytes_written: u64,
    /// Bytes given back to the store.
    pub bytes_freed: u64,
    /// Segments that are free again.
    pub segments_freed: u32,
    /// Records written again.
    pub records_moved: u64,
    /// Records and tables that could not be read. They stay where they are.
    pub unreadable: u64,
    /// Why it stopped before its budget was used up.
    pub stopped: Option<WriteError>,
}

/// What cleaning is for, at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// The file has more bytes than its records explain.
    Bytes,
    /// Few segments are free.
    Segments,
}

/// One step's buffers.
#[derive(Default)]
struct Room {
    entries: Vec<Entry>,
    live: Vec<bool>,
    bytes: Vec<u8>,
    tokens: Vec<Token>,
}

impl Backing {
    /// Gives back the room of dead records: whole segments without any that lives, and where the
    /// file's bytes are over their bound or segments run out, those blocks or segments that win
    /// most for what has to be moved.
    ///
    /// `live` tells the live units of a segment ([`Token::units`] of every token that a key is
    /// linked to). Neither it nor the owner may call this store's [`write`](Self::write) or
    /// [`clean`](Self::clean): they would wait for themselves. Reads are welcome.
    ///
    /// Work: at most 4096 calls of `live`; reads and writes of `budget_bytes` and one segment.
    pub fn clean(
        &self,
        live: &mut dyn FnMut(u32) -> u64,
        owner: &mut dyn Owner,
        budget_bytes: u64,
    ) -> Cleaned {
        let mut writer = self.writer.lock();
        let mut cleaned = Cleaned::default();
        let mut spent = 0;
        let (from, count) = self.visit(&mut writer, live, budget_bytes, &mut spent, &mut cleaned);
        let exhausted = self.clean_visited(
            &mut writer,
            (from, count),
            live,
            owner,
            budget_bytes,
            &mut spent,
            &mut cleaned,
        );
        let all = self.segments.lock().count();
        writer.quiet = match exhausted {
            true if cleaned.bytes_freed == 0 => writer.quiet.saturating_add(count),
            _ => 0,
        };
        cleaned.done =
            exhausted && (self.need() == Need::Nothing || writer.quiet >= all || count == all);
        cleaned
    }

    /// Asks for live units, in a window that goes on with each call, and gives back segments
    /// that have none.
    fn visit(
        &self,
        writer: &mut Writer,
        live: &mut dyn FnMut(u32) -> u64,
        budget: u64,
        spent: &mut u64,
        cleaned: &mut Cleaned,
    ) -> (u32, u32) {
        let all = self.segments.lock().count();
        let from = if writer.visited < all {
            writer.visited
        } else {
            0
        };
        let mut count = 0;
        while count < all.min(VISITED_MAX) && (*spent < budget || count == 0) {
            let segment = (from + count) % all;
            count += 1;
            // The writer's lock is held, so nothing is added, and what is not pinned has been
            // linked: the order of these two questions matters.
            let Some(it) = self.segments.lock().get(segment) else {
                continue;
            };
            if !it.may_be_cleaned() {
                continue;
            }
            match live(segment).min(SEGMENT_UNITS.into()) {
                0 => {
                    self.free(writer, segment, it, cleaned);
                    *spent += DISCARD_COST;
                }
                units => self
                    .segments
                    .lock()
                    .change(segment, |it| it.live = units as u16),
            }
        }
        writer.visited = if all == 0 { 0 } else { (from + count) % all };
        (from, count)
    }

    fn free(&self, writer: &mut Writer, segment: u32, it: Segment, cleaned: &mut Cleaned) {
        writer.orphans.remove(&segment);
        self.release(segment);
        cleaned.segments_freed += 1;
        let left = self.segments.lock().get(segment).map_or(0, |it| it.blocks);
        cleaned.bytes_freed += u64::from((it.blocks & !left).count_ones()) * 4096;
    }

    fn need(&self) -> Need {
        let segments = self.segments.lock();
        let low = (segments.count_max() / 32).max(RESERVE + 2);
        if segments.free_count() < low {
            return Need::Segments;
        }
        if !self.is_sparse() || !self.may_discard() {
            return Need::Nothing;
        }
        let sums = segments.sums;
        let allocated = sums.blocks.saturating_mul(4096 * 1000);
        // A little under the bound; what is not live is estimated between two looks.
        let bound = u64::from(self.options.bytes_permille_max - 3);
        let least = sums.live_units * UNIT_LEN as u64 * 1015;
        if allocated > (sums.payload_live * bound).max(least) {
            Need::Bytes
        } else {
            Need::Nothing
        }
    }

    /// How much a segment is worth looking at; none for not at all.
    fn score(&self, segment: u32, need: Need) -> Option<(u32, u32)> {
        let it = self.segments.lock().get(segment)?;
        if !it.may_be_cleaned() {
            return None;
        }
        let looked = it.planned == it.live && it.planned != NEVER;
        match need {
            Need::Nothing => None,
            Need::Segments => {
                let dead =
                    SEGMENT_UNITS.saturating_sub(u32::from(it.live) + u32::from(it.table_units));
                let won = u64::from(dead) * 1000 / u64::from(it.live).max(1);
                (won >= u64::from(YIELD_MIN) && !(looked && it.left == 0)).then_some((1, dead))
            }
            Need::Bytes if looked => (it.left >= YIELD_MIN).then_some((0, it.left)),
            Need::Bytes => {
                let dead = it.dead_bytes();
                (dead >= DEAD_MIN).then_some((1, dead as u32))
            }
        }
    }

    /// Cleans segments of the window, the best first. Whether none is left that is worth it.
    #[allow(clippy::too_many_arguments, reason = "what one call of `clean` holds")]
    fn clean_visited(
        &self,
        writer: &mut Writer,
        (from, count): (u32, u32),
        live: &mut dyn FnMut(u32) -> u64,
        owner: &mut dyn Owner,
        budget: u64,
        spent: &mut u64,
        cleaned: &mut Cleaned,
    ) -> bool {
        let mut need = self.need();
        let all = self.segments.lock().count();
        let mut heap = BinaryHeap::new();
        let fill = |heap: &mut BinaryHeap<_>, need| {
            heap.clear();
            let visited = (0..count).map(|step| (from + step) % all);
            heap.extend(
                visited
                    .filter_map(|segment| self.score(segment, need).map(|score| (score, segment))),
            );
        };
        if all != 0 {
            fill(&mut heap, need);
        }
        let mut room = Room::default();
        let mut steps = 0u32;
        while need != Need::Nothing && *spent < budget {
            // Each step reads a table at least; without I/O (tables in memory) it counts, too.
            steps += 1;
            let Some((_, segment)) = heap.pop() else {
                return true;
            };
            let budget_left = budget - *spent;
            *spent += DISCARD_COST;
            let before = (cleaned.bytes_read, cleaned.bytes_written);
            let step = self.clean_segment(
                writer,
                &mut room,
                segment,
                need,
                live,
                owner,
                budget_left,
                cleaned,
            );
            *spent += (cleaned.bytes_read - before.0) + (cleaned.bytes_written - before.1);
            if let Err(error) = step {
                cleaned.stopped = Some(error);
                // Another call would stop at the same place.
                return true;
            }
            let now = self.need();
            if now != need {
                need = now;
                fill(&mut heap, need);
            } else if let Some(score) = self.score(segment, need)
                && steps < VISITED_MAX
            {
                heap.push((score, segment));
            }
        }
        need == Need::Nothing
    }

    #[allow(clippy::too_many_arguments, reason = "what one call of `clean` holds")]
    fn clean_segment(
        &self,
        writer: &mut Writer,
        room: &mut Room,
        segment: u32,
        need: Need,
        live: &mut dyn FnMut(u32) -> u64,
        owner: &mut dyn Owner,
        budget: u64,
        cleaned: &mut Cleaned,
    ) -> Result<(), WriteError> {
        let Some(it) = self.segments.lock().get(segment) else {
            return Ok(());
        };
        let generation = self.generations.get(segment);
        let (State::Sealed, 0, Some(generation)) = (it.state, it.pins, generation) else {
            return Ok(());
        };
        if self
            .read_table(writer, room, segment, &it, generation, cleaned)
            .is_none()
        {
            cleaned.unreadable += 1;
            self.looked_at(segment, it.live, 0);
            return Ok(());
        }
        self.ask(room, segment, owner);
        let looked = it.planned == it.live;
        let question = Question {
            blocks: it.blocks,
            table: touched(it.table_first.into(), it.table_units.into()),
            grain: self.grain(),
            entries: &room.entries,
            live: &room.live,
            yield_min: match need {
                Need::Bytes if !looked => YIELD_GOOD,
                Need::Bytes => (it.left / 4 * 3).clamp(YIELD_MIN, YIELD_GOOD),
                _ => YIELD_MIN,
            },
            whole: need == Need::Segments,
            budget_units: u32::try_from(budget / 2 / UNIT_LEN as u64).unwrap_or(u32::MAX),
        };
        let (plan, table) = (question.plan(), question.table);
        if plan.blocks == 0 {
            self.looked_at(segment, it.live, plan.left);
            return Ok(());
        }
        let stays = self.move_records(
            writer,
            room,
            &plan.moves,
            (segment, generation),
            owner,
            cleaned,
        )?;
        let live_now = live(segment).min(SEGMENT_UNITS.into());
        if plan.whole && stays == 0 && live_now == 0 {
            self.free(writer, segment, it, cleaned);
            return Ok(());
        }
        let mut blocks = plan.blocks & !stays;
        if plan.whole {
            blocks &= !table;
        }
        let gone = self.give_back(segment, blocks);
        cleaned.bytes_freed += u64::from((gone & it.blocks).count_ones()) * 4096;
        self.segments
            .lock()
            .change(segment, |it| it.live = live_now as u16);
        // What could not be given back now is not tried again before something changes.
        let left = if gone == plan.blocks { plan.left } else { 0 };
        self.looked_at(segment, live_now as u16, left);
        Ok(())
    }

    fn looked_at(&self, segment: u32, live: u16, left: u32) {
        self.segments.lock().change(segment, |it| {
            it.planned = live;
            it.left = left.min(FREE - 1);
        });
    }

    fn read_table(
        &self,
        writer: &Writer,
        room: &mut Room,
        segment: u32,
        it: &Segment,
        generation: u64,
        cleaned: &mut Cleaned,
    ) -> Option<()> {
        if let Some(bytes) = writer.orphans.get(&segment) {
            return table::decode(bytes, &mut room.entries);
        }
        let token = Token::new(segment, it.table_first.into(), it.table_units.into())?;
        let place = Place {
            kind: Kind::Table,
            key: 0,
            generation,
            token,
        };
        room.bytes.clear();
        room.bytes.resize(token.stored_len(), 0);
        cleaned.bytes_read += token.stored_len() as u64;
        if self.store.read_at(token.offset(), &mut room.bytes).is_err() {
            self.counters.read_errors.fetch_add(1, Relaxed);
            return None;
        }
        let len = self.sealer.open(place, &mut room.bytes).ok();
        if len.is_none() {
            self.counters.damaged.fetch_add(1, Relaxed);
        }
        table::decode(room.bytes.get(..len?)?, &mut room.entries)
    }

    /// Asks which records are wanted, and notes down exactly how much they are.
    fn ask(&self, room: &mut Room, segment: u32, owner: &mut dyn Owner) {
        room.live.clear();
        let (mut units, mut payload) = (0, 0);
        for entry in &room.entries {
            let token = Token::new(segment, entry.first, entry.units());
            let wanted = token.is_some_and(|token| owner.wanted(entry.key, token));
            room.live.push(wanted);
            if wanted {
                units += entry.units();
                payload += entry.len as u32;
            }
        }
        self.segments.lock().change(segment, |it| {
            it.units = units as u16;
            it.payload = payload;
        });
    }

    /// Writes records elsewhere. The blocks that must stay, since something in them could not be
    /// moved.
    fn move_records(
        &self,
        writer: &mut Writer,
        room: &mut Room,
        moves: &[usize],
        (segment, generation): (u32, u64),
        owner: &mut dyn Owner,
        cleaned: &mut Cleaned,
    ) -> Result<u64, WriteError> {
        let mut stays = 0;
        let Room {
            entries,
            bytes,
            tokens,
            ..
        } = room;
        let moves: Vec<Entry> = moves
            .iter()
            .filter_map(|&index| entries.get(index).copied())
            .collect();
        bytes.clear();
        // Where in `bytes` each opened record lies.
        let mut opened: Vec<(Entry, Token, core::ops::Range<usize>)> = Vec::new();
        let near = |a: &Entry, b: &Entry| (b.first - a.end()) as usize * UNIT_LEN <= BETWEEN_MAX;
        for group in moves.chunk_by(near) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                continue;
            };
            let base = bytes.len();
            let len = (last.end() - first.first) as usize * UNIT_LEN;
            let offset =
                u64::from(segment) * SEGMENT_LEN + u64::from(first.first) * UNIT_LEN as u64;
            bytes.resize(base + len, 0);
            cleaned.bytes_read += len as u64;
            let read = self
                .store
                .read_at(offset, bytes.get_mut(base..).unwrap_or_default());
            if read.is_err() {
                self.counters.read_errors.fetch_add(1, Relaxed);
            }
            for entry in group {
                let at = base + (entry.first - first.first) as usize * UNIT_LEN;
                let token = Token::new(segment, entry.first, entry.units());
                let (Some(token), true) = (token, read.is_ok()) else {
                    stays |= touched(entry.first, entry.units());
                    cleaned.unreadable += 1;
                    continue;
                };
                let place = Place {
                    kind: Kind::Record,
                    key: entry.key,
                    generation,
                    token,
                };
                let sealed = bytes
                    .get_mut(at..at + token.stored_len())
                    .unwrap_or_default();
                match self.sealer.open(place, sealed) {
                    Ok(len) => opened.push((*entry, token, at..at + len)),
                    Err(_) => {
                        self.counters.damaged.fetch_add(1, Relaxed);
                        stays |= touched(entry.first, entry.units());
                        cleaned.unreadable += 1;
                    }
                }
            }
        }
        opened.retain(|(entry, token, range)| {
            owner.keep(
                entry.key,
                *token,
                bytes.get(range.clone()).unwrap_or_default(),
            )
        });
        let records: Vec<(u64, &[u8])> = opened
            .iter()
            .map(|(entry, _, range)| (entry.key, bytes.get(range.clone()).unwrap_or_default()))
            .collect();
        let pinned = self.write_with(writer, &records, tokens, Who::Cleaner)?;
        for ((entry, old, _), &new) in opened.iter().zip(tokens.iter()) {
            cleaned.records_moved += 1;
            cleaned.bytes_written += new.stored_len() as u64;
            if !owner.moved(entry.key, *old, new) && owner.wanted(entry.key, *old) {
                stays |= touched(entry.first, entry.units());
            }
        }
        self.counters
            .records_moved
            .fetch_add(opened.len() as u64, Relaxed);
        self.unpin(&pinned);
        Ok(stays)
    }
}
