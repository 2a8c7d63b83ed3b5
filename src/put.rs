//! Storing a page: where its bytes are made, and what becomes of the old ones.

use crate::cache::{Cache, checksum_if, count_failed_write, is_link, remember, stays_raw};
use crate::checksum::{CHECKSUM_LEN, checksum};
use crate::content::{Stored, word_to_value};
use crate::counters::{Counters, count};
use crate::error::Error;
use crate::workspace::{Shared, Workspace, borrow};
use alloc_xv::{PageSource, Room, SlotState};
use compress::{Codec, CodecId, same_filled};
use core::ops::Deref;
use lock_api::RawMutex;

/// Bytes of a page that are asked for while its slot is looked for. A processor sees for itself that a page is read
/// from its beginning on, but only after some lines, each of which is waited for: 2 % of a put. More lines are in
/// the way of what the codec reads meanwhile.
const AHEAD: usize = 512;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Stores a page. On failure the page that was stored before stays readable.
    pub fn put(&self, index: u64, page: &[u8; PAGE]) -> Result<(), Error> {
        // The word of a same-filled page needs no workspace.
        let counters = self.begin_put(index, page)?;
        match same_filled(page) {
            Some(word) => self.put_any_word(index, word, counters),
            None => self.put_bytes(&mut borrow(&self.bank), index, page, counters),
        }
        .inspect_err(|_| count_failed_write(counters))
    }

    /// [`put`](Self::put) with a workspace of the caller's.
    pub fn put_with(
        &self,
        workspace: &mut Workspace<C, PAGE>,
        index: u64,
        page: &[u8; PAGE],
    ) -> Result<(), Error> {
        let counters = self.begin_put(index, page)?;
        match same_filled(page) {
            Some(word) => self.put_any_word(index, word, counters),
            None => self.put_bytes(workspace, index, page, counters),
        }
        .inspect_err(|_| count_failed_write(counters))
    }

    #[inline]
    fn begin_put(&self, index: u64, page: &[u8; PAGE]) -> Result<&Counters, Error> {
        alloc_xv::prefetch(page.get(..AHEAD).unwrap_or(page));
        self.begin(index)
    }

    #[inline]
    fn put_any_word(&self, index: u64, word: u64, counters: &Counters) -> Result<(), Error> {
        match self.put_word(index, word, counters) {
            Ok(true) => Ok(()),
            Ok(false) => self.put_word_over(index, word, counters),
            Err(error) => Err(error),
        }
    }

    /// Puts a same-filled page; false if nothing was done, because the slot has a link.
    #[inline(never)]
    fn put_word(&self, index: u64, word: u64, counters: &Counters) -> Result<bool, Error> {
        let old = match word_to_value(word) {
            Some(value) => match self.slots.set_value_unless(index, value, is_link)? {
                old if is_link(old) => return Ok(false),
                old => old,
            },
            None => {
                let bytes = word.to_le_bytes();
                let checked = self.config.checksum;
                let sum = checksum_if(checked, index, &bytes);
                let sum = sum.as_ref().map_or(&[][..], |sum| sum);
                let tag = Stored::Word { checked }.tag();
                let size = bytes.len() + sum.len();
                self.slots.store_with(index, tag, size, |old, filling| {
                    self.forget(index, counters, old);
                    filling.write(&bytes);
                    filling.write(sum);
                })?;
                count(&counters.word_objects);
                SlotState::Empty
            }
        };
        count(&counters.writes);
        count(&counters.same_pages);
        self.forget(index, counters, old);
        Ok(true)
    }

    /// Puts a word over what a slot shares with others: while it is held, so that what it lets go of
    /// is this page's.
    #[cold]
    #[inline(never)]
    fn put_word_over(&self, index: u64, word: u64, counters: &Counters) -> Result<(), Error> {
        // It was one, so it is one.
        let value = word_to_value(word).unwrap_or(0);
        let mut slot = self.slots.lock(index)?;
        let old = slot.state();
        slot.set_value(value)?;
        self.forget(index, counters, old);
        count(&counters.writes);
        count(&counters.same_pages);
        Ok(())
    }

    #[inline(never)]
    fn put_bytes(
        &self,
        workspace: &mut Workspace<C, PAGE>,
        index: u64,
        page: &[u8; PAGE],
        counters: &Counters,
    ) -> Result<(), Error> {
        if let Some(room) = self.slots.reserve(index, self.put_max) {
            return self.put_into(room, workspace, index, page, counters);
        }
        self.slots.prefetch_store(index);
        let (tag, stored) = self.encode(&mut workspace.codec, &mut workspace.stream, page)?;
        let sum = checksum_if(self.config.checksum, index, stored);
        let sum = sum.as_ref().map_or(&[][..], |sum| sum);
        let size = stored.len() + sum.len();
        self.slots.store_with(index, tag, size, |old, filling| {
            // Before the bytes are written: an atomic addition waits for the stores before it, and
            // these go to memory that is in no cache.
            count(&counters.writes);
            remember::<PAGE>(counters, tag, stored.len());
            self.forget(index, counters, old);
            filling.write(stored);
            filling.write(sum);
        })?;
        Ok(())
    }

    /// Compresses a page to where it will lie. The codec's stores to memory that is in no cache are done while it goes
    /// on; copying the bytes there afterwards costs 100 ns more.
    #[inline]
    fn put_into(
        &self,
        mut room: Room<'_, S, L, ARENAS>,
        workspace: &mut Workspace<C, PAGE>,
        index: u64,
        page: &[u8; PAGE],
        counters: &Counters,
    ) -> Result<(), Error> {
        let checked = self.config.checksum;
        let out = room.bytes();
        let len = self.codec.compress(&mut workspace.codec, page, out)?;
        let (codec, len) = if stays_raw::<PAGE>(len) {
            out[..PAGE].copy_from_slice(page);
            (CodecId::Raw, PAGE)
        } else {
            (self.codec.id(), len)
        };
        let mut size = len;
        if checked {
            size += CHECKSUM_LEN;
            let (stored, rest) = out.split_at_mut(len);
            rest[..CHECKSUM_LEN].copy_from_slice(&checksum(index, stored));
        }
        let tag = Stored::Page { codec, checked }.tag();
        room.commit(tag, size, |old| {
            count(&counters.writes);
            remember::<PAGE>(counters, tag, len);
            self.forget(index, counters, old);
        })?;
        Ok(())
    }

    /// Compresses a page; what is to be stored is either in `stream` or the page itself.
    pub(crate) fn encode<'b>(
        &self,
        codec: &mut C::Workspace,
        stream: &'b mut [[u8; PAGE]; 2],
        page: &'b [u8; PAGE],
    ) -> Result<(u16, &'b [u8]), Error> {
        let out = stream.as_flattened_mut();
        let len = self.codec.compress(codec, page, out)?;
        let (codec, stored) = shorter(self.codec.id(), out.get(..len), page);
        let checked = self.config.checksum;
        Ok((Stored::Page { codec, checked }.tag(), stored))
    }
}

/// What is to be stored of a page: its stream, or the page itself where that takes hardly more.
#[inline]
pub(crate) fn shorter<'b, const PAGE: usize>(
    codec: CodecId,
    stream: Option<&'b [u8]>,
    page: &'b [u8; PAGE],
) -> (CodecId, &'b [u8]) {
    match stream {
        Some(stream) if !stays_raw::<PAGE>(stream.len()) => (codec, stream),
        _ => (CodecId::Raw, page),
    }
}
