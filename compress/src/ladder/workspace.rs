//! [`LadderWorkspace`]: what the codecs of a ladder need while they work.

use alloc::boxed::Box;

use super::Ladder;
#[cfg(feature = "lz4")]
use super::UNIT_LEN_MAX;
#[cfg(feature = "lz4")]
use crate::any::AnyCodec;
use crate::any::AnyWorkspace;
#[cfg(any(feature = "lz4", feature = "zstd"))]
use crate::codec::Codec;
#[cfg(feature = "zstd")]
use crate::codec::CodecId;
use crate::error::WorkspaceError;
#[cfg(feature = "lz4")]
use crate::lz4::{BoxedHc, Lz4HcBox};
use crate::memory::zeroed;
#[cfg(feature = "zstd")]
use crate::zstd::{Compressor, Decompressor};

/// What a stored unit may have beside its stream: a header, a checksum.
pub(super) const EXTRA_LEN_MAX: usize = 64;

/// A workspace of a [`Ladder`].
#[derive(Debug)]
pub struct LadderWorkspace {
    pub(super) first: AnyWorkspace,
    /// What the rungs need, where there are any.
    pub(super) more: Option<Box<More>>,
}

impl LadderWorkspace {
    /// Whether it can compress by the rungs.
    #[must_use]
    pub fn is_workers(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.worker)
    }

    /// The memory behind it, in bytes, without that of the first codec.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.heap_bytes())
    }
}

/// What the rungs need, and units.
#[derive(Debug)]
pub(super) struct More {
    /// A stored unit that lies in several pieces, put together.
    pub(super) stored: Box<[u8]>,
    /// A decoded unit.
    pub(super) unit: Box<[u8]>,
    pub(super) decoders: Decoders,
    worker: bool,
    #[cfg(feature = "zstd")]
    pub(super) zstd: Option<Compressor>,
    #[cfg(feature = "lz4")]
    pub(super) lz4hc: Option<Lz4HcBox>,
}

/// What decoders need beside the first codec's workspace.
#[derive(Debug)]
pub(super) struct Decoders {
    #[cfg(feature = "zstd")]
    pub(super) zstd: Option<Decompressor>,
}

impl More {
    pub(super) fn new(ladder: &Ladder, worker: bool) -> Result<Self, WorkspaceError> {
        #[cfg(feature = "lz4")]
        let lz4hc = {
            let wanted = worker && ladder.has_rung(|codec| matches!(codec, AnyCodec::Lz4Hc(_)));
            wanted
                .then(|| BoxedHc.workspace(UNIT_LEN_MAX))
                .transpose()?
        };
        #[cfg(feature = "zstd")]
        let zstd = worker.then(|| ladder.compressor()).transpose()?.flatten();
        Ok(Self {
            stored: zeroed(ladder.unit_len + EXTRA_LEN_MAX)?,
            unit: zeroed(ladder.unit_len)?,
            decoders: Decoders::new(ladder)?,
            worker,
            #[cfg(feature = "zstd")]
            zstd,
            #[cfg(feature = "lz4")]
            lz4hc,
        })
    }

    fn heap_bytes(&self) -> usize {
        let mut bytes = size_of::<Self>() + self.stored.len() + self.unit.len();
        #[cfg(feature = "zstd")]
        {
            bytes += self.zstd.as_ref().map_or(0, Compressor::heap_bytes);
            bytes += self
                .decoders
                .zstd
                .as_ref()
                .map_or(0, Decompressor::heap_bytes);
        }
        #[cfg(feature = "lz4")]
        {
            bytes += self.lz4hc.as_ref().map_or(0, Lz4HcBox::heap_bytes);
        }
        bytes
    }
}

impl Decoders {
    #[cfg_attr(not(feature = "zstd"), expect(clippy::unnecessary_wraps))]
    fn new(
        #[cfg_attr(not(feature = "zstd"), expect(unused_variables))] ladder: &Ladder,
    ) -> Result<Self, WorkspaceError> {
        Ok(Self {
            // The first codec's workspace has one if it is zstd.
            #[cfg(feature = "zstd")]
            zstd: (ladder.first.id() != CodecId::Zstd && ladder.knows(CodecId::Zstd))
                .then(Decompressor::new)
                .transpose()?,
        })
    }
}
