use std::string::ToString;

use super::*;

#[test]
fn errors_are_small() {
    assert!(size_of::<WorkspaceError>() <= 24);
    assert!(size_of::<CompressError>() <= 24);
    assert!(size_of::<DecompressError>() <= 24);
    assert!(size_of::<ParseCodecError>() <= 16);
}

#[test]
fn messages_say_expected_and_got() {
    let short = DecompressError::Short {
        expected: 4096,
        got: 17,
    };
    assert_eq!(
        short.to_string(),
        "stream decodes to too few bytes: expected 4096, got 17"
    );
    let level = ParseCodecError::LevelOutOfRange {
        min: -5,
        max: 19,
        got: 77,
    };
    assert_eq!(
        level.to_string(),
        "no such zstd level: expected -5 to 19, got 77"
    );
    let room = CompressError::OutputTooSmall {
        needed: 4525,
        got: 4096,
    };
    assert_eq!(
        room.to_string(),
        "output buffer too small: 4525 bytes are always enough, got 4096"
    );
    let page = WorkspaceError::PageTooLong { max: 10, got: 11 };
    assert_eq!(
        page.to_string(),
        "page too long: expected at most 10 bytes, got 11"
    );
    let workspace = CompressError::WrongWorkspace {
        expected: CodecId::Lz4,
        got: CodecId::Raw,
    };
    assert_eq!(
        workspace.to_string(),
        "workspace of another codec: expected one of lz4, got one of raw"
    );
}

#[test]
fn a_missing_feature_is_named() {
    let error = ParseCodecError::NotInThisBuild {
        codec: CodecId::Zstd,
    };
    assert!(error.to_string().starts_with("this build has no zstd"));
}
