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
        CodecId::ZstdDict | CodecId::ZstdPlanes => false,
    }
}

fn codecs() -> impl Iterator<Item = AnyCodec> {
    let by_id = IDS.into_iter().filter_map(|id| AnyCodec::try_from(id).ok());
    by_id.chain("lz4hc".parse().ok())
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
        if codec.to_string() != "lz4hc" {
            assert_eq!(codec.name(), codec.id().name());
        }
    }
}

/// Its streams are LZ4's, and say so; `check_hostile` has seen its pages of 64 KiB.
#[test]
fn lz4hc_is_lz4_in_another_way() {
    let lz4hc = "lz4hc".parse::<AnyCodec>();
    if !cfg!(all(feature = "lz4", feature = "alloc")) {
        assert_eq!(lz4hc, Err(ParseCodecError::NoLz4Hc));
        let error = lz4hc.unwrap_err().to_string();
        assert!(error.starts_with("this build has no lz4hc"), "{error}");
        return;
    }
    let (lz4hc, lz4) = (lz4hc.unwrap(), "lz4".parse::<AnyCodec>().unwrap());
    assert_eq!((lz4hc.id(), lz4hc.name()), (CodecId::Lz4, "lz4hc"));
    let page = sample_page(Kind::Text, 4096, 1);
    let stream = check_round_trip(&lz4hc, &mut lz4hc.workspace(4096).unwrap(), &page);
    let mut back = [0; 4096];
    let mut workspace = lz4.workspace(4096).unwrap();
    assert_eq!(lz4.decompress(&mut workspace, &stream, &mut back), Ok(()));
    assert_eq!(back[..], page);
    // The workspaces are not each other's, though the ids are the same.
    let got = lz4hc.compress(&mut workspace, &page, &mut [0; 5000]);
    assert!(matches!(got, Err(CompressError::WrongWorkspace { .. })));
}

#[test]
fn patches_are_those_of_the_codec() {
    let both = [
        sample_page(Kind::Noise, 4096, 1),
        sample_page(Kind::Noise, 4096, 1),
    ]
    .concat();
    for codec in codecs() {
        let mut workspace = codec.workspace(4096).unwrap();
        let mut out = [0; 5000];
        let got = codec.compress_patch(&mut workspace, &both, 4096, &mut out);
        assert_eq!(codec.patches(), codec.id() == CodecId::Lz4);
        if !codec.patches() {
            assert_eq!(got, Err(CompressError::NoPatches));
            continue;
        }
        let (stream, mut back) = (&out[..got.unwrap()], [0; 4096]);
        assert!(stream.len() < 40);
        let got = codec.decompress_patch(&mut workspace, &both[..4096], stream, &mut back);
        assert_eq!(got, Ok(()));
        assert_eq!(back[..], both[4096..]);
    }
}

/// A codec alone has no rungs and no units, and understands raw pages beside its own streams.
#[test]
fn a_codec_alone_is_a_ladder_of_one() {
    let page = sample_page(Kind::Text, 4096, 1);
    for codec in codecs() {
        let mut workspace = codec.workspace(4096).unwrap();
        let mut out = [0; 5000];
        assert_eq!((codec.rungs(), codec.unit_len_max()), (0, 0));
        let (id, len) = codec
            .compress_rung(0, &mut workspace, &page, &mut out)
            .unwrap();
        assert_eq!(id, codec.id());
        assert_eq!(
            codec.compress_rung(1, &mut workspace, &page, &mut out[len..]),
            Err(CompressError::NoSuchRung { max: 0, got: 1 })
        );
        let mut back = [0; 4096];
        for id in IDS {
            let stream = if id == CodecId::Raw {
                &page
            } else {
                &out[..len]
            };
            let got = codec.decompress_id(id, &mut workspace, stream, &mut back);
            if id == codec.id() || id == CodecId::Raw {
                assert_eq!(got, Ok(()));
                assert_eq!(back[..], page);
            } else {
                assert_eq!(got, Err(DecompressError::UnknownCodec { got: id }));
            }
        }
        let got = codec.decompress_unit(
            codec.id(),
            &mut workspace,
            &[],
            1,
            &mut |_| None,
            &mut |_| (),
        );
        assert_eq!(got, Err(DecompressError::UnitTooLong { max: 0, got: 1 }));
    }
}

/// No codec alone has the dictionary.
#[test]
fn streams_with_a_dictionary_are_a_ladders() {
    let error = AnyCodec::try_from(CodecId::ZstdDict).unwrap_err();
    assert_eq!(error, ParseCodecError::NeedsDictionary);
    assert_eq!(
        "zstd-dict".parse::<AnyCodec>(),
        Err(ParseCodecError::UnknownName)
    );
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
        "", "LZ4", "lz4 ", "lz4:1", "lz4hc:9", "LZ4HC", "raw:", "gzip", "zst", "zstd3", ":",
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
