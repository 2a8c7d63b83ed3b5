//! [`Planes`]: whether a unit is denser with its words taken apart.

use alloc::boxed::Box;

#[cfg(feature = "lz4")]
use crate::codec::Codec;
use crate::error::{CompressError, WorkspaceError};
#[cfg(feature = "lz4")]
use crate::lz4::{Lz4, Lz4Workspace};
use crate::memory::zeroed;
use crate::planes::apart;
use crate::zstd::{Compressor, Zstd};

/// Shorter pages are not worth the id.
const LEN_MIN: usize = 1024;
/// A share of the stream that has to be saved, as putting the words together takes time.
const GAIN: usize = 64;
/// What is looked at in one piece.
#[cfg(feature = "lz4")]
const LOOK_LEN: usize = 32 << 10;
/// LZ4 may take so much more for the words apart, in hundredths, and zstd less all the same.
#[cfg(feature = "lz4")]
const LOOK_PERCENT: usize = 110;

/// Buffers for it.
#[derive(Debug)]
pub(super) struct Planes {
    apart: Box<[u8]>,
    stream: Box<[u8]>,
    #[cfg(feature = "lz4")]
    lz4: Box<Lz4Workspace>,
}

impl Planes {
    pub(super) fn new(unit_len: usize) -> Result<Self, WorkspaceError> {
        Ok(Self {
            apart: zeroed(unit_len)?,
            // Room for what LZ4 makes of any unit.
            stream: zeroed(unit_len + unit_len / 8 + 64)?,
            #[cfg(feature = "lz4")]
            lz4: Box::new(Lz4Workspace::small()),
        })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        #[cfg(feature = "lz4")]
        let table = size_of_val(&*self.lz4);
        #[cfg(not(feature = "lz4"))]
        let table = 0;
        self.apart.len() + self.stream.len() + table
    }

    /// The stream of a unit's words apart, if it is shorter than `len` bytes, that of the unit itself.
    pub(super) fn shorter(
        &mut self,
        compressor: &mut Compressor,
        zstd: Zstd,
        unit: &[u8],
        len: usize,
    ) -> Result<Option<&[u8]>, CompressError> {
        if unit.len() < LEN_MIN {
            return Ok(None);
        }
        let Some(planes) = self.apart.get_mut(..unit.len()) else {
            return Ok(None);
        };
        apart(unit, planes);
        if !self.is_promising(unit) {
            return Ok(None);
        }
        let planes = self.apart.get(..unit.len()).unwrap_or(&[]);
        let got = compressor.compress(zstd, None, planes, &mut self.stream)?;
        let stream = self.stream.get(..got);
        Ok(stream.filter(|stream| stream.len() + len / GAIN < len))
    }

    /// Compressing it a second time takes long, so LZ4 says beforehand whether there is a chance.
    #[cfg(feature = "lz4")]
    fn is_promising(&mut self, unit: &[u8]) -> bool {
        let planes = self.apart.get(..unit.len()).unwrap_or(&[]);
        let mut lz4 = |bytes: &[u8]| {
            let lens = bytes.chunks(LOOK_LEN).map(|part| {
                let got = Lz4.compress(&mut self.lz4, part, &mut self.stream);
                got.unwrap_or(part.len())
            });
            lens.sum::<usize>()
        };
        lz4(planes) * 100 < lz4(unit) * LOOK_PERCENT
    }

    #[cfg(not(feature = "lz4"))]
    fn is_promising(&mut self, _unit: &[u8]) -> bool {
        true
    }
}
