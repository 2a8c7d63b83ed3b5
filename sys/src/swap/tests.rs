use super::*;

#[test]
fn the_header_is_what_the_kernel_reads() {
    let bytes = header_of(64 << 20, 4096, [9; 16], "compcache").unwrap();
    assert_eq!(bytes.len(), 4096);
    assert!(bytes[..1024].iter().all(|&byte| byte == 0));
    assert_eq!(bytes[1024..1028], 1u32.to_ne_bytes());
    assert_eq!(bytes[1028..1032], 16383u32.to_ne_bytes());
    assert_eq!(bytes[1032..1036], [0; 4]);
    assert_eq!(bytes[1036..1052], [9; 16]);
    assert_eq!(&bytes[1052..1062], b"compcache\0");
    assert_eq!(&bytes[4086..], b"SWAPSPACE2");
}

#[test]
fn a_long_label_is_cut() {
    let bytes = header_of(64 << 20, 4096, [9; 16], "a label longer than sixteen").unwrap();
    assert_eq!(&bytes[1052..1069], b"a label longer \0\0");
}

#[test]
fn sizes_have_limits() {
    for size in [0, 4096, 9 * 4096, (64 << 20) + 512, (1 << 32) * 4096 + 4096] {
        let refused = header_of(size, 4096, [0; 16], "");
        assert!(matches!(refused, Err(SwapError::BadSize { .. })), "{size}");
    }
    assert!(header_of(10 * 4096, 4096, [0; 16], "").is_ok());
    assert!(header_of((1 << 32) * 4096, 4096, [0; 16], "").is_ok());
}

#[test]
fn two_areas_have_two_uuids() {
    let uuid = || header(1 << 20, "").unwrap()[1036..1052].to_vec();
    assert_ne!(uuid(), uuid());
}

#[test]
fn lines_of_proc_swaps_are_read() {
    let line = b"/dev/loop0                              partition\t4194300\t\t1024\t\t100";
    let expected = Area {
        device: "/dev/loop0".into(),
        size: 4_194_300 << 10,
        used: 1 << 20,
        priority: 100,
    };
    assert_eq!(area(line), Some(expected));
    let file = area(b"/var/a\\040b\\134c file 8 0 -2").unwrap();
    assert_eq!(file.device, Path::new("/var/a b\\c"));
    assert_eq!(file.priority, -2);
    for line in [&b""[..], b"/dev/x partition", b"/dev/x partition a b c"] {
        assert_eq!(area(line), None);
    }
}

#[test]
fn names_are_checked() {
    let refused = off(Path::new("a\0b"));
    assert!(matches!(refused, Err(SwapError::BadName(_))));
}
