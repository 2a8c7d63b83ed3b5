//! The decoder that this target does not use, so that tests and fuzzing see both.

use super::{Lz4, Lz4Workspace, VECTORS, decode_by, decode_patch_by};
use crate::codec::{Codec, CodecId};
use crate::error::{CompressError, DecompressError, WorkspaceError};

/// [`Lz4`] with the decoder of other targets.
#[derive(Clone, Copy, Debug)]
pub struct OtherDecoder;

impl Codec for OtherDecoder {
    type Workspace = Lz4Workspace;

    fn id(&self) -> CodecId {
        Lz4.id()
    }

    fn workspace(&self, page_len: usize) -> Result<Lz4Workspace, WorkspaceError> {
        Lz4.workspace(page_len)
    }

    fn max_compressed_len(&self, page_len: usize) -> usize {
        Lz4.max_compressed_len(page_len)
    }

    fn compress(
        &self,
        workspace: &mut Lz4Workspace,
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        Lz4.compress(workspace, page, out)
    }

    fn decompress(
        &self,
        _workspace: &mut Lz4Workspace,
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        decode_by(!VECTORS, compressed, page)
    }

    fn patches(&self) -> bool {
        true
    }

    fn compress_patch(
        &self,
        workspace: &mut Lz4Workspace,
        both: &[u8],
        prefix: usize,
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        Lz4.compress_patch(workspace, both, prefix, out)
    }

    fn decompress_patch(
        &self,
        _workspace: &mut Lz4Workspace,
        reference: &[u8],
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        decode_patch_by(!VECTORS, reference, compressed, page)
    }
}
