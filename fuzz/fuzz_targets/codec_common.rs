//! What the fuzz targets of the codecs share: how bytes become a case, and what must hold for it.
#![allow(dead_code, reason = "each target uses its half")]

use compress::{Codec, DecompressError, Lz4, Lz4Workspace, OtherDecoder, decompress_fragments};

const CANARY: u8 = 0xA5;
const CANARY_LEN: usize = 64;

/// A stream, the length of the page it is decoded to, and two places to cut it.
///
/// ```text
/// byte   0           1 .. 2       3 .. 4       5 ..
///      +-----------+------------+------------+--------+
///      | page len  | first cut  | second cut | stream |
///      +-----------+------------+------------+--------+
/// ```
pub struct DecodeCase<'a> {
    pub page_len: usize,
    pub cuts: [usize; 2],
    pub stream: &'a [u8],
}

impl<'a> DecodeCase<'a> {
    pub fn new(input: &'a [u8]) -> Option<Self> {
        let ([page_len, a, b, c, d], stream) = input.split_first_chunk()?;
        let page_len = match page_len % 8 {
            0..=2 => 4096,
            3 => 16384,
            4 => 65536,
            5 => stream.len(),
            6 => stream.len() * 4,
            _ => usize::from(*page_len),
        };
        let cut = |low, high| usize::from(u16::from_le_bytes([low, high])) % (stream.len() + 1);
        let mut cuts = [cut(*a, *b), cut(*c, *d)];
        cuts.sort_unstable();
        Some(Self {
            page_len,
            cuts,
            stream,
        })
    }
}

/// A page: a pattern repeated, with single bytes changed.
///
/// ```text
/// byte   0          1       2             3 ..      ..
///      +----------+-------+-------------+---------+------------------------------+
///      | page len | level | pattern len | pattern | patches: offset (2), byte (1) |
///      +----------+-------+-------------+---------+------------------------------+
/// ```
pub struct PageCase {
    pub page: Vec<u8>,
    pub level: u8,
}

impl PageCase {
    pub fn new(input: &[u8]) -> Option<Self> {
        let ([page_len, level, pattern_len], rest) = input.split_first_chunk()?;
        let page_len = [4096, 16384, 65536][usize::from(page_len % 3)];
        let (pattern, patches) = rest.split_at(usize::from(*pattern_len).min(rest.len()));
        let mut page = vec![0; page_len];
        if !pattern.is_empty() {
            for (byte, source) in page.iter_mut().zip(pattern.iter().cycle()) {
                *byte = *source;
            }
        }
        for patch in patches.chunks_exact(3) {
            let offset = usize::from(u16::from_le_bytes([patch[0], patch[1]]));
            page[offset % page_len] = patch[2];
        }
        Some(Self {
            page,
            level: *level,
        })
    }
}

/// Any stream is an error or a whole page: nothing outside the page changes, every byte of the
/// page comes from the stream, and one, two or three fragments make no difference.
pub fn check_decode<C: Codec>(
    codec: &C,
    workspace: &mut C::Workspace,
    case: &DecodeCase,
) -> Result<Vec<u8>, DecompressError> {
    let DecodeCase {
        page_len,
        cuts: [first, second],
        stream,
    } = *case;
    let (head, tail) = stream.split_at(second);
    let (front, middle) = head.split_at(first);
    let mut scratch = vec![CANARY; stream.len()];

    let mut decode = |old_byte: u8, fragments: Option<&[&[u8]]>| {
        let mut buffer = vec![CANARY; page_len + 2 * CANARY_LEN];
        let page = &mut buffer[CANARY_LEN..][..page_len];
        page.fill(old_byte);
        let done = match fragments {
            None => codec.decompress(workspace, stream, page),
            Some(parts) => decompress_fragments(codec, workspace, parts, &mut scratch, page),
        };
        let page_end = CANARY_LEN + page_len;
        assert!(buffer[..CANARY_LEN].iter().all(|byte| *byte == CANARY));
        assert!(buffer[page_end..].iter().all(|byte| *byte == CANARY));
        done.map(|()| buffer[CANARY_LEN..page_end].to_vec())
    };

    let whole = decode(0x00, None);
    // Other old contents each time: a byte the decoder left alone would differ.
    assert_eq!(whole, decode(0xFF, Some(&[stream])), "one fragment");
    assert_eq!(whole, decode(0x55, Some(&[head, tail])), "two fragments");
    assert_eq!(
        whole,
        decode(0xAA, Some(&[front, middle, tail])),
        "three fragments"
    );
    whole
}

