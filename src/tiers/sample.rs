//! Samples of cold pages, for who makes a dictionary of them.

use super::policy::Policy;
use super::worker::{Form, Seen, Worker};
use crate::cache::Cache;
use crate::error::Error;
use crate::workspace::Shared;
use alloc_xv::{PageSource, Touch};
use compress::{Codec, CodecId};
use core::ops::Deref;
use lock_api::RawMutex;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Names the pages from `from` on that are cold by `policy` and denser than they are put or could become so, of
    /// one leaf of slots. Returns where to go on; `None` behind the last one.
    ///
    /// A part of the cache is locked meanwhile: `found` must be quick, and must not use the cache.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a page that the device does not have.
    pub fn cold_pages(
        &self,
        policy: &Policy,
        from: u64,
        found: &mut dyn FnMut(u64),
    ) -> Result<Option<u64>, Error> {
        let pages = self.pages();
        if from >= pages {
            return Err(Error::OutOfRange { index: from, pages });
        }
        let next = self.slots.visit_leaf(from, pages, |index, state| {
            let seen = Seen::of(state);
            let packs = match seen.form {
                // What no codec made smaller has nothing in common with anything.
                Form::Own(CodecId::Raw) => seen.life.rung() == 0,
                Form::Own(_) | Form::Member => true,
                Form::None | Form::Shared(_) | Form::Backed(_) => false,
            };
            if packs && policy.is_cold(seen.life) {
                found(index);
            }
            Touch::Keep
        })?;
        Ok(Some(next).filter(|&next| next < pages))
    }

    /// Reads a page, which is neither a read nor an access for anybody else. False, and nothing read, for one that is
    /// not there, is one word, or is in the backing store.
    ///
    /// # Errors
    /// [`Error::Busy`] while another worker is at work.
    pub fn sample(
        &self,
        worker: &mut Worker<C, PAGE>,
        index: u64,
        page: &mut [u8; PAGE],
    ) -> Result<bool, Error> {
        let _one = self.tiers.enter()?;
        if index >= self.pages() {
            let pages = self.pages();
            return Err(Error::OutOfRange { index, pages });
        }
        let seen = self.look(&mut worker.space, &mut worker.work, index, page);
        self.note(index, |life| life);
        Ok(seen.is_some())
    }
}
