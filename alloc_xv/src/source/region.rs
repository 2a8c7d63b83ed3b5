//! Frames out of one fixed piece of memory, such as a `static`: no operating system needed.

use super::frame_map::{FrameMap, words_needed};
use super::{FrameId, OutOfPages, PageSource};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use lock_api::RawMutex;

/// A [`PageSource`] over memory that the caller owns.
///
/// The map of taken frames lies in the region's own first pages (one bit a frame and its
/// summary, about 1/32700 of 4 KiB pages), so nothing else is needed. Frames are cleared when
/// they are given back: what the region's owner finds in a free frame is zeroes.
///
/// # Examples
///
/// ```
/// use alloc_xv::{PageSource, RegionSource};
///
/// let memory: &'static mut [u8] = Vec::leak(vec![0; 64 * 4096]);
/// let source: RegionSource<4096> = RegionSource::new(memory).unwrap();
/// assert!(source.frames() >= 62);
/// let frame = source.take(None).unwrap();
/// // SAFETY: just taken, not used.
/// unsafe { source.give_back(frame) };
/// ```
///
/// # Time complexity
///
/// Taking a frame reads one word for each factor of 64 in the number of frames. Giving one back
/// clears it.
pub struct RegionSource<const PAGE: usize, L: RawMutex = spin::Mutex<()>> {
    base: NonNull<u8>,
    frames: usize,
    map: lock_api::Mutex<L, FrameMap<'static>>,
    region: PhantomData<&'static mut [u8]>,
}

// SAFETY: `base` points into memory that was borrowed mutably for ever, and its frames are handed
// out one owner each, under the map's lock.
unsafe impl<const PAGE: usize, L: RawMutex + Send> Send for RegionSource<PAGE, L> {}
// SAFETY: as above; all shared state is behind the lock.
unsafe impl<const PAGE: usize, L: RawMutex + Sync> Sync for RegionSource<PAGE, L> {}

impl<const PAGE: usize, L: RawMutex> RegionSource<PAGE, L> {
    const PAGE_SIZE_IS_SUPPORTED: () = assert!(PAGE == 4096 || PAGE == 16384 || PAGE == 65536);

    /// Takes over the region. What is not a whole aligned page at its ends is left unused.
    pub fn new(region: &'static mut [u8]) -> Result<Self, RegionError> {
        let () = Self::PAGE_SIZE_IS_SUPPORTED;
        let bytes = region.len();
        let too_small = RegionError {
            bytes,
            needed: 2 * PAGE,
        };
        let skip = region.as_ptr().align_offset(PAGE);
        let usable = region.get_mut(skip..).ok_or(too_small)?;
        let pages = usable.len() / PAGE;
        // The map is sized for all pages although those it lies in cannot be handed out:
        // at most one word too many.
        let map_pages = (words_needed(pages) * 8).div_ceil(PAGE);
        if pages < map_pages + 1 {
            return Err(too_small);
        }
        let (map_bytes, frames) = usable.split_at_mut(map_pages * PAGE);
        map_bytes.fill(0);
        frames.fill(0);
        let frame_count = pages - map_pages;
        // SAFETY: `map_bytes` is page-aligned, so aligned for u64; it is exclusively ours for
        // 'static; any bytes are valid u64.
        let words = unsafe {
            core::slice::from_raw_parts_mut(
                map_bytes.as_mut_ptr().cast::<u64>(),
                map_bytes.len() / 8,
            )
        };
        let frame_count = frame_count.min(FrameId::LIMIT as usize);
        let map = FrameMap::new(words, frame_count).ok_or(too_small)?;
        Ok(Self {
            base: NonNull::from(frames).cast(),
            frames: frame_count,
            map: lock_api::Mutex::new(map),
            region: PhantomData,
        })
    }

    /// Frames in all, taken or not.
    pub fn frames(&self) -> usize {
        self.frames
    }
}

// SAFETY: frames are disjoint, PAGE-aligned pieces of memory borrowed mutably for 'static; the
// map hands each to one taker at a time; the base address never changes.
unsafe impl<const PAGE: usize, L: RawMutex + Send + Sync> PageSource for RegionSource<PAGE, L> {
    const PAGE_SIZE: usize = PAGE;

    fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        let mut map = self.map.lock();
        let wanted = wanted.map(|frame| frame.number() as usize);
        let frame = match wanted.filter(|&frame| !map.is_taken(frame)) {
            Some(frame) => frame,
            None => map.lowest_free().ok_or(OutOfPages)?,
        };
        map.set_taken(frame);
        FrameId::new(frame as u32).ok_or(OutOfPages)
    }

    unsafe fn give_back(&self, frame: FrameId) {
        // SAFETY: the frame is taken, so it lies in the region; its owner gave it up.
        unsafe { self.address(frame).write_bytes(0, PAGE) };
        let was_taken = self.map.lock().set_free(frame.number() as usize);
        debug_assert!(was_taken, "frame {} given back twice", frame.number());
    }

    #[inline]
    fn address(&self, frame: FrameId) -> *mut u8 {
        self.base
            .as_ptr()
            .wrapping_add(frame.number() as usize * PAGE)
    }
}

impl<const PAGE: usize, L: RawMutex> fmt::Debug for RegionSource<PAGE, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionSource")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

/// The region holds not even one frame beside its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionError {
    /// Bytes given.
    pub bytes: usize,
    /// Page-aligned bytes that one frame and its map need.
    pub needed: usize,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "region of {} bytes holds no frame; at least {} aligned bytes are needed",
            self.bytes, self.needed
        )
    }
}

impl core::error::Error for RegionError {}
