//! An object as its owner sees it: one piece of memory for each page it touches, or fewer where
//! frames happen to be neighbours.
#![allow(unsafe_code)]

use crate::entry::Object;
use crate::frames::Frames;
use crate::source::PageSource;
use crate::space::Space;
use core::marker::PhantomData;
use core::ops::Deref;

/// Most pieces: a 64 KiB object and its owner's trailer, at any place, over 4 KiB pages.
pub const FRAGMENTS_MAX: usize = 18;

/// Pieces that are kept at hand: an object smaller than a page has no more.
const AT_HAND: usize = 2;

/// One piece of an object: an address and bytes.
type Piece = (*mut u8, u32);

/// Addresses of an object's pieces. Whoever has one holds the object's entry, or is about to
/// fill a block that no entry shows yet: so nobody else writes there, and nothing moves.
pub(crate) struct Parts<'c> {
    at_hand: [Piece; AT_HAND],
    count: u32,
    /// Of an object with more pieces: the granule and the bytes that follow those at hand.
    rest: (u32, u32),
    pool: PhantomData<&'c ()>,
}

/// Looks up pieces that are not at hand: takes the arena's lock.
pub(crate) trait Resolve {
    /// Up to `FRAGMENTS_MAX` pieces of the `bytes` bytes from granule `offset` on.
    fn resolve(&self, arena: usize, offset: u32, bytes: u32, push: &mut dyn FnMut(Piece));
}

/// Calls `push` for the pieces of a range, joined where frames are neighbours, until it says
/// that it wants no more; returns what is left of the range.
fn pieces_of<S: PageSource>(
    space: &Space,
    frames: Frames<'_, S>,
    (mut offset, mut left): (u32, u32),
    mut push: impl FnMut(Piece) -> bool,
) -> (u32, u32) {
    let page_len = Space::page_granules::<S>();
    while left > 0 {
        let start = (offset, left);
        let (page, byte) = space.locate(frames, offset);
        let first = page.byte::<S>(byte);
        let mut len = 0;
        loop {
            let room = page_len - offset % page_len;
            let part = left.min(room * 4);
            len += part;
            offset += room;
            left -= part;
            if left == 0 {
                break;
            }
            let (page, byte) = space.locate(frames, offset);
            if first.wrapping_add(len as usize) != page.byte::<S>(byte) {
                break;
            }
        }
        if !push((first, len)) {
            return start;
        }
    }
    (offset, 0)
}

impl<'c> Parts<'c> {
    /// Looks the pages of an object up. Under the arena's lock.
    #[inline]
    pub(crate) fn resolve<S: PageSource>(
        space: &Space,
        frames: Frames<'c, S>,
        object: Object,
    ) -> Self {
        if S::WINDOWS {
            let piece = (space.window.base.granule(object.offset + 1), object.size);
            return Self::one(piece);
        }
        let page_len = Space::page_granules::<S>();
        let start = object.offset + 1;
        let room = (page_len - start % page_len) * 4;
        if object.size <= room {
            // The common case: the object lies inside one page.
            let (page, byte) = space.locate(frames, start);
            return Self::one((page.byte::<S>(byte), object.size));
        }
        let mut at_hand = [(core::ptr::null_mut(), 0); AT_HAND];
        let mut count = 0;
        let rest = pieces_of(space, frames, (object.offset + 1, object.size), |piece| {
            match at_hand.get_mut(count) {
                Some(place) => *place = piece,
                None => return false,
            }
            count += 1;
            true
        });
        Self {
            at_hand,
            count: count as u32,
            rest,
            pool: PhantomData,
        }
    }

    #[inline]
    fn one(piece: Piece) -> Self {
        Self {
            at_hand: [piece, (core::ptr::null_mut(), 0)],
            count: 1,
            rest: (0, 0),
            pool: PhantomData,
        }
    }

    /// Pieces of a range that lie behind those at hand. Under the arena's lock.
    pub(crate) fn resolve_rest<S: PageSource>(
        space: &Space,
        frames: Frames<'_, S>,
        range: (u32, u32),
        push: &mut dyn FnMut(Piece),
    ) {
        pieces_of(space, frames, range, |piece| {
            push(piece);
            true
        });
    }

    /// Calls `each` for every piece, in order.
    fn for_each(&self, (pool, arena): (&dyn Resolve, usize), mut each: impl FnMut(Piece)) {
        for &piece in self.at_hand.iter().take(self.count as usize) {
            each(piece);
        }
        if self.rest.1 > 0 {
            pool.resolve(arena, self.rest.0, self.rest.1, &mut each);
        }
    }