/// The page comes back from its stream, which stays inside the room the codec asked for.
pub fn check_round_trip<C: Codec>(codec: &C, workspace: &mut C::Workspace, page: &[u8]) {
    let room = codec.max_compressed_len(page.len());
    let mut out = vec![CANARY; room + CANARY_LEN];
    let len = codec
        .compress(workspace, page, &mut out[..room])
        .expect("enough room, and a workspace for such pages");
    assert!(out[room..].iter().all(|byte| *byte == CANARY));
    let case = DecodeCase {
        page_len: page.len(),
        cuts: [len / 3, len / 2],
        stream: &out[..len],
    };
    let back = check_decode(codec, workspace, &case);
    assert!(back.as_deref() == Ok(page), "another page came back");
}

/// A patch, the length of the page it is decoded to, and a reference: a pattern of the given length.
///
/// ```text
/// byte   0          1 .. 2           3           4 ..
///      +----------+----------------+-----------+--------+
///      | page len | reference len  | pattern   | stream |
///      +----------+----------------+-----------+--------+
/// ```
pub struct PatchCase<'a> {
    pub page_len: usize,
    pub reference: Vec<u8>,
    pub stream: &'a [u8],
}

impl<'a> PatchCase<'a> {
    pub fn new(input: &'a [u8]) -> Option<Self> {
        let ([page_len, low, high, pattern], stream) = input.split_first_chunk()?;
        let page_len = match page_len % 8 {
            0..=2 => 4096,
            3 => 16384,
            4 => stream.len(),
            5 => stream.len() * 4,
            _ => usize::from(*page_len),
        };
        let reference_len = usize::from(u16::from_le_bytes([*low, *high]));
        let byte = |at: usize| (at as u8).wrapping_mul(*pattern) ^ (at >> 8) as u8;
        Some(Self {
            page_len,
            reference: (0..reference_len).map(byte).collect(),
            stream,
        })
    }
}

/// A reference and a page in one piece: the same page twice, the second time with bytes changed, cut where
/// the input says.
pub struct PairCase {
    pub both: Vec<u8>,
    pub prefix: usize,
}

impl PairCase {
    pub fn new(input: &[u8]) -> Option<Self> {
        let ([cut_low, cut_high, changes], rest) = input.split_first_chunk()?;
        let page = PageCase::new(rest)?.page;
        let mut both = page.repeat(2);
        let second = page.len();
        for change in rest.rchunks_exact(3).take(usize::from(*changes)) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
            both[second + at % second] ^= change[2];
        }
        // At most 65534 bytes, and where the cut is even, the reference is the first page.
        both.truncate(65534);
        let cut = usize::from(u16::from_le_bytes([*cut_low, *cut_high]));
        let prefix = match cut % 2 {
            0 => second,
            _ => cut,
        };
        let prefix = prefix.min(both.len());
        Some(Self { both, prefix })
    }
}

/// Any patch is an error or a whole page, the same by both decoders: nothing outside the page changes, and
/// every byte of the page comes from patch and reference.
pub fn check_patch_decode(
    reference: &[u8],
    stream: &[u8],
    page_len: usize,
) -> Result<Vec<u8>, DecompressError> {
    let mut workspace = Lz4Workspace::small();
    let mut decode = |old_byte: u8, other: bool| {
        let mut buffer = vec![CANARY; page_len + 2 * CANARY_LEN];
        let page = &mut buffer[CANARY_LEN..][..page_len];
        page.fill(old_byte);
        let done = match other {
            false => Lz4.decompress_patch(&mut workspace, reference, stream, page),
            true => OtherDecoder.decompress_patch(&mut workspace, reference, stream, page),
        };
        let page_end = CANARY_LEN + page_len;
        assert!(buffer[..CANARY_LEN].iter().all(|byte| *byte == CANARY));
        assert!(buffer[page_end..].iter().all(|byte| *byte == CANARY));
        done.map(|()| buffer[CANARY_LEN..page_end].to_vec())
    };
    let one = decode(0x00, false);
    assert_eq!(one, decode(0xFF, false));
    let other = decode(0x55, true);
    assert_eq!(other, decode(0xAA, true));
    assert!(one.as_ref().ok() == other.as_ref().ok(), "the two decoders");
    one
}

/// The page comes back from its patch, which stays inside the room the codec asked for.
pub fn check_patch_round_trip<C: Codec>(
    codec: &C,
    workspace: &mut C::Workspace,
    both: &[u8],
    prefix: usize,
) {
    let (reference, page) = both.split_at(prefix);
    let room = codec.max_compressed_len(page.len());
    let mut out = vec![CANARY; room + CANARY_LEN];
    let len = codec
        .compress_patch(workspace, both, prefix, &mut out[..room])
        .expect("enough room, and lengths that are allowed");
    assert!(out[room..].iter().all(|byte| *byte == CANARY));
    let back = check_patch_decode(reference, &out[..len], page.len());
    assert!(back.as_deref() == Ok(page), "another page came back");
}
