//! [`LadderWorkspace`]: what the codecs of a ladder need while they work.

use alloc::boxed::Box;
use alloc::sync::Arc;
#[cfg(feature = "zstd")]
use std::sync::OnceLock;

use super::Ladder;
#[cfg(feature = "lz4")]
use super::UNIT_LEN_MAX;
#[cfg(feature = "zstd")]
use super::planes::Planes;
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
use crate::zstd::{Compressor, Dictionary, Encoders};

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
    pub(super) zstd: Option<ZstdTools>,
    #[cfg(feature = "lz4")]
    pub(super) lz4hc: Option<Lz4HcBox>,
}

/// For all rungs that are zstd.
#[cfg(feature = "zstd")]
#[derive(Debug)]
pub(super) struct ZstdTools {
    pub(super) compressor: Compressor,
    pub(super) planes: Planes,
    /// Of the dictionary that was there when this was made, and whose it is.
    encoders: Option<(Arc<OnceLock<Dictionary>>, Encoders)>,
}

#[cfg(feature = "zstd")]
impl ZstdTools {
    pub(super) fn new(ladder: &Ladder, compressor: Compressor) -> Result<Self, WorkspaceError> {
        let place = ladder.dictionary.as_ref();
        let encoders =
            place
                .and_then(|place| Some((place, place.get()?)))
                .map(|(place, dictionary)| {
                    let encoders = Encoders::new(dictionary, ladder.zstd_rungs())?;
                    Ok((Arc::clone(place), encoders))
                });
        Ok(Self {
            compressor,
            planes: Planes::new(ladder.unit_len)?,
            encoders: encoders.transpose()?,
        })
    }

    /// What it compresses with for a ladder, if it was made for that dictionary.
    pub(super) fn encoders(
        &mut self,
        place: Option<&Arc<OnceLock<Dictionary>>>,
    ) -> (&mut Compressor, &mut Planes, Option<&Encoders>) {
        let own = self.encoders.as_ref().zip(place);
        let encoders = own.filter(|((own, _), place)| Arc::ptr_eq(own, place));
        let encoders = encoders.map(|((_, encoders), _)| encoders);
        (&mut self.compressor, &mut self.planes, encoders)
    }

    fn heap_bytes(&self) -> usize {
        let encoders = self.encoders.as_ref();
        self.compressor.heap_bytes()
            + self.planes.heap_bytes()
            + encoders.map_or(0, |(_, encoders)| encoders.heap_bytes())
    }
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
            zstd: ladder
                .compressor()?
                .map(|compressor| ZstdTools::new(ladder, compressor))
                .transpose()?,
            #[cfg(feature = "lz4")]
            lz4hc,
        })
    }

    fn heap_bytes(&self) -> usize {
        let mut bytes = size_of::<Self>();
        #[cfg(feature = "zstd")]
        {
            bytes += self.zstd.as_ref().map_or(0, ZstdTools::heap_bytes);
        }
        #[cfg(feature = "lz4")]
        {
            bytes += self.lz4hc.as_ref().map_or(0, Lz4HcBox::heap_bytes);
        }
        bytes
    }
}
