//! An object as its owner sees it: one piece of memory for each page it touches, or fewer where
//! frames happen to be neighbours.

use crate::entry::Object;
use crate::frames::Frames;
use crate::source::PageSource;
use crate::space::Space;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

/// Most pieces: a 64 KiB object and its owner's trailer, at any place, over 4 KiB pages.
pub const FRAGMENTS_MAX: usize = 18;

/// Addresses of an object's pieces. Whoever has one holds the object's entry, or is about to
/// fill a block that no entry shows yet: so nobody else writes there, and nothing moves.
pub(crate) struct Parts<'c> {
    pieces: [(NonNull<u8>, u32); FRAGMENTS_MAX],
    count: usize,
    pool: PhantomData<&'c ()>,
}

impl<'c> Parts<'c> {
    /// Looks the pages of an object up. Under the arena's lock.
    pub(crate) fn resolve<S: PageSource>(
        space: &Space,
        frames: Frames<'c, S>,
        object: Object,
    ) -> Self {
        let mut parts = Self {
            pieces: [(NonNull::dangling(), 0); FRAGMENTS_MAX],
            count: 0,
            pool: PhantomData,
        };
        let page_len = Space::page_granules::<S>();
        let (mut offset, mut left) = (object.offset + 1, object.size);
        while left > 0 && parts.count < FRAGMENTS_MAX {
            let (frame, byte) = space.locate(frames, offset);
            let room = page_len - offset % page_len;
            let len = left.min(room * 4);
            parts.push(frames.byte(frame, byte), len);
            offset += room;
            left -= len;
        }
        parts
    }

    fn push(&mut self, start: NonNull<u8>, len: u32) {
        if let Some((last, last_len)) = self
            .count
            .checked_sub(1)
            .and_then(|i| self.pieces.get_mut(i))
        {
            if last.as_ptr().wrapping_add(*last_len as usize) == start.as_ptr() {
                *last_len += len;
                return;
            }
        }
        if let Some(piece) = self.pieces.get_mut(self.count) {
            *piece = (start, len);
            self.count += 1;
        }
    }

    fn pieces(&self) -> &[(NonNull<u8>, u32)] {
        self.pieces.get(..self.count).unwrap_or(&[])
    }

    /// The pieces, to read.
    pub(crate) fn fragments(&self) -> Fragments<'_> {
        let mut list: [&[u8]; FRAGMENTS_MAX] = [&[]; FRAGMENTS_MAX];
        for (slot, &(start, len)) in list.iter_mut().zip(self.pieces()) {
            // SAFETY: 1. the piece is payload of the object, inside taken frames (neighbouring
            // ones where pieces were joined, so one range of the source's memory); 2. this
            // thread holds the object's entry while `self` lives, so nobody writes there.
            *slot = unsafe { core::slice::from_raw_parts(start.as_ptr(), len as usize) };
        }
        Fragments {
            list,
            count: self.count,
        }
    }

    /// Copies `parts`, one after the other, into the object from its byte `skip` on.
    /// What does not fit is left out.
    pub(crate) fn write(&mut self, mut skip: usize, parts: &[&[u8]]) {
        let mut pieces = self.pieces().iter();
        let mut piece: (NonNull<u8>, usize) = (NonNull::dangling(), 0);
        for mut part in parts.iter().copied() {
            while !part.is_empty() {
                if piece.1 <= skip {
                    skip -= piece.1;
                    match pieces.next() {
                        Some(&(start, len)) => piece = (start, len as usize),
                        None => return,
                    }
                    continue;
                }
                let len = part.len().min(piece.1 - skip);
                // SAFETY: `skip + len` is at most the piece's length, so the bytes are payload
                // of the object; this thread holds its entry, and `part` is somebody's
                // reference, so it does not overlap them.
                unsafe {
                    let to = piece.0.add(skip);
                    core::ptr::copy_nonoverlapping(part.as_ptr(), to.as_ptr(), len);
                    piece = (to.add(len), piece.1 - skip - len);
                }
                skip = 0;
                part = &part[len..];
            }
        }
    }

    /// Clears the object.
    pub(crate) fn clear(&mut self) {
        for &(start, len) in self.pieces() {
            // SAFETY: as in `write`.
            unsafe { start.write_bytes(0, len as usize) };
        }
    }
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
