//! [`Ladder`]: a codec for what is put, and denser ones for what lies for a while.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;
#[cfg(feature = "zstd")]
use std::sync::OnceLock;

use crate::any::{AnyCodec, AnyWorkspace};
use crate::codec::{Codec, CodecId, RUNGS_MAX};
#[cfg(feature = "zstd")]
use crate::error::DictionaryError;
use crate::error::{DecompressError, LadderError, WorkspaceError};
#[cfg(feature = "lz4")]
use crate::lz4::Lz4;
use crate::raw::Raw;
#[cfg(feature = "zstd")]
use crate::zstd::{Compressor, Dictionary, Zstd};

mod codec;
#[cfg(feature = "zstd")]
mod planes;
mod readers;
#[cfg(test)]
mod tests;
mod workspace;

pub use readers::READERS_MAX;
use readers::{Decoders, Readers};
pub use workspace::LadderWorkspace;
use workspace::Tools;

/// The longest unit in bytes: sixteen pages of 4 KiB.
const UNIT_LEN_MAX: usize = 1 << 16;
/// The shortest limit for them: a page.
const UNIT_LEN_MIN: usize = 1 << 12;

/// A first codec, by which pages are compressed when they come, and up to [`RUNGS_MAX`] denser ones, for
/// pages that turn out to be cold.
///
/// Its text is that of the codecs, first one first: `lz4`, or `lz4 lz4hc zstd:15`. The rungs are counted
/// from 1; rung 0 is the first codec. Only `lz4hc` and `zstd` can be rungs.
///
/// There are two kinds of workspace:
///
/// | | made by | for |
/// |---|---|---|
/// | a reader's | [`workspace`](Codec::workspace) | the first codec in both directions, decompressing everything |
/// | a worker's | [`worker_workspace`](Ladder::worker_workspace) | compressing by the rungs, too |
///
/// Either is its first codec's workspace and two pointers. With rungs, a worker's has 544 KiB behind it for
/// `lz4hc`, and one compressor for all levels of zstd, as large as the densest needs: 0.9 MB for level 3, 1.1
/// for 6 to 9, 2.0 for 15 and over. It may give back its large tables when many small pages follow each
/// other, and take them again:
/// [`CompressError::OutOfMemory`](crate::CompressError::OutOfMemory) if they are not to be had.
///
/// What decompresses what the rungs made is shared by all workspaces of a ladder and its clones: sets of
/// 128 KiB of buffers for units and zstd's decompressor (94 KiB), each used by one at a time. The first is made
/// with the first workspace. Another is made when somebody reads while all are in use, and there is memory for
/// it; without, readers wait for each other, and nobody fails.
/// [`reserve_readers`](Ladder::reserve_readers) makes them at once: decompressing never allocates then.
///
/// ```
/// # #[cfg(feature = "lz4")] {
/// use compress::{Codec, Ladder};
///
/// let ladder: Ladder = "lz4 lz4hc".parse()?;
/// let mut worker = ladder.worker_workspace(4096)?;
/// let unit: Vec<u8> = (0..16384_u32).map(|at| (at * at >> 9) as u8).collect();
/// let mut out = vec![0; ladder.max_compressed_len(unit.len())];
/// let (id, len) = ladder.compress_rung(1, &mut worker, &unit, &mut out)?;
///
/// // Stored in two pieces, with a length in front that only the caller knows of.
/// let stored = [&[7_u8, 7][..], &out[..len]].concat();
/// let (head, tail) = stored.split_at(100);
/// let mut reader = ladder.workspace(4096)?;
/// let mut verify = |bytes: &[u8]| bytes.starts_with(&[7, 7]).then_some(2..bytes.len());
/// let mut done = |got: &[u8]| assert_eq!(got, unit);
/// ladder.decompress_unit(id, &mut reader, &[head, tail], unit.len(), &mut verify, &mut done)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Dictionaries
/// With zstd among the rungs, a dictionary can be installed once, at any time, through a shared reference.
/// Worker's workspaces that are made from then on compress with it, and what they make is stored under
/// [`CodecId::ZstdDict`]; whatever was made before is read as before. Clones share the dictionary. It takes its
/// length for all who read, and in each worker's workspace for each level of zstd 0.5 to 1.7 MB. With 32 KiB, on pages
/// of five programs, units of 32 KiB become 3 to 13 % denser.
///
/// ```
/// # #[cfg(all(feature = "lz4", feature = "zstd"))] {
/// use compress::{Codec, CodecId, Ladder, train_dictionary};
///
/// let page = |n: u32| (0..4096_u32).map(move |at| (at / 64 * (n % 7) + at % (n % 5 + 9)) as u8);
/// let pages: Vec<u8> = (0..64).flat_map(page).collect();
///
/// let ladder: Ladder = "lz4 zstd:6".parse()?;
/// ladder.install_dictionary(&train_dictionary(&pages, 4096, 16 << 10)?)?;
/// let mut worker = ladder.worker_workspace(4096)?;
/// let mut out = [0; 5000];
/// let (id, _) = ladder.compress_rung(1, &mut worker, &pages[..4096], &mut out)?;
/// assert_eq!(id, CodecId::ZstdDict);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Words taken apart
/// Arrays of numbers and pointers are denser with the first bytes of all words side by side, then the second ones, and
/// so on. Where LZ4 finds that this may be so, a unit is compressed both ways, and the shorter stream counts
/// ([`CodecId::ZstdPlanes`]). Putting 32 KiB together again takes some microseconds.
#[derive(Clone, Debug)]
pub struct Ladder {
    first: AnyCodec,
    /// The rungs there are come first.
    rungs: [Option<AnyCodec>; RUNGS_MAX],
    /// Bytes of the longest unit.
    unit_len: usize,
    /// What all workspaces read with, if there are rungs.
    readers: Option<Arc<Readers>>,
    /// A place for one, if zstd is among the rungs.
    #[cfg(feature = "zstd")]
    dictionary: Option<Arc<OnceLock<Dictionary>>>,
}

