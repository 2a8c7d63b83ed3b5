//! Which frames of a fixed range are free: a bitmap with a summary tree over it.
//!
//! ```text
//! level 2   [ 1 bit for each word of level 1: "all taken" ]
//! level 1   [ 1 bit for each word of level 0: "all taken" ]
//! level 0   [ 1 bit for each frame: "taken" ]
//! ```
//!
//! 64 bits a word, so four levels cover 2^24 frames and finding the lowest free frame reads one
//! word a level. Storage is the caller's, all zero for "all free", and is touched only where a
//! frame was taken, so that a big reservation costs nothing until it is used. The first words of
//! level 0 may stand in the map itself, so that few frames touch no storage at all; and where
//! nobody asks for a free frame, level 0 is all there is.
#![deny(unsafe_code)]

use bitvec::order::Lsb0;
use bitvec::slice::BitSlice;

/// Most levels: 64^5 frames are more than [`super::FrameId::LIMIT`].
const LEVELS_MAX: usize = 5;

/// See the module's text; the first `HEAD` words of level 0 are in the map.
pub(crate) struct FrameMap<'a, const HEAD: usize = 0> {
    head: [u64; HEAD],
    words: &'a mut [u64],
    /// First word of each level in `words`.
    level_start: [usize; LEVELS_MAX],
    levels: usize,
    frames: usize,
}

/// Words of storage that a map of `frames` frames needs.
pub(crate) const fn words_needed(frames: usize) -> usize {
    let mut total = 0;
    let mut bits = frames;
    loop {
        let words = bits.div_ceil(64);
        total += words;
        if words <= 1 {
            return total;
        }
        bits = words;
    }
}

impl<'a, const HEAD: usize> FrameMap<'a, HEAD> {
    /// A map over zeroed storage of at least [`words_needed`] words.
    pub(crate) fn new(words: &'a mut [u64], frames: usize) -> Option<Self> {
        if words.len() < words_needed(frames) || frames == 0 {
            return None;
        }
        let mut level_start = [0; LEVELS_MAX];
        let (mut levels, mut start, mut bits) = (0, 0, frames);
        while levels < LEVELS_MAX {
            let count = bits.div_ceil(64);
            level_start[levels] = start;
            levels += 1;
            start += count;
            if count == 1 {
                return Some(Self {
                    head: [0; HEAD],
                    words,
                    level_start,
                    levels,
                    frames,
                });
            }
            bits = count;
        }
        None
    }

    /// The same without the levels over the bitmap: [`lowest_free`](Self::lowest_free) finds
    /// nothing, and no storage is touched but the bits of frames that were taken.
    #[cfg(feature = "std")]
    pub(crate) fn without_search(words: &'a mut [u64], frames: usize) -> Option<Self> {
        let map = Self::new(words, frames)?;
        Some(Self { levels: 1, ..map })
    }

    /// Bytes of storage that were touched if no frame from `end` on was ever taken, in whole
    /// pages of `page` bytes.
    #[cfg(feature = "std")]
    pub(crate) fn touched_bytes(&self, end: usize, page: usize) -> usize {
        let mut pages = end.div_ceil(64).saturating_sub(HEAD) * 8;
        pages = pages.div_ceil(page);
        // A word of a level is touched when one below it is full.
        let mut words = end / 64;
        for _ in 1..self.levels {
            pages += (words.div_ceil(64) * 8).div_ceil(page);
            words /= 64;
        }
        pages * page
    }

    /// A word of level 0.
    #[inline]
    fn word(&self, index: usize) -> u64 {
        match self.head.get(index) {
            Some(&word) => word,
            None => self.words[index],
        }
    }

    #[inline]
    fn word_mut(&mut self, index: usize) -> &mut u64 {
        match self.head.get_mut(index) {
            Some(word) => word,
            None => &mut self.words[index],
        }
    }

    /// Frames in all.
    #[cfg(feature = "std")]
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// Whether the frame is taken; also true past the end.
    #[inline]
    pub(crate) fn is_taken(&self, frame: usize) -> bool {
        frame >= self.frames || self.word(frame / 64) >> (frame % 64) & 1 != 0
    }

