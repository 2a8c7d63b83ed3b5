//! Parts of a page, in sectors of 512 bytes, as a block device needs them.

use crate::cache::{Cache, checksum_if, remember};
use crate::content::{Stored, word_to_value};
use crate::counters::{Counters, count};
use crate::error::Error;
use crate::workspace::{Shared, borrow};
use alloc_xv::{PageSource, Slot};
use compress::{Codec, same_filled};
use core::ops::Deref;
use lock_api::RawMutex;

/// Bytes of a sector.
pub const SECTOR_SIZE: usize = 512;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Reads the bytes of a page from `offset` on into all of `out`: whole sectors.
    pub fn read(&self, index: u64, offset: usize, out: &mut [u8]) -> Result<(), Error> {
        let counters = self.begin(index)?;
        check_range::<PAGE>(counters, offset, out.len())?;
        count(&counters.reads);
        // Before the slot: see `borrow`.
        let mut workspace = borrow::<C, W, PAGE>(self.bank());
        let workspace = &mut *workspace;
        let Some(mut slot) = self.slots.get(index)? else {
            out.fill(0);
            return Ok(());
        };
        let page = &mut workspace.page;
        self.decode(
            &mut workspace.codec,
            &mut workspace.stream,
            index,
            &slot,
            page,
        )
        .inspect_err(|error| counters.failed_read(*error))?;
        self.touch_age(&mut slot);
        drop(slot);
        if let Some(part) = page.get(offset..offset + out.len()) {
            out.copy_from_slice(part);
        }
        Ok(())
    }

    /// Writes `bytes` into a page from `offset` on: whole sectors. Others see the page as it
    /// was before or after, and on failure as it was before.
    pub fn write(&self, index: u64, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        if let (0, Ok(page)) = (offset, bytes.try_into()) {
            return self.put(index, page);
        }
        let counters = self.begin(index)?;
        check_range::<PAGE>(counters, offset, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        count(&counters.writes);
        self.modify(index, offset, bytes, counters)
            .inspect_err(|error| counters.failed_write(*error))
    }

    /// Reads, changes and stores a page while its slot is held. Not in the frame of who puts whole pages.
    #[inline(never)]
    fn modify(
        &self,
        index: u64,
        offset: usize,
        bytes: &[u8],
        counters: &Counters,
    ) -> Result<(), Error> {
        // Before the slot: see `borrow`.
        let mut workspace = borrow::<C, W, PAGE>(self.bank());
        let workspace = &mut *workspace;
        let mut slot = self.slots.lock(index)?;
        self.decode(
            &mut workspace.codec,
            &mut workspace.stream,
            index,
            &slot,
            &mut workspace.page,
        )?;
        if let Some(part) = workspace.page.get_mut(offset..offset + bytes.len()) {
            part.copy_from_slice(bytes);
        }
        let old = slot.state();
        match same_filled(&workspace.page) {
            Some(word) => self.store_word(&mut slot, index, word, counters)?,
            None => {
                let (tag, stored) =
                    self.encode(&mut workspace.codec, &mut workspace.stream, &workspace.page)?;
                let sum = checksum_if(self.keeps_checksums(), index, stored);
                slot.store(tag, &[stored, sum.as_ref().map_or(&[], |sum| sum)])?;
                remember::<PAGE>(counters, tag, stored.len());
            }
        }
        self.forget(index, counters, old);
        Ok(())
    }

    fn store_word(
        &self,
        slot: &mut Slot<'_, S, L, ARENAS>,
        index: u64,
        word: u64,
        counters: &Counters,
    ) -> Result<(), Error> {
        match word_to_value(word) {
            Some(value) => slot.set_value(value)?,
            None => {
                let bytes = word.to_le_bytes();
                let checked = self.keeps_checksums();
                let sum = checksum_if(checked, index, &bytes);
                let sum = sum.as_ref().map_or(&[][..], |sum| sum);
                slot.store(Stored::Word { checked }.tag(), &[&bytes, sum])?;
                count(&counters.word_objects);
            }
        }
        count(&counters.same_pages);
        Ok(())
    }
}

fn check_range<const PAGE: usize>(
    counters: &Counters,
    offset: usize,
    len: usize,
) -> Result<(), Error> {
    let whole = offset.is_multiple_of(SECTOR_SIZE) && len.is_multiple_of(SECTOR_SIZE);
    if whole && offset.checked_add(len).is_some_and(|end| end <= PAGE) {
        return Ok(());
    }
    count(&counters.invalid_io);
    Err(Error::BadRange {
        offset,
        len,
        page_size: PAGE,
    })
}