impl PartialEq for Ladder {
    /// By the codecs.
    fn eq(&self, other: &Self) -> bool {
        self.first == other.first && self.rungs == other.rungs
    }
}

impl Eq for Ladder {}

impl Ladder {
    /// A ladder of a first codec and denser ones, in order.
    ///
    /// # Errors
    /// - [`LadderError::TooManyRungs`] for more than [`RUNGS_MAX`].
    /// - [`LadderError::NotDenser`] for `raw` and `lz4` as a rung.
    /// - [`LadderError::Repeated`] for a codec (with its level) that stands there already.
    pub fn new(first: AnyCodec, rungs: &[AnyCodec]) -> Result<Self, LadderError> {
        let mut new = Self::from(first);
        for (at, codec) in rungs.iter().enumerate() {
            new.push(at + 1, *codec)?;
        }
        Ok(new)
    }

    fn push(&mut self, rung: usize, codec: AnyCodec) -> Result<(), LadderError> {
        if self.codecs().any(|other| other == codec) {
            return Err(LadderError::Repeated { rung });
        }
        if !is_dense(codec) {
            return Err(LadderError::NotDenser { rung });
        }
        let (max, got) = (RUNGS_MAX, rung);
        let place = self.rungs.get_mut(rung - 1);
        *place.ok_or(LadderError::TooManyRungs { max, got })? = Some(codec);
        self.readers.get_or_insert_default();
        #[cfg(feature = "zstd")]
        if codec.id() == CodecId::Zstd && self.dictionary.is_none() {
            self.dictionary = Some(Arc::new(OnceLock::new()));
        }
        Ok(())
    }

    /// The same with units, and pages that the rungs compress, of at most `len` bytes, 4 to 64 KiB:
    /// workspaces are smaller then. Workspaces that were made before are for the ladder that this was, and a
    /// dictionary that is installed later is for one of both.
    #[must_use]
    pub fn with_unit_len(mut self, len: usize) -> Self {
        self.unit_len = len.clamp(UNIT_LEN_MIN, UNIT_LEN_MAX);
        self.readers = self.readers.map(|_| Arc::default());
        #[cfg(feature = "zstd")]
        if self.dictionary().is_none() {
            self.dictionary = self.dictionary.map(|_| Arc::default());
        }
        self
    }