    /// The lowest free frame.
    pub(crate) fn lowest_free(&self) -> Option<usize> {
        if self.levels == 1 && self.frames > 64 {
            return None;
        }
        let mut index = 0;
        for level in (0..self.levels).rev() {
            let word = match level {
                0 => self.word(index),
                _ => self.words[self.level_start[level] + index],
            };
            let bit = BitSlice::<u64, Lsb0>::from_element(&word).first_zero()?;
            index = index * 64 + bit;
        }
        (index < self.frames).then_some(index)
    }

    /// Marks a free frame as taken; false if it was not free.
    #[inline]
    pub(crate) fn set_taken(&mut self, frame: usize) -> bool {
        if frame >= self.frames {
            return false;
        }
        let (word, bit) = (self.word_mut(frame / 64), 1 << (frame % 64));
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        if *word == u64::MAX {
            self.set_full(frame / 64, true);
        }
        true
    }

    /// Marks a taken frame as free; false if it was not taken.
    #[inline]
    pub(crate) fn set_free(&mut self, frame: usize) -> bool {
        if frame >= self.frames {
            return false;
        }
        let (word, bit) = (self.word_mut(frame / 64), 1 << (frame % 64));
        let was = *word;
        if was & bit == 0 {
            return false;
        }
        *word = was & !bit;
        if was == u64::MAX {
            self.set_full(frame / 64, false);
        }
        true
    }

    /// Marks free frames from `first` on as taken, up to `count` and up to the first that is not
    /// free; returns how many.
    #[cfg(feature = "std")]
    pub(crate) fn set_taken_run(&mut self, first: usize, count: usize) -> usize {
        let end = first.saturating_add(count).min(self.frames);
        let mut frame = first;
        while frame < end {
            let (index, mask) = Self::part(frame, end);
            let word = self.word_mut(index);
            // What is free below the first taken frame of the part.
            let taken = *word & mask;
            let mask = mask & (taken & taken.wrapping_neg()).wrapping_sub(1);
            *word |= mask;
            let full = mask != 0 && *word == u64::MAX;
            frame += mask.count_ones() as usize;
            if full {
                self.set_full(index, true);
            }
            if taken != 0 {
                break;
            }
        }
        frame.saturating_sub(first)
    }

    /// Marks the `count` frames from `first` on as free; returns how many were taken.
    #[cfg(feature = "std")]
    pub(crate) fn set_free_run(&mut self, first: usize, count: usize) -> usize {
        let end = first.saturating_add(count).min(self.frames);
        let (mut frame, mut freed) = (first, 0);
        while frame < end {
            let (index, mask) = Self::part(frame, end);
            let word = self.word_mut(index);
            let was = *word;
            *word = was & !mask;
            freed += (was & mask).count_ones() as usize;
            if was == u64::MAX {
                self.set_full(index, false);
            }
            frame = (index + 1) * 64;
        }
        freed
    }

    /// How many of the `count` frames from `first` on are free before the first that is not.
    #[cfg(feature = "std")]
    pub(crate) fn free_run(&self, first: usize, count: usize) -> usize {
        let end = first.saturating_add(count).min(self.frames);
        let mut frame = first;
        while frame < end {
            let (index, mask) = Self::part(frame, end);
            let taken = self.word(index) & mask;
            if taken != 0 {
                frame = index * 64 + taken.trailing_zeros() as usize;
                break;
            }
            frame = (index + 1) * 64;
        }
        frame.min(end).saturating_sub(first)
    }

    /// The word of `frame`, and in it the bits of the frames from there to `end`.
    #[cfg(feature = "std")]
    fn part(frame: usize, end: usize) -> (usize, u64) {
        let (bit, len) = (frame % 64, (end - frame).min(64 - frame % 64));
        (frame / 64, u64::MAX >> (64 - len) << bit)
    }

