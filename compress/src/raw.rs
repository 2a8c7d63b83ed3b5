//! The codec for pages that do not shrink: a copy.

use crate::codec::{Codec, CodecId, check_page_len, concatenate, total_len};
use crate::error::{CompressError, DecompressError, WorkspaceError};

#[cfg(test)]
mod tests;

/// Stores the page as it is. Needs no workspace.
///
/// ```
/// use compress::{Codec, DecompressError, Raw};
///
/// let mut out = [0; 4];
/// assert_eq!(Raw.compress(&mut (), b"page", &mut out), Ok(4));
///
/// let mut page = [0; 5];
/// assert_eq!(
///     Raw.decompress(&mut (), &out, &mut page),
///     Err(DecompressError::Short { expected: 5, got: 4 })
/// );
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw;

impl Codec for Raw {
    type Workspace = ();

    fn id(&self) -> CodecId {
        CodecId::Raw
    }

    fn workspace(&self, page_len: usize) -> Result<(), WorkspaceError> {
        check_page_len(page_len)
    }

    fn max_compressed_len(&self, page_len: usize) -> usize {
        page_len
    }

    fn compress(
        &self,
        _workspace: &mut (),
        page: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CompressError> {
        let got = out.len();
        let Some(stream) = out.get_mut(..page.len()) else {
            return Err(CompressError::OutputTooSmall {
                needed: page.len(),
                got,
            });
        };
        stream.copy_from_slice(page);
        Ok(page.len())
    }

    fn decompress(
        &self,
        _workspace: &mut (),
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        check_exact(page.len(), compressed.len())?;
        page.copy_from_slice(compressed);
        Ok(())
    }

    /// Copies straight to the page: nothing has to be contiguous first.
    fn decompress_fragments(
        &self,
        _workspace: &mut (),
        fragments: &[&[u8]],
        _scratch: &mut [u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        check_exact(page.len(), total_len(fragments))?;
        concatenate(fragments, page);
        Ok(())
    }
}

fn check_exact(expected: usize, got: usize) -> Result<(), DecompressError> {
    if got < expected {
        return Err(DecompressError::Short { expected, got });
    }
    if got > expected {
        return Err(DecompressError::Long {
            expected,
            got_at_least: got,
        });
    }
    Ok(())
}
