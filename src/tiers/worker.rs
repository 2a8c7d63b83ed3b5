//! [`Worker`]: what the one who changes pages' forms needs, and how it looks at a page.

use super::counters::Work;
use super::layout::{UNIT_LEN_MAX, UNIT_PAGES_MAX};
use super::policy::Progress;
use super::run::Run;
use crate::cache::Cache;
use crate::content::{Life, Link, Stored};
use crate::error::Error;
use crate::workspace::{Shared, Workspace};
use alloc_xv::{PageSource, Slot, SlotState, Touch};
use compress::Codec;
use core::ops::{Deref, Range};
use lock_api::RawMutex;

/// Room for the stream of a unit that does not shrink: LZ4 wants a tenth more.
const STREAM_LEN: usize = UNIT_LEN_MAX + UNIT_LEN_MAX / 8;

/// Buffers and notes of the one who changes pages' forms in the background: about 150 KiB and a
/// codec's workspace.
///
/// A cache has one worker at a time; what a second one asks for is [`Error::Busy`]. A worker that goes to
/// another cache is [restarted](Self::restart).
pub struct Worker<C: Codec, const PAGE: usize = 4096> {
    pub(crate) space: Workspace<C, PAGE>,
    /// Pages of a unit, in one piece.
    pub(crate) unit: [u8; UNIT_LEN_MAX],
    /// What a codec makes of them.
    pub(crate) stream: [u8; STREAM_LEN],
    /// A page to compare with, and the page compared, in one piece.
    pub(crate) both: [[u8; PAGE]; 2],
    /// What was done since the last look.
    pub(crate) work: Work,
    pub(crate) progress: Progress,
    pub(crate) run: Run,
    /// Where a free number of a shared page is looked for next, and of a patch.
    pub(crate) next_shared: [u32; 2],
}

impl<C: Codec, const PAGE: usize> Worker<C, PAGE> {
    /// A worker around a codec's workspace, which must be one for the codec's denser ones too.
    ///
    /// `const`, so that it can lie in a `static` and need no stack.
    pub const fn new(codec: C::Workspace) -> Self {
        Self {
            space: Workspace::new(codec),
            unit: [0; UNIT_LEN_MAX],
            stream: [0; STREAM_LEN],
            both: [[0; PAGE]; 2],
            work: Work {
                leaves: 0,
                read: 0,
                compressed: 0,
                changed: 0,
                no_space: 0,
            },
            progress: Progress::new(),
            run: Run::new(),
            next_shared: [0; 2],
        }
    }

    /// A worker that goes on where another was, whose buffers are gone.
    pub const fn with_notes(codec: C::Workspace, notes: Notes) -> Self {
        let mut worker = Self::new(codec);
        worker.progress = notes.progress;
        worker.run = notes.run;
        worker.next_shared = notes.next_shared;
        worker
    }

    /// What another worker needs to go on where this one is.
    pub const fn notes(&self) -> Notes {
        Notes {
            progress: self.progress,
            run: self.run,
            next_shared: self.next_shared,
        }
    }

    /// Whether [`Cache::tick`] leaves cold pages as they are until it is said that it need not any more. Where memory
    /// is short, they become denser all the same.
    pub const fn wait(&mut self, waits: bool) {
        self.progress.waits = waits;
    }

    /// Forgets where it was, for another cache: what a worker has noted of one is nothing for the next.
    pub fn restart(&mut self) {
        let notes = Notes::new();
        self.work = Work::default();
        self.progress = notes.progress;
        self.run = notes.run;
        self.next_shared = notes.next_shared;
    }

    /// What was done since the last call.
    pub fn take_work(&mut self) -> Work {
        core::mem::take(&mut self.work)
    }
}

/// How far a worker is: all of it but the buffers, which may go while there is nothing to do.
#[derive(Clone, Copy, Debug)]
pub struct Notes {
    pub(crate) progress: Progress,
    pub(crate) run: Run,
    pub(crate) next_shared: [u32; 2],
}

impl Notes {
    /// Of a worker that has done nothing yet.
    pub const fn new() -> Self {
        Self {
            progress: Progress::new(),
            run: Run::new(),
            next_shared: [0; 2],
        }
    }
}

impl Default for Notes {
    fn default() -> Self {
        Self::new()
    }
}

/// What the info slot of a cluster says: whose pages are in it, and who still wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClusterInfo {
    pub(crate) members: u16,
    pub(crate) alive: u16,
}

impl ClusterInfo {
    pub(crate) fn of(state: SlotState) -> Option<Self> {
        match state {
            SlotState::Value(value) => Some(Self {
                members: value as u16,
                alive: (value >> 16) as u16,
            }),
            _ => None,
        }
    }

    pub(crate) fn value(self) -> u64 {
        u64::from(self.alive) << 16 | u64::from(self.members)
    }
}