    /// Word `index` of level 0 became full, or is full no longer: its bit, and the bits above as
    /// far as that changes them.
    #[cold]
    fn set_full(&mut self, mut index: usize, full: bool) {
        for level in 1..self.levels {
            let word = &mut self.words[self.level_start[level] + index / 64];
            let was_full = *word == u64::MAX;
            let bit = 1 << (index % 64);
            if full {
                *word |= bit;
            } else {
                *word &= !bit;
            }
            if was_full == (*word == u64::MAX) {
                return;
            }
            index /= 64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_lowest_free_frame_across_levels() {
        let frames = 64 * 64 + 70;
        let mut words = std::vec![0; words_needed(frames)];
        let mut map = FrameMap::<0>::new(&mut words, frames).unwrap();
        for expected in 0..frames {
            assert_eq!(map.lowest_free(), Some(expected));
            assert!(map.set_taken(expected));
            assert!(!map.set_taken(expected));
        }
        assert_eq!(map.lowest_free(), None);
        for frame in [4000, 64, 4160, 3] {
            assert!(map.set_free(frame));
            assert!(!map.set_free(frame));
        }
        for expected in [3, 64, 4000, 4160] {
            assert_eq!(map.lowest_free(), Some(expected));
            assert!(map.set_taken(expected));
        }
        assert_eq!(map.lowest_free(), None);
        assert!(!map.set_free(frames));
        assert!(map.is_taken(frames));
    }

    #[test]
    fn runs_stop_at_the_first_taken_frame_and_keep_the_levels() {
        let frames = 64 * 64 + 70;
        let mut words = std::vec![0; words_needed(frames)];
        let mut map = FrameMap::<0>::new(&mut words, frames).unwrap();
        assert!(map.set_taken(200));
        assert_eq!(map.set_taken_run(60, 300), 140);
        assert_eq!(map.set_taken_run(200, 3), 0);
        assert_eq!((map.free_run(0, 100), map.free_run(0, 50)), (60, 50));
        assert_eq!((map.free_run(60, 9), map.free_run(201, 128)), (0, 128));
        assert_eq!(map.set_taken_run(201, 64), 64);
        assert_eq!(map.set_taken_run(0, 60), 60);
        assert_eq!(map.lowest_free(), Some(265));
        assert_eq!(map.set_taken_run(265, usize::MAX), frames - 265);
        assert_eq!(map.lowest_free(), None);
        assert_eq!(map.set_free_run(63, 130), 130);
        assert_eq!(map.lowest_free(), Some(63));
        assert_eq!(map.set_free_run(60, 5), 3);
        assert_eq!(map.lowest_free(), Some(60));
        assert_eq!(map.set_taken_run(60, 133), 133);
        assert_eq!(map.lowest_free(), None);
        assert_eq!(map.set_taken_run(frames, 1), 0);
        assert_eq!(map.set_free_run(0, frames), frames);
        assert!(words.iter().all(|&word| word == 0));
    }

    #[test]
    fn the_first_words_may_stand_in_the_map_and_the_levels_be_left_out() {
        let frames = 64 * 64 + 70;
        let mut words = std::vec![0; words_needed(frames)];
        let mut map = FrameMap::<2>::new(&mut words, frames).unwrap();
        assert_eq!(map.set_taken_run(0, 300), 300);
        assert_eq!(map.lowest_free(), Some(300));
        assert_eq!(map.set_free_run(100, 50), 50);
        assert_eq!(map.lowest_free(), Some(100));
        assert_eq!((map.free_run(100, 99), map.free_run(127, 99)), (50, 23));
        assert!(map.set_free(300 - 1) && !map.is_taken(299) && map.is_taken(298));
        // One page of bits, a page of each level over them.
        assert_eq!(map.touched_bytes(63, 4096), 0);
        assert_eq!(map.touched_bytes(64, 4096), 4096);
        assert_eq!(map.touched_bytes(300, 4096), 2 * 4096);
        assert_eq!(map.touched_bytes(frames, 4096), 3 * 4096);
        assert!(words[..2].iter().all(|&word| word == 0));

        let mut words = std::vec![0; words_needed(frames)];
        let mut map = FrameMap::<2>::without_search(&mut words, frames).unwrap();
        assert_eq!(map.lowest_free(), None);
        assert_eq!(map.set_taken_run(0, frames), frames);
        assert_eq!(map.set_free_run(63, 130), 130);
        assert_eq!(map.touched_bytes(128, 4096), 0);
        assert_eq!(map.touched_bytes(frames, 4096), 4096);
        assert!(words[frames.div_ceil(64)..].iter().all(|&word| word == 0));
    }

    #[test]
    fn too_little_storage_is_refused() {
        let mut words = std::vec![0; words_needed(1000) - 1];
        assert!(FrameMap::<0>::new(&mut words, 1000).is_none());
    }
}
