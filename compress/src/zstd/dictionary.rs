//! Dictionaries: what pages have in common, so that a page alone is nearly as dense as among its neighbours.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use zstd_safe::{CDict, DDict};

use super::Zstd;
use crate::codec::{PAGE_LEN_MAX, RUNGS_MAX};
use crate::error::{DictionaryError, WorkspaceError};
use crate::memory::zeroed;

/// The shortest dictionary in bytes: what zstd takes for one at all.
pub(crate) const LEN_MIN: usize = 256;
/// The longest dictionary in bytes. 64 KiB are enough for pages.
pub(crate) const LEN_MAX: usize = 256 << 10;

/// What a dictionary with tables begins with, and how long that and its number are.
const MAGIC: u32 = 0xEC30_A437;
const HEAD_LEN: usize = 8;

/// The bytes of a dictionary, which are all that decoding needs.
pub(crate) struct Dictionary {
    bytes: Box<[u8]>,
}

impl Dictionary {
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, DictionaryError> {
        let (min, max, got) = (LEN_MIN, LEN_MAX, bytes.len());
        if !(min..=max).contains(&got) {
            return Err(DictionaryError::Length { min, max, got });
        }
        // Whether zstd reads it: it may have tables in front.
        DDict::try_create(bytes).ok_or(DictionaryError::Refused)?;
        let mut copy = zeroed(got).map_err(|_| DictionaryError::Refused)?;
        copy.copy_from_slice(bytes);
        Ok(Self { bytes: copy })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A dictionary, digested for who compresses at each of some levels.
pub(crate) struct Encoders([Option<(Zstd, CDict<'static>)>; RUNGS_MAX]);

impl Encoders {
    pub(crate) fn new(
        dictionary: &Dictionary,
        levels: impl Iterator<Item = Zstd>,
    ) -> Result<Self, WorkspaceError> {
        let mut new = Self([const { None }; RUNGS_MAX]);
        for (zstd, place) in levels.zip(&mut new.0) {
            let encoder = CDict::try_create(dictionary.bytes(), zstd.level());
            *place = Some((zstd, encoder.ok_or(WorkspaceError::OutOfMemory)?));
        }
        Ok(new)
    }

    pub(crate) fn of(&self, wanted: Zstd) -> Option<&CDict<'static>> {
        let mut encoders = self.0.iter().flatten();
        let (_, encoder) = encoders.find(|(zstd, _)| *zstd == wanted)?;
        Some(encoder)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let encoders = self.0.iter().flatten();
        encoders.map(|(_, encoder)| encoder.sizeof()).sum()
    }
}

impl fmt::Debug for Encoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoders")
            .field("heap_bytes", &self.heap_bytes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary")
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Makes a dictionary of up to `len_max` bytes from sample pages of `page_len` bytes that lie in one piece.
///
/// What the samples have in common is in it; they should be spread over all pages, without those that are one
/// word repeated. 256 to 512 pages of 4 KiB are enough, and take 0.1 s.
///
/// # Errors
/// - [`DictionaryError::Samples`] when `pages` is empty, over 64 MiB, or not whole pages.
/// - [`DictionaryError::Length`] for a `len_max` that no dictionary has.
/// - [`DictionaryError::Refused`] when zstd finds nothing in common, or has no memory.
///
/// # Time complexity
/// Linear in the samples.
///
/// ```
/// use compress::train_dictionary;
///
/// let page = |n: u32| (0..4096_u32).map(move |at| (at / 64 * (n % 7) + at % (n % 5 + 9)) as u8);
/// let pages: Vec<u8> = (0..64).flat_map(page).collect();
/// let dictionary = train_dictionary(&pages, 4096, 16 << 10)?;
/// assert!(dictionary.len() <= 16 << 10);
/// # Ok::<(), compress::DictionaryError>(())
/// ```
pub fn train_dictionary(
    pages: &[u8],
    page_len: usize,
    len_max: usize,
) -> Result<Vec<u8>, DictionaryError> {
    const SAMPLES_MAX: usize = 64 << 20;
    let whole = (1..=PAGE_LEN_MAX).contains(&page_len) && pages.len().is_multiple_of(page_len);
    if !whole || pages.is_empty() || pages.len() > SAMPLES_MAX {
        return Err(DictionaryError::Samples {
            page_len,
            got: pages.len(),
        });
    }
    let (min, max, got) = (LEN_MIN, LEN_MAX, len_max);
    if !(min..=max).contains(&got) {
        return Err(DictionaryError::Length { min, max, got });
    }
    let lens = vec![page_len; pages.len() / page_len];
    let mut dictionary = vec![0; len_max];
    let len = zstd_safe::train_from_buffer(dictionary.as_mut_slice(), pages, &lens)
        .map_err(|_| DictionaryError::Refused)?;
    dictionary.truncate(len);
    // Without its magic number it is text that pages may repeat. With it, zstd would read the tables that follow
    // for each page.
    if dictionary.starts_with(&MAGIC.to_le_bytes()) {
        dictionary.drain(..HEAD_LEN);
    }
    Ok(dictionary)
}