    /// Asks for the object's cache lines, so that they arrive while something else is done.
    #[inline]
    pub(crate) fn prefetch(&self) {
        for &(start, len) in self.at_hand.iter().take(self.count as usize) {
            prefetch_lines::<false>(start, len as usize);
        }
    }

    /// The object's bytes, if they are in one piece.
    #[inline]
    pub(crate) fn contiguous(&self) -> Option<&[u8]> {
        if self.count != 1 {
            return None;
        }
        let (start, len) = self.at_hand[0];
        // SAFETY: as in `fragments`.
        Some(unsafe { core::slice::from_raw_parts(start, len as usize) })
    }

    /// The object's bytes, to write; none if they are in several pieces.
    #[inline]
    pub(crate) fn contiguous_mut(&mut self) -> &mut [u8] {
        if self.count != 1 {
            return &mut [];
        }
        let (start, len) = self.at_hand[0];
        // SAFETY: 1. the piece is payload of a block that no entry shows yet, inside taken frames of a window; 2. nobody
        // else has this block, nothing moves it, and the frames stay, until whoever has `self` lets it go.
        unsafe { core::slice::from_raw_parts_mut(start, len as usize) }
    }

    /// The pieces, to read.
    pub(crate) fn fragments(&self, pool: (&dyn Resolve, usize)) -> Fragments<'_> {
        let mut fragments = Fragments::EMPTY;
        self.fragments_into(pool, &mut fragments);
        fragments
    }

    /// The same, into a list of the caller's, which is empty.
    #[inline(never)]
    pub(crate) fn fragments_into<'f>(
        &'f self,
        pool: (&dyn Resolve, usize),
        fragments: &mut Fragments<'f>,
    ) {
        self.for_each(pool, |(start, len)| {
            if let Some(slot) = fragments.list.get_mut(fragments.count) {
                // SAFETY: 1. the piece is payload of the object, inside taken frames
                // (neighbouring ones where pieces were joined, so one range of the source's
                // memory); 2. this thread holds the object's entry while `self` lives, so
                // nobody writes there and no frame goes away.
                *slot = unsafe { core::slice::from_raw_parts(start, len as usize) };
                fragments.count += 1;
            }
        });
    }

    /// Copies the object's bytes from `skip` on into `out`; returns how many there were.
    #[inline(never)]
    pub(crate) fn copy_to(
        &self,
        pool: (&dyn Resolve, usize),
        mut skip: usize,
        out: &mut [u8],
    ) -> usize {
        let mut done = 0;
        self.for_each(pool, |(start, len)| {
            // SAFETY: as in `fragments`.
            let piece = unsafe { core::slice::from_raw_parts(start, len as usize) };
            let rest = piece.get(skip..).unwrap_or(&[]);
            skip = skip.saturating_sub(piece.len());
            let room = out.get_mut(done..).unwrap_or_default();
            let len = rest.len().min(room.len());
            room[..len].copy_from_slice(&rest[..len]);
            done += len;
        });
        done
    }

    /// Copies `parts`, one after the other, into the object from its byte `skip` on.
    /// What does not fit is left out.
    #[inline]
    pub(crate) fn write(&mut self, pool: (&dyn Resolve, usize), mut skip: usize, parts: &[&[u8]]) {
        let mut parts = parts.iter().copied();
        let mut part: &[u8] = &[];
        self.for_each(pool, |(start, len)| {
            let (mut start, mut len) = (start, len as usize);
            let skipped = skip.min(len);
            skip -= skipped;
            len -= skipped;
            // SAFETY: `skipped` is at most the piece's length.
            start = unsafe { start.add(skipped) };
            while len > 0 {
                while part.is_empty() {
                    match parts.next() {
                        Some(next) => part = next,
                        None => return,
                    }
                }
                let (now, later) = part.split_at(part.len().min(len));
                // SAFETY: `now` fits into what is left of the piece, which is payload of the
                // object; this thread holds its entry, and `now` is somebody's reference, so
                // it does not overlap it.
                unsafe {
                    core::ptr::copy_nonoverlapping(now.as_ptr(), start, now.len());
                    start = start.add(now.len());
                }
                len -= now.len();
                part = later;
            }
        });
    }

    /// Copies `bytes` into the object from its byte `skip` on; what does not fit is left out.
    #[inline]
    pub(crate) fn write_one(&mut self, pool: (&dyn Resolve, usize), skip: usize, bytes: &[u8]) {
        let (start, len) = self.at_hand[0];
        let fits = (len as usize)
            .checked_sub(skip)
            .is_some_and(|room| bytes.len() <= room);
        if self.count != 1 || !fits {
            return self.write_pieces(pool, skip, bytes);
        }
        // SAFETY: the bytes fit into the one piece behind `skip`, which is payload of the object;
        // this thread holds its entry, and `bytes` is somebody's reference, so it does not
        // overlap it.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(skip), bytes.len()) };
    }

    #[cold]
    #[inline(never)]
    fn write_pieces(&mut self, pool: (&dyn Resolve, usize), skip: usize, bytes: &[u8]) {
        self.write(pool, skip, &[bytes]);
    }

    /// Clears the object.
    pub(crate) fn clear(&mut self, pool: (&dyn Resolve, usize)) {
        self.for_each(pool, |(start, len)| {
            // SAFETY: the piece is payload of an object that this thread holds.
            unsafe { start.write_bytes(0, len as usize) };
        });
    }
}

