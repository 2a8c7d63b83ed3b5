use super::*;
use compcache_device::{Config as DeviceConfig, Device};
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom, fallocate, open, seek};
use std::fs::File;
use std::os::unix::fs::FileExt;

const SIZE: u64 = 8 << 20;

/// Mounting needs root, `/dev/fuse` and loop devices.
fn permitted() -> bool {
    let missing: Vec<&str> = ["/dev/fuse", "/dev/loop-control"]
        .into_iter()
        .filter(|path| File::options().read(true).write(true).open(path).is_err())
        .collect();
    if !missing.is_empty() {
        println!("SKIPPED: {missing:?} cannot be used here");
        let absent = missing.iter().all(|path| !Path::new(path).exists());
        assert!(
            absent || std::env::var("CI").as_deref() != Ok("true"),
            "the tests of FUSE and loop need root"
        );
    }
    missing.is_empty()
}

fn device() -> Arc<Device> {
    Arc::new(Device::new(DeviceConfig::new(SIZE)).unwrap())
}

fn start(device: &Arc<Device>, place: Place, block_size: Option<u32>) -> Server {
    let device = Arc::clone(device) as Arc<dyn BlockDevice>;
    Server::start(device, &Config::new(place, block_size)).unwrap()
}

/// Numbers for tests: xorshift64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Room whose first byte lies on a page's border, as O_DIRECT wants it.
fn aligned(room: &mut [u8], len: usize) -> &mut [u8] {
    let skip = room.as_ptr().align_offset(4096);
    &mut room[skip..skip + len]
}

/// A write of 1 MiB from a buffer that begins within a page: the kernel cut it within a sector, and
/// the second part of it was refused.
#[test]
fn a_buffer_may_begin_anywhere() {
    if !permitted() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let _server = start(&device(), Place::Directory(directory.path().into()), None);
    let path = directory.path().join(FILE_NAME);
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut room = vec![0; (1 << 20) + 8192];
    for skip in [0, 1, 16, 100, 513] {
        let bytes = &mut aligned(&mut room, (1 << 20) + 1024)[skip..][..1 << 20];
        for (byte, n) in bytes.iter_mut().zip(skip..) {
            *byte = (n * 7 + (n >> 9)) as u8;
        }
        file.write_all_at(bytes, 300).unwrap();
        let mut back = vec![0; 1 << 20];
        file.read_exact_at(&mut back, 300).unwrap();
        assert!(back == *bytes, "{skip}");
    }
    // Of a file that does not grow, the kernel believed that it had.
    assert!(fallocate(&file, FallocateFlags::empty(), 0, 2 * SIZE).is_err());
    assert_eq!(file.metadata().unwrap().len(), SIZE);
}

/// Random reads, writes and holes of `step` bytes and more, each compared with a plain copy.
fn compare_with_model(file: &File, step: u64, rounds: usize) {
    let mut model = vec![0; SIZE as usize];
    let mut numbers = Numbers(0x5eed);
    let mut room = vec![0; (512 << 10) + 4096];
    for round in 0..rounds {
        let len = (1 + numbers.next(if round % 8 == 0 {
            (512 << 10) / step
        } else {
            16
        })) * step;
        let at = numbers.next((SIZE - len) / step + 1) * step;
        let (from, to) = (at as usize, (at + len) as usize);
        let buffer = aligned(&mut room, len as usize);
        match numbers.next(4) {
            0 => {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(file, hole, at, len).unwrap();
                model[from..to].fill(0);
            }
            1 => {
                file.read_exact_at(buffer, at).unwrap();
                assert_eq!(
                    *buffer,
                    model[from..to],
                    "round {round}, {len} bytes at {at}"
                );
            }
            _ => {
                let kind = numbers.next(3);
                let seed = numbers.next(256);
                for (byte, n) in buffer.iter_mut().zip(0u64..) {
                    *byte = match kind {
                        0 => seed as u8,
                        1 => (n / 16 * seed) as u8,
                        _ => numbers.next(256) as u8,
                    };
                }
                file.write_all_at(buffer, at).unwrap();
                model[from..to].copy_from_slice(buffer);
            }
        }
    }
    let mut back = vec![0; (1 << 20) + 4096];
    for at in (0..SIZE).step_by(1 << 20) {
        let buffer = aligned(&mut back, 1 << 20);
        file.read_exact_at(buffer, at).unwrap();
        assert!(*buffer == model[at as usize..][..1 << 20], "MiB at {at}");
    }
}

#[test]
fn the_file_holds_what_was_written() {
    if !permitted() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut server = start(&device(), Place::Directory(directory.path().into()), None);
    let path = directory.path().join(FILE_NAME);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), SIZE);
    compare_with_model(&file, 512, 2000);
    file.sync_all().unwrap();

    let refused = server.stop();
    assert!(
        matches!(refused, Err(FuseError::InUse { .. })),
        "{refused:?}"
    );
    file.write_all_at(&[1; 4096], 0).unwrap();
    drop(file);
    server.stop().unwrap();
    server.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn the_loop_device_holds_what_was_written_and_gives_back_what_is_discarded() {
    if !permitted() {
        return;
    }
    let device = device();
    for block_size in [512, 4096] {
        let mut server = start(&device, Place::Hidden, Some(block_size));
        let loop_device = server.loop_device().unwrap();
        assert!(loop_device.is_direct(), "{}", loop_device.path().display());
        let path = loop_device.path().to_owned();
        let flags = OFlags::RDWR | OFlags::DIRECT;
        let file = File::from(open(&path, flags, Mode::empty()).unwrap());
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, hole, 0, SIZE).unwrap();
        compare_with_model(&file, u64::from(block_size), 1500);
        assert!(device.stat().mm.orig_data_size > 0);
        fallocate(&file, hole, 0, SIZE).unwrap();
        let stat = device.stat().mm;
        assert_eq!((stat.orig_data_size, stat.same_pages), (0, 0));
        drop(file);
        server.stop().unwrap();
        assert!(server.loop_device().is_none());
    }
}

#[test]
fn a_device_in_use_is_not_taken_down() {
    if !permitted() {
        return;
    }
    let mut server = start(&device(), Place::Hidden, Some(4096));
    let path = server.loop_device().unwrap().path().to_owned();
    let claim = open(&path, OFlags::RDWR | OFlags::EXCL, Mode::empty()).unwrap();
    let refused = server.stop();
    let Err(FuseError::Loop(LoopError::InUse { device })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(device, path);
    let file = File::from(claim);
    file.write_all_at(&[9; 4096], 0).unwrap();
    file.sync_all().unwrap();
    drop(file);
    server.stop().unwrap();
}

#[test]
fn holes_can_be_sought() {
    if !permitted() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let _server = start(&device(), Place::Directory(directory.path().into()), None);
    let path = directory.path().join(FILE_NAME);
    // Like a disk, it keeps its size.
    let file = File::options()
        .write(true)
        .read(true)
        .truncate(true)
        .create(true)
        .open(path);
    let file = file.unwrap();
    assert_eq!(file.metadata().unwrap().len(), SIZE);
    file.write_all_at(&[1; 8192], 1 << 20).unwrap();
    assert_eq!(seek(&file, SeekFrom::Data(0)).unwrap(), 1 << 20);
    assert_eq!(
        seek(&file, SeekFrom::Hole(1 << 20)).unwrap(),
        (1 << 20) + 8192
    );
    assert!(seek(&file, SeekFrom::Data(2 << 20)).is_err());
    let refused = file.write_all_at(&[1; 512], SIZE).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
}