    /// The codec of a rung; 0 is the first one.
    #[must_use]
    pub fn rung(&self, rung: usize) -> Option<AnyCodec> {
        self.codecs().nth(rung)
    }

    /// Makes the workspace of a background worker, for pages of up to `page_len` bytes by the first codec.
    ///
    /// # Errors
    /// Those of [`Codec::workspace`].
    pub fn worker_workspace(&self, page_len: usize) -> Result<LadderWorkspace, WorkspaceError> {
        self.make_workspace(page_len, true)
    }

    /// Makes room for `count` who read at the same time what the rungs made, [`READERS_MAX`] at most, where
    /// there is less: later there may be no memory. Nothing without rungs.
    ///
    /// # Errors
    /// [`WorkspaceError::OutOfMemory`] and [`WorkspaceError::Failed`]; what was made stays.
    pub fn reserve_readers(&self, count: usize) -> Result<(), WorkspaceError> {
        match &self.readers {
            None => Ok(()),
            Some(readers) => readers.reserve(self, count),
        }
    }

    /// The memory that all who read share, in bytes: see the type's text. 0 without rungs.
    #[must_use]
    pub fn readers_bytes(&self) -> usize {
        self.readers
            .as_ref()
            .map_or(0, |readers| readers.heap_bytes())
    }

    /// Lets all rungs that are zstd compress with a dictionary, in worker's workspaces that are made from now on.
    ///
    /// Bytes that [`train_dictionary`](crate::train_dictionary) made are best; any others serve as text that
    /// pages may repeat. 256 bytes to 256 KiB.
    ///
    /// # Errors
    /// [`DictionaryError::NoZstd`], [`DictionaryError::Installed`], [`DictionaryError::Length`] and
    /// [`DictionaryError::Refused`]; after any of them all is as it was.
    #[cfg(feature = "zstd")]
    pub fn install_dictionary(&self, bytes: &[u8]) -> Result<(), DictionaryError> {
        let place = self.dictionary.as_ref().ok_or(DictionaryError::NoZstd)?;
        if place.get().is_some() {
            return Err(DictionaryError::Installed);
        }
        let dictionary = Dictionary::new(bytes)?;
        place
            .set(dictionary)
            .map_err(|_| DictionaryError::Installed)
    }

    /// The memory that the dictionary holds for all who read, in bytes; 0 without one.
    #[must_use]
    pub fn dictionary_bytes(&self) -> usize {
        #[cfg(feature = "zstd")]
        {
            self.dictionary()
                .map_or(0, |dictionary| dictionary.bytes().len())
        }
        #[cfg(not(feature = "zstd"))]
        {
            0
        }
    }

    #[cfg(feature = "zstd")]
    fn dictionary(&self) -> Option<&Dictionary> {
        self.dictionary.as_ref()?.get()
    }

    #[cfg(feature = "lz4")]
    fn has_rung(&self, wanted: impl Fn(&AnyCodec) -> bool) -> bool {
        self.rungs.iter().flatten().any(wanted)
    }

    /// One for all rungs that are zstd; `None` if none is.
    #[cfg(feature = "zstd")]
    fn compressor(&self) -> Result<Option<Compressor>, WorkspaceError> {
        let mut levels = [Zstd::default(); RUNGS_MAX];
        let mut len = 0;
        for (zstd, level) in self.zstd_rungs().zip(&mut levels) {
            *level = zstd;
            len += 1;
        }
        match levels.get(..len) {
            None | Some([]) => Ok(None),
            Some(levels) => Compressor::shared(levels, self.unit_len).map(Some),
        }
    }

    #[cfg(feature = "zstd")]
    fn zstd_rungs(&self) -> impl Iterator<Item = Zstd> {
        self.rungs.iter().flatten().filter_map(|codec| match codec {
            AnyCodec::Zstd(zstd) => Some(*zstd),
            _ => None,
        })
    }

    fn codecs(&self) -> impl Iterator<Item = AnyCodec> {
        let rungs = self.rungs.iter().copied().flatten();
        core::iter::once(self.first).chain(rungs)
    }