/// Bytes of a cache line; a wrong guess costs a few instructions.
const CACHE_LINE: usize = 64;

/// Asks for memory that will be written.
#[inline]
pub(crate) fn prefetch_to_write(start: *const u8, bytes: usize) {
    prefetch_lines::<true>(start, bytes);
}

/// Asks the processor for bytes that will be read soon, so that they arrive while something else is
/// done: one instruction for each 64 of them. It has no other effect, and none at all but on x86-64.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    prefetch_lines::<false>(bytes.as_ptr(), bytes.len());
}

#[inline]
fn prefetch_lines<const TO_WRITE: bool>(start: *const u8, bytes: usize) {
    let mut line = 0;
    while line < bytes {
        prefetch_line::<TO_WRITE>(start.wrapping_add(line));
        line += CACHE_LINE;
    }
}

/// Asks for one line. By the instruction itself: the function for it in `core::arch` is a call for each line
/// where code is made without SSE, as in a kernel.
#[inline]
fn prefetch_line<const TO_WRITE: bool>(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: prefetching reads nothing and faults nowhere; processors that do not know `prefetchw` do nothing.
    unsafe {
        use core::arch::asm;
        if TO_WRITE {
            asm!("prefetchw [{}]", in(reg) address.addr(), options(nostack, preserves_flags, nomem));
        } else {
            asm!("prefetcht0 [{}]", in(reg) address.addr(), options(nostack, preserves_flags, nomem));
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// An object's bytes as one to [`FRAGMENTS_MAX`] slices, in order.
///
/// An object smaller than a page has at most two. While a value of this type lives, the object
/// is held: it is not moved, changed or freed.
#[derive(Clone, Copy, Debug)]
pub struct Fragments<'a> {
    list: [&'a [u8]; FRAGMENTS_MAX],
    count: usize,
}

impl<'a> Fragments<'a> {
    pub(crate) const EMPTY: Self = Self {
        list: [&[]; FRAGMENTS_MAX],
        count: 0,
    };

    /// Bytes in all.
    pub fn size(&self) -> usize {
        self.iter().map(|fragment| fragment.len()).sum()
    }

    /// Copies the object's bytes from `skip` on into `out`; returns how many there were.
    pub fn copy_to(&self, mut skip: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        for &fragment in self.iter() {
            let from = skip.min(fragment.len());
            skip -= from;
            let rest = &fragment[from..];
            let len = rest.len().min(out.len() - done);
            out[done..done + len].copy_from_slice(&rest[..len]);
            done += len;
        }
        done
    }

    /// Cuts the first `skip` bytes off.
    pub fn skip(&mut self, mut skip: usize) {
        for fragment in self.list.iter_mut().take(self.count) {
            let cut = skip.min(fragment.len());
            *fragment = &fragment[cut..];
            skip -= cut;
        }
        // Pieces that were cut away whole are at the front.
        let gone = self
            .iter()
            .take_while(|fragment| fragment.is_empty())
            .count();
        self.list.copy_within(gone..self.count, 0);
        self.count -= gone;
    }
}

impl<'a> Deref for Fragments<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &Self::Target {
        self.list.get(..self.count).unwrap_or(&[])
    }
}
