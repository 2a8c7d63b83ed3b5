//! A ladder as a codec: the first one for pages that are put, the rungs for what is cold.

use core::ops::Range;

use super::Ladder;
use super::readers::{Lent, Set};
use super::workspace::LadderWorkspace;
use crate::any::AnyCodec;
use crate::codec::{Codec, CodecId, gather};
use crate::error::{CompressError, DecompressError, WorkspaceError};
#[cfg(feature = "lz4")]
use crate::lz4::BoxedHc;
#[cfg(feature = "zstd")]
use crate::planes::together;

impl Codec for Ladder {
    type Workspace = LadderWorkspace;

    fn id(&self) -> CodecId {
        self.first.id()
    }

    /// The first codec's.
    fn name(&self) -> &'static str {
        self.first.name()
    }

    /// A reader's: it compresses by the first codec only.
    fn workspace(&self, page_len: usize) -> Result<LadderWorkspace, WorkspaceError> {
        self.make_workspace(page_len, false)
    }

    /// Enough for each of the codecs.
    fn max_compressed_len(&self, page_len: usize) -> usize {
        let lens = self
            .codecs()
            .map(|codec| codec.max_compressed_len(page_len));
        lens.max().unwrap_or(usize::MAX)
    }

    #[inline]
    fn compress(
        &self,
        workspace: &mut LadderWorkspace,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        self.first.compress(&mut workspace.first, page, out)
    }

    #[inline]
    fn decompress(
        &self,
        workspace: &mut LadderWorkspace,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        self.first
            .decompress(&mut workspace.first, compressed, page)
    }

    #[inline]
    fn decompress_fragments(
        &self,
        workspace: &mut LadderWorkspace,
        fragments: &[&[u8]],
        scratch: &mut [u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        self.first
            .decompress_fragments(&mut workspace.first, fragments, scratch, page)
    }

    fn rungs(&self) -> usize {
        self.rungs.iter().flatten().count()
    }

    fn compress_rung(
        &self,
        rung: usize,
        workspace: &mut LadderWorkspace,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<(CodecId, usize), CompressError> {
        if rung == 0 {
            return Ok((self.id(), self.compress(workspace, page, out)?));
        }
        let Some(codec) = self.rung(rung) else {
            let (max, got) = (self.rungs(), rung);
            return Err(CompressError::NoSuchRung { max, got });
        };
        let readers = CompressError::ReadersWorkspace { rung };
        let tools = workspace.tools.as_deref_mut().ok_or(readers)?;
        let (max, got) = (self.unit_len, page.len());
        if got > max {
            return Err(CompressError::PageTooLong { max, got });
        }
        match codec {
            #[cfg(feature = "lz4")]
            AnyCodec::Lz4Hc(_) => {
                let tables = tools.lz4hc.as_mut().ok_or(readers)?;
                Ok((codec.id(), BoxedHc.compress(tables, page, out)?))
            }
            #[cfg(feature = "zstd")]
            AnyCodec::Zstd(zstd) => {
                let tools = tools.zstd.as_mut().ok_or(readers)?;
                let (compressor, planes, encoders) = tools.encoders(self.dictionary.as_ref());
                let encoder = encoders.and_then(|all| all.of(zstd));
                let id = match encoder {
                    Some(_) => CodecId::ZstdDict,
                    None => CodecId::Zstd,
                };
                let len = compressor.compress(zstd, encoder, page, out)?;
                let shorter = planes.shorter(compressor, zstd, page, len)?;
                let Some((stream, place)) =
                    shorter.and_then(|stream| Some((stream, out.get_mut(..stream.len())?)))
                else {
                    return Ok((id, len));
                };
                place.copy_from_slice(stream);
                Ok((CodecId::ZstdPlanes, stream.len()))
            }
            _ => Err(readers),
        }
    }

    fn decompress_id(
        &self,
        id: CodecId,
        workspace: &mut LadderWorkspace,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        let LadderWorkspace { first, readers, .. } = workspace;
        // LZ4 needs nothing to decode.
        let needs = id != self.first.id()
            && matches!(id, CodecId::Zstd | CodecId::ZstdDict | CodecId::ZstdPlanes);
        let readers = self.own(readers).filter(|_| needs);
        let mut set = readers.map(|readers| readers.lend(self));
        let set = set.as_mut().and_then(Lent::set);
        #[cfg(feature = "zstd")]
        if id == CodecId::ZstdPlanes && self.knows(id) {
            let (expected, got) = (id, first.id());
            let set = set.ok_or(DecompressError::WrongWorkspace { expected, got })?;
            let (max, got) = (set.unit.len(), page.len());
            let planes = set.unit.get_mut(..got);
            let planes = planes.ok_or(DecompressError::UnitTooLong { max, got })?;
            self.decode(id, first, Some(&mut set.decoders), compressed, planes)?;
            together(planes, page);
            return Ok(());
        }
        let decoders = set.map(|set| &mut set.decoders);
        self.decode(id, first, decoders, compressed, page)
    }

    fn patches(&self) -> bool {
        self.first.patches()
    }

    fn compress_patch(
        &self,
        workspace: &mut LadderWorkspace,
        both: &[u8],
        prefix: usize,
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        self.first
            .compress_patch(&mut workspace.first, both, prefix, out)
    }

    fn decompress_patch(
        &self,
        workspace: &mut LadderWorkspace,
        reference: &[u8],
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        self.first
            .decompress_patch(&mut workspace.first, reference, compressed, page)
    }

    /// 64 KiB with rungs, unless it was made less, and 0 without.
    fn unit_len_max(&self) -> usize {
        match self.rungs[0] {
            Some(_) => self.unit_len,
            None => 0,
        }
    }

    fn decompress_unit(
        &self,
        id: CodecId,
        workspace: &mut LadderWorkspace,
        fragments: &[&[u8]],
        unit_len: usize,
        verify: &mut dyn FnMut(&[u8]) -> Option<Range<usize>>,
        done: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DecompressError> {
        let LadderWorkspace { first, readers, .. } = workspace;
        let max = self.unit_len_max();
        let too_long = DecompressError::UnitTooLong { max, got: unit_len };
        if unit_len > max {
            return Err(too_long);
        }
        let (expected, got) = (id, first.id());
        let wrong = DecompressError::WrongWorkspace { expected, got };
        let mut lent = self.own(readers).ok_or(wrong)?.lend(self);
        let Set {
            stored,
            unit,
            decoders,
        } = lent.set().ok_or(too_long)?;
        let bytes = match fragments {
            [] => &[],
            [whole] => *whole,
            parts => gather(parts, stored)?,
        };
        let stream = verify(bytes)
            .and_then(|range| bytes.get(range))
            .ok_or(DecompressError::Rejected)?;
        let unit = unit.get_mut(..unit_len).ok_or(too_long)?;
        self.decode(id, first, Some(decoders), stream, unit)?;
        #[cfg(feature = "zstd")]
        if id == CodecId::ZstdPlanes {
            // The pieces that lay there are decoded.
            let words = stored.get_mut(..unit_len).ok_or(too_long)?;
            together(unit, words);
            done(words);
            return Ok(());
        }
        done(unit);
        Ok(())
    }
}
