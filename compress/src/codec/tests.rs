use super::*;
use crate::Raw;

/// Decodes only what is contiguous: uses the default `decompress_fragments`.
struct Contiguous;

impl Codec for Contiguous {
    type Workspace = ();

    fn id(&self) -> CodecId {
        CodecId::Raw
    }

    fn workspace(&self, _page_len: usize) -> Result<(), WorkspaceError> {
        Ok(())
    }

    fn max_compressed_len(&self, page_len: usize) -> usize {
        page_len
    }

    fn compress(&self, ws: &mut (), page: &[u8], out: &mut [u8]) -> Result<usize, CompressError> {
        Raw.compress(ws, page, out)
    }

    fn decompress(
        &self,
        ws: &mut (),
        compressed: &[u8],
        page: &mut [u8],
    ) -> Result<(), DecompressError> {
        Raw.decompress(ws, compressed, page)
    }
}

#[test]
fn ids_are_bytes_and_back() {
    for id in [
        CodecId::Raw,
        CodecId::Lz4,
        CodecId::Zstd,
        CodecId::ZstdDict,
        CodecId::ZstdPlanes,
    ] {
        assert_eq!(CodecId::try_from(id.as_u8()), Ok(id));
        assert_eq!(std::format!("{id}"), id.name());
    }
    for byte in 5..=u8::MAX {
        let error = ParseCodecError::UnknownId { got: byte };
        assert_eq!(CodecId::try_from(byte), Err(error));
    }
}

#[test]
fn fragments_are_joined_in_order() {
    let mut page = [0; 7];
    let mut scratch = [0; 7];
    for fragments in [
        &[&b"abcdefg"[..]][..],
        &[b"abc", b"defg"],
        &[b"", b"a", b"bcd", b"", b"efg", b""],
    ] {
        page.fill(0);
        assert_eq!(
            decompress_fragments(&Contiguous, &mut (), fragments, &mut scratch, &mut page),
            Ok(())
        );
        assert_eq!(&page, b"abcdefg");
    }
}

#[test]
fn one_fragment_needs_no_scratch() {
    let mut page = [0; 3];
    let done = decompress_fragments(&Contiguous, &mut (), &[b"abc"], &mut [], &mut page);
    assert_eq!(done, Ok(()));
}

#[test]
fn several_fragments_need_scratch_for_all_of_them() {
    let mut page = [0; 4];
    let done = decompress_fragments(
        &Contiguous,
        &mut (),
        &[b"ab", b"cd"],
        &mut [0; 3],
        &mut page,
    );
    assert_eq!(
        done,
        Err(DecompressError::ScratchTooSmall { needed: 4, got: 3 })
    );
}

#[test]
fn no_fragment_is_an_empty_stream() {
    let done = decompress_fragments(&Contiguous, &mut (), &[], &mut [], &mut []);
    assert_eq!(done, Ok(()));
    let done = decompress_fragments(&Contiguous, &mut (), &[], &mut [], &mut [0]);
    assert_eq!(
        done,
        Err(DecompressError::Short {
            expected: 1,
            got: 0
        })
    );
}