    fn make_workspace(
        &self,
        page_len: usize,
        worker: bool,
    ) -> Result<LadderWorkspace, WorkspaceError> {
        self.reserve_readers(1)?;
        let tools = match worker && self.rungs() > 0 {
            true => Some(Box::new(Tools::new(self)?)),
            false => None,
        };
        Ok(LadderWorkspace {
            first: self.first.workspace(page_len)?,
            readers: self.readers.clone(),
            tools,
        })
    }

    /// What a workspace reads with, if it is this ladder's or a clone's.
    fn own<'r>(&self, readers: &'r Option<Arc<Readers>>) -> Option<&'r Readers> {
        let (own, readers) = (self.readers.as_ref()?, readers.as_ref()?);
        Arc::ptr_eq(own, readers).then_some(&**readers)
    }

    /// Whether some codec's streams are stored under `id`.
    fn knows(&self, id: CodecId) -> bool {
        match id {
            CodecId::Raw => true,
            #[cfg(feature = "zstd")]
            CodecId::ZstdDict => self.dictionary().is_some(),
            #[cfg(feature = "zstd")]
            CodecId::ZstdPlanes => self.zstd_rungs().next().is_some(),
            _ => self.codecs().any(|codec| codec.id() == id),
        }
    }

    /// Of words that were taken apart, as they are.
    fn decode(
        &self,
        id: CodecId,
        first: &mut AnyWorkspace,
        #[cfg_attr(not(feature = "zstd"), expect(unused_variables))] decoders: Option<
            &mut Decoders,
        >,
        stream: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        if id == self.first.id() {
            return self.first.decompress(first, stream, page);
        }
        if !self.knows(id) {
            return Err(DecompressError::UnknownCodec { got: id });
        }
        match id {
            CodecId::Raw => Raw.decompress(&mut (), stream, page),
            #[cfg(feature = "lz4")]
            CodecId::Lz4 => Lz4::decode(stream, page),
            #[cfg(feature = "zstd")]
            CodecId::Zstd | CodecId::ZstdDict | CodecId::ZstdPlanes => {
                let dictionary = match id {
                    CodecId::ZstdDict => self.dictionary().map(Dictionary::bytes),
                    _ => None,
                };
                let got = first.id();
                let decompressor = match (first, decoders) {
                    (AnyWorkspace::Zstd(first), _) => Some(first.decompressor()),
                    (_, Some(decoders)) => decoders.zstd.as_mut(),
                    _ => None,
                };
                match decompressor {
                    Some(zstd) => zstd.decompress(dictionary, stream, page),
                    None => Err(DecompressError::WrongWorkspace { expected: id, got }),
                }
            }
            #[allow(unreachable_patterns, reason = "with all codecs in the build")]
            got => Err(DecompressError::UnknownCodec { got }),
        }
    }
}

/// Whether a codec can be a rung: what takes longer than LZ4, for a denser stream.
fn is_dense(codec: AnyCodec) -> bool {
    match codec {
        #[cfg(feature = "lz4")]
        AnyCodec::Lz4Hc(_) => true,
        #[cfg(feature = "zstd")]
        AnyCodec::Zstd(_) => true,
        _ => false,
    }
}

impl From<AnyCodec> for Ladder {
    /// The codec alone.
    fn from(first: AnyCodec) -> Self {
        Self {
            first,
            rungs: [None; RUNGS_MAX],
            unit_len: UNIT_LEN_MAX,
            readers: None,
            #[cfg(feature = "zstd")]
            dictionary: None,
        }
    }
}

impl FromStr for Ladder {
    type Err = LadderError;

    /// # Errors
    /// Those of [`Ladder::new`], and [`LadderError::Parse`] for a name that is none.
    fn from_str(text: &str) -> Result<Self, LadderError> {
        let mut codecs = text.split_ascii_whitespace().map(str::parse::<AnyCodec>);
        let first = codecs.next().unwrap_or_else(|| text.parse());
        let mut new = Self::from(first.map_err(LadderError::Parse)?);
        for (at, codec) in codecs.enumerate() {
            new.push(at + 1, codec.map_err(LadderError::Parse)?)?;
        }
        Ok(new)
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        for codec in self.rungs.iter().flatten() {
            write!(f, " {codec}")?;
        }
        Ok(())
    }
}
