use super::*;
use compcache_device::{Config, Device};

fn disk(size: u64) -> Disk {
    Disk::new(Arc::new(Device::new(Config::new(size)).unwrap()), 1)
}

fn read(disk: &Disk, offset: u64, len: usize) -> Vec<u8> {
    disk.read_at(offset, len, <[u8]>::to_vec).unwrap()
}

#[test]
fn reads_begin_and_end_anywhere_and_stop_at_the_end() {
    let disk = disk(1 << 20);
    let bytes: Vec<u8> = (0..8192u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
    assert_eq!(disk.write_at(4096, &bytes), Ok(8192));
    assert_eq!(read(&disk, 4096 + 100, 7), bytes[100..107]);
    assert_eq!(read(&disk, 4096 + 511, 4098), bytes[511..4609]);
    assert_eq!(read(&disk, (1 << 20) - 5, 100), [0; 5]);
    assert_eq!(read(&disk, 1 << 20, 100), []);
    assert_eq!(read(&disk, u64::MAX, 100), []);
    assert_eq!(read(&disk, 0, REQUEST_BYTES_MAX).len(), REQUEST_BYTES_MAX);
    let most = read(&disk, 511, REQUEST_BYTES_MAX);
    assert_eq!(most.len(), REQUEST_BYTES_MAX);
    let more = disk.read_at(0, REQUEST_BYTES_MAX + 1025, |_| ());
    assert_eq!(more, Err(Errno::EINVAL));
}

#[test]
fn writes_stop_at_the_end() {
    let disk = disk(1 << 20);
    assert_eq!(disk.write_at((1 << 20) - 512, &[1; 4096]), Ok(512));
    assert_eq!(disk.write_at(1 << 20, &[1; 512]), Err(Errno::ENOSPC));
    assert_eq!(disk.write_at(1 << 40, &[1; 512]), Err(Errno::ENOSPC));
    assert_eq!(disk.write_at(0, &[]), Ok(0));
}

#[test]
fn a_full_memory_is_enospc_and_the_old_page_stays() {
    let device = Arc::new(Device::new(Config::new(1 << 20)).unwrap());
    let disk = Disk::new(Arc::clone(&device) as Arc<dyn BlockDevice>, 1);
    // Of no repeated word, so that it needs room.
    let page: Vec<u8> = (0..4096u32).map(|n| ((n * n) >> 7) as u8).collect();
    assert_eq!(disk.write_at(0, &page), Ok(4096));
    device.set_mem_limit(4096);
    let other: Vec<u8> = page.iter().rev().copied().collect();
    assert_eq!(disk.write_at(0, &other), Err(Errno::ENOSPC));
    assert_eq!(read(&disk, 0, 4096), page);
}

#[test]
fn holes_are_punched_found_and_read_as_zeroes() {
    let disk = disk(1 << 20);
    assert_eq!(disk.seek_to(0, ExtentKind::Data), Err(Errno::ENXIO));
    assert_eq!(disk.seek_to(77, ExtentKind::Hole), Ok(77));
    disk.write_at(8192, &[3; 16384]).unwrap();
    assert_eq!(disk.seek_to(0, ExtentKind::Data), Ok(8192));
    assert_eq!(disk.seek_to(9000, ExtentKind::Data), Ok(9000));
    assert_eq!(disk.seek_to(9000, ExtentKind::Hole), Ok(24576));
    let hole = PUNCH_HOLE | KEEP_SIZE;
    assert_eq!(disk.allocate_at(12288, 4096, hole), Ok(()));
    assert_eq!(disk.seek_to(9000, ExtentKind::Hole), Ok(12288));
    // Part of a page becomes zeroes, too.
    assert_eq!(disk.allocate_at(8192, 512, hole), Ok(()));
    assert_eq!(read(&disk, 8192, 1024)[..512], [0; 512]);
    assert_eq!(read(&disk, 8192, 1024)[512..], [3; 512]);
    assert_eq!(disk.allocate_at(0, u64::MAX, hole), Ok(()));
    assert_eq!(disk.seek_to(0, ExtentKind::Data), Err(Errno::ENXIO));
    assert_eq!(disk.seek_to(1 << 20, ExtentKind::Hole), Err(Errno::ENXIO));
}

#[test]
fn other_modes_of_fallocate_are_refused_or_have_nothing_to_do() {
    let disk = disk(1 << 20);
    assert_eq!(disk.allocate_at(0, 1 << 20, 0), Ok(()));
    assert_eq!(disk.allocate_at(0, 1 << 30, KEEP_SIZE), Ok(()));
    assert_eq!(disk.allocate_at(0, 4096, KEEP_SIZE), Ok(()));
    assert_eq!(disk.allocate_at(0, 4096, ZERO_RANGE), Ok(()));
    // Collapsing and inserting move what lies behind.
    for mode in [0x08, 0x20, 0x40] {
        assert_eq!(disk.allocate_at(0, 4096, mode), Err(Errno::EOPNOTSUPP));
    }
}

/// The kernel took success for a file that had grown, which it then could not write.
#[test]
fn room_behind_the_end_is_not_promised() {
    let disk = disk(1 << 20);
    for (offset, len) in [(0, (1 << 20) + 1), (1 << 20, 1), (u64::MAX, u64::MAX)] {
        for mode in [0, ZERO_RANGE] {
            assert_eq!(disk.allocate_at(offset, len, mode), Err(Errno::ENOSPC));
        }
    }
}

/// Writes that did not begin and end between sectors were refused; and so was every large write from
/// a buffer that did not begin on a page's border, because the kernel cuts it within a sector.
#[test]
fn bytes_are_written_and_zeroed_from_anywhere_to_anywhere() {
    const SIZE: usize = 64 << 10;
    let disk = disk(SIZE as u64);
    let mut model = vec![0; SIZE];
    let mut state = 1u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        (state >> 33) as usize % limit
    };
    for round in 0..4000 {
        let most = if round % 2 == 0 { 700 } else { 20_000 };
        let at = below(SIZE);
        let len = below(most).min(SIZE - at);
        let range = at..at + len;
        match below(4) {
            0 => {
                let mode = [PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE][below(2)];
                assert_eq!(disk.allocate_at(at as u64, len as u64, mode), Ok(()));
                model[range].fill(0);
            }
            _ => {
                let bytes: Vec<u8> = (0..len).map(|_| below(256) as u8).collect();
                assert_eq!(disk.write_at(at as u64, &bytes), Ok(len as u32));
                model[range].copy_from_slice(&bytes);
            }
        }
        let (at, len) = (below(SIZE), below(20_000));
        let end = (at + len).min(SIZE);
        assert!(read(&disk, at as u64, len) == model[at..end], "{round}");
    }
}

#[test]
fn there_are_a_directory_and_a_file() {
    let disk = disk(1 << 20);
    let attr = disk.attr(DISK).unwrap();
    assert_eq!((attr.size, attr.perm), (1 << 20, 0o600));
    assert_eq!(disk.attr(ROOT).unwrap().kind, FileType::Directory);
    assert_eq!(disk.attr(INodeNo(3)).unwrap_err(), Errno::ENOENT);
    assert_eq!(on_disk(ROOT), Err(Errno::EISDIR));
}
