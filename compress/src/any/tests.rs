use std::string::ToString;

use super::*;
use crate::error::ACCEPTED;
use crate::testing::{Kind, check_hostile, check_round_trip, sample_page};

const IDS: [CodecId; 3] = [CodecId::Raw, CodecId::Lz4, CodecId::Zstd];

fn in_this_build(id: CodecId) -> bool {
    match id {
        CodecId::Raw => true,
        CodecId::Lz4 => cfg!(feature = "lz4"),
        CodecId::Zstd => cfg!(feature = "zstd"),
    }
}

fn codecs() -> impl Iterator<Item = AnyCodec> {
    IDS.into_iter().filter_map(|id| AnyCodec::try_from(id).ok())
}

#[test]
fn every_codec_of_the_build_works() {
    for codec in codecs() {
        let mut workspace = codec.workspace(4096).unwrap();
        assert_eq!(workspace.id(), codec.id());
        check_round_trip(&codec, &mut workspace, &sample_page(Kind::Text, 4096, 1));
        check_hostile(&codec);
    }
}

#[test]
fn names_round_trip() {
    for codec in codecs() {
        assert_eq!(codec.to_string().parse(), Ok(codec));
        assert_eq!(codec.name().parse(), Ok(codec));
        assert_eq!(codec.name(), codec.id().name());
    }
}

#[test]
fn codecs_of_other_builds_are_refused_by_name() {
    for id in IDS {
        let missing = Err(ParseCodecError::NotInThisBuild { codec: id });
        if !in_this_build(id) {
            assert_eq!(AnyCodec::try_from(id), missing);
            assert_eq!(id.name().parse::<AnyCodec>(), missing);
        }
    }
    if !in_this_build(CodecId::Zstd) {
        let error = "zstd:3".parse::<AnyCodec>().unwrap_err();
        assert!(error.to_string().starts_with("this build has no zstd"));
    }
}

#[test]
fn unknown_names_are_told_what_is_accepted() {
    for text in [
        "", "LZ4", "lz4 ", "lz4:1", "raw:", "gzip", "zst", "zstd3", ":",
    ] {
        let error = text.parse::<AnyCodec>().unwrap_err();
        assert_eq!(error, ParseCodecError::UnknownName, "{text:?}");
        assert!(error.to_string().contains(ACCEPTED));
    }
}

#[cfg(feature = "zstd")]
#[test]
fn levels_are_parsed_and_printed() {
    for level in Zstd::LEVEL_MIN..=Zstd::LEVEL_MAX {
        let codec: AnyCodec = std::format!("zstd:{level}").parse().unwrap();
        assert_eq!(codec, AnyCodec::Zstd(Zstd::new(level).unwrap()));
        assert_eq!(codec.to_string(), std::format!("zstd:{level}"));
    }
    for text in ["zstd:", "zstd:x", "zstd:3:3", "zstd: 3", "zstd:99999999999"] {
        let error = text.parse::<AnyCodec>().unwrap_err();
        assert_eq!(error, ParseCodecError::LevelNotANumber, "{text:?}");
    }
    let error = "zstd:20".parse::<AnyCodec>().unwrap_err();
    assert!(matches!(error, ParseCodecError::LevelOutOfRange { .. }));
    let range = std::format!("from {} to {}", Zstd::LEVEL_MIN, Zstd::LEVEL_MAX);
    assert!(ACCEPTED.contains(&range));
}

#[test]
fn a_workspace_serves_only_its_own_codec() {
    for codec in codecs() {
        for other in codecs().filter(|other| other.id() != codec.id()) {
            let mut workspace = other.workspace(64).unwrap();
            let (expected, got) = (codec.id(), other.id());
            assert_eq!(
                codec.compress(&mut workspace, &[0; 64], &mut [0; 200]),
                Err(CompressError::WrongWorkspace { expected, got })
            );
            let wrong = Err(DecompressError::WrongWorkspace { expected, got });
            assert_eq!(codec.decompress(&mut workspace, &[0], &mut [0; 64]), wrong);
            assert_eq!(
                codec.decompress_fragments(&mut workspace, &[&[0], &[0]], &mut [0; 2], &mut [0; 2]),
                wrong
            );
        }
    }
}

#[test]
fn raw_fragments_need_no_scratch() {
    let raw = AnyCodec::Raw(Raw);
    let mut page = [0; 2];
    let done = raw.decompress_fragments(&mut AnyWorkspace::Raw, &[b"a", b"b"], &mut [], &mut page);
    assert_eq!((done, &page), (Ok(()), b"ab"));
}