/// A page as the worker found it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) form: Form,
    pub(crate) life: Life,
    /// Bytes that its own object takes, if it has one.
    pub(crate) size: usize,
}

/// How a page is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Not at all, or as a word.
    None,
    /// An object of its own.
    Own(compress::CodecId),
    /// In a cluster.
    Member,
    /// In a shared object.
    Shared(u32),
    /// In the backing store.
    Backed(u64),
}

impl Seen {
    pub(crate) fn of(state: SlotState) -> Self {
        match state {
            SlotState::Empty => Self::NONE,
            SlotState::Value(value) => match Link::of(value) {
                None => Self::NONE,
                Some(link) => Self {
                    form: match link {
                        Link::Cluster(..) => Form::Member,
                        Link::Shared(number, _) => Form::Shared(number),
                        Link::Backed(token, _) => Form::Backed(token),
                    },
                    life: link.life(),
                    size: 0,
                },
            },
            SlotState::Object { size, tag } => match Stored::from_tag(tag) {
                Some(Stored::Page { codec, .. }) => Self {
                    form: Form::Own(codec),
                    life: Life::of_tag(tag),
                    size,
                },
                _ => Self::NONE,
            },
        }
    }

    pub(crate) const NONE: Self = Self {
        form: Form::None,
        life: Life::NEW,
        size: 0,
    };
}

/// A slot that is held, whose page the worker has read, and what it says.
pub(crate) type MarkedSlot<'c, S, L, const ARENAS: usize> = (Slot<'c, S, L, ARENAS>, Seen);

/// Changes what a slot says of its page's past. It is held, and holds an object or a link.
pub(crate) fn set_life<S: PageSource, L: RawMutex, const ARENAS: usize>(
    slot: &mut Slot<'_, S, L, ARENAS>,
    life: Life,
) {
    // Neither can fail: an object keeps being one, and a value too.
    match slot.state() {
        SlotState::Object { tag, .. } => {
            let _ = slot.set_tag(life.on(tag));
        }
        SlotState::Value(value) => {
            if let Some(link) = Link::of(value) {
                let _ = slot.set_value(link.with_life(life).value());
            }
        }
        SlotState::Empty => {}
    }
}

/// The same in passing.
pub(crate) fn with_life(state: SlotState, life: Life) -> Touch {
    match state {
        SlotState::Object { tag, .. } => Touch::Tag(life.on(tag)),
        SlotState::Value(value) => match Link::of(value) {
            Some(link @ (Link::Cluster(..) | Link::Shared(..))) => {
                Touch::Value(link.with_life(life).value())
            }
            _ => Touch::Keep,
        },
        SlotState::Empty => Touch::Keep,
    }
}

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// What the slots of a unit hold now.
    pub(crate) fn survey(&self, unit: u64) -> [Seen; UNIT_PAGES_MAX] {
        let mut seen = [Seen::NONE; UNIT_PAGES_MAX];
        let Range { start: first, end } = self.layout.keys_of(unit);
        let mut key = first;
        while key < end {
            let next = self.slots.visit_leaf(key, end, |key, state| {
                if let Some(place) = seen.get_mut((key - first) as usize) {
                    *place = Seen::of(state);
                }
                Touch::Keep
            });
            match next {
                Ok(next) if next > key => key = next,
                _ => break,
            }
        }
        seen
    }

    /// Reads a page for the worker and marks it. `None` if it has none that can be read here. Neither a
    /// read nor an access for anybody else.
    pub(crate) fn look(
        &self,
        space: &mut Workspace<C, PAGE>,
        work: &mut Work,
        index: u64,
        page: &mut [u8; PAGE],
    ) -> Option<Seen> {
        let mut slot = self.slots.get(index).ok()??;
        let seen = Seen::of(slot.state());
        if matches!(seen.form, Form::None | Form::Backed(_)) {
            return None;
        }
        work.read += 1;
        let (codec, stream) = (&mut space.codec, &mut space.stream);
        match self.layout.is_shared(index) {
            true => self.decode_at_shared(codec, stream, (index, index), &slot, page),
            false => self.decode(codec, stream, index, &slot, page),
        }
        .ok()?;
        set_life(&mut slot, seen.life.with_mark(true));
        Some(seen)
    }

    /// Holds the slot of a page that the worker has read, if it was not overwritten since.
    pub(crate) fn marked(&self, index: u64) -> Result<Option<MarkedSlot<'_, S, L, ARENAS>>, Error> {
        let Some(slot) = self.slots.get(index)? else {
            return Ok(None);
        };
        let seen = Seen::of(slot.state());
        Ok(seen.life.is_marked().then_some((slot, seen)))
    }

    /// Notes something about a page that the worker has read, and takes the mark off.
    pub(crate) fn note(&self, index: u64, note: impl FnOnce(Life) -> Life) {
        if let Ok(Some((mut slot, seen))) = self.marked(index) {
            set_life(&mut slot, note(seen.life).with_mark(false));
        }
    }
}
