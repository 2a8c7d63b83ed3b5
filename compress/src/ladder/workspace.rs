//! [`LadderWorkspace`]: what the codecs of a ladder need while they work.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::Ladder;
#[cfg(feature = "lz4")]
use super::UNIT_LEN_MAX;
use super::readers::Readers;
#[cfg(feature = "lz4")]
use crate::any::AnyCodec;
use crate::any::AnyWorkspace;
#[cfg(feature = "lz4")]
use crate::codec::Codec;
use crate::error::WorkspaceError;
#[cfg(feature = "lz4")]
use crate::lz4::{BoxedHc, Lz4HcBox};
#[cfg(feature = "zstd")]
use crate::zstd::Compressor;

/// A workspace of a [`Ladder`].
#[derive(Debug)]
pub struct LadderWorkspace {
    pub(super) first: AnyWorkspace,
    /// What it reads with what the rungs made, where there are any.
    pub(super) readers: Option<Arc<Readers>>,
    /// What a worker's compresses with.
    pub(super) tools: Option<Box<Tools>>,
}

impl LadderWorkspace {
    /// Whether it can compress by the rungs.
    #[must_use]
    pub fn is_workers(&self) -> bool {
        self.tools.is_some()
    }

    /// The memory behind it, in bytes, without that of the first codec and what all readers of the ladder
    /// share, which is [`Ladder::readers_bytes`](super::Ladder::readers_bytes).
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.tools.as_ref().map_or(0, |tools| tools.heap_bytes())
    }
}

/// What a worker compresses with.
#[derive(Debug)]
pub(super) struct Tools {
    #[cfg(feature = "zstd")]
    pub(super) zstd: Option<Compressor>,
    #[cfg(feature = "lz4")]
    pub(super) lz4hc: Option<Lz4HcBox>,
}

impl Tools {
    pub(super) fn new(ladder: &Ladder) -> Result<Self, WorkspaceError> {
        #[cfg(feature = "lz4")]
        let lz4hc = ladder
            .has_rung(|codec| matches!(codec, AnyCodec::Lz4Hc(_)))
            .then(|| BoxedHc.workspace(UNIT_LEN_MAX))
            .transpose()?;
        Ok(Self {
            #[cfg(feature = "zstd")]
            zstd: ladder.compressor()?,
            #[cfg(feature = "lz4")]
            lz4hc,
        })
    }

    fn heap_bytes(&self) -> usize {
        let mut bytes = size_of::<Self>();
        #[cfg(feature = "zstd")]
        {
            bytes += self.zstd.as_ref().map_or(0, Compressor::heap_bytes);
        }
        #[cfg(feature = "lz4")]
        {
            bytes += self.lz4hc.as_ref().map_or(0, Lz4HcBox::heap_bytes);
        }
        bytes
    }
}
