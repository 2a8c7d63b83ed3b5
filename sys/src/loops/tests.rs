use super::*;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

/// Loop devices need root and a kernel that has them.
fn permitted() -> bool {
    let usable = open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).is_ok();
    if !usable {
        println!("SKIPPED: {CONTROL} cannot be used here");
        let absent = !Path::new(CONTROL).exists();
        assert!(
            absent || std::env::var("CI").as_deref() != Ok("true"),
            "the tests of loop devices need root"
        );
    }
    usable
}

#[test]
fn a_device_reads_and_writes_its_file_and_goes() {
    if !permitted() {
        return;
    }
    let mut backing = tempfile::tempfile().unwrap();
    backing.set_len(1 << 20).unwrap();
    let mut device = LoopDevice::attach(&backing, 512).unwrap();
    let path = device.path().to_owned();
    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(8192)).unwrap();
    file.write_all(&[7; 512]).unwrap();
    file.sync_all().unwrap();
    drop(file);
    backing.seek(SeekFrom::Start(8192)).unwrap();
    let mut back = [0; 512];
    backing.read_exact(&mut back).unwrap();
    assert_eq!(back, [7; 512]);

    assert!(!is_claimed(&path));
    let claim = open(&path, OFlags::RDWR | OFlags::EXCL, Mode::empty()).unwrap();
    assert!(is_claimed(&path));
    assert!(matches!(device.detach(), Err(LoopError::InUse { .. })));
    drop(claim);
    device.detach().unwrap();
    device.detach().unwrap();
    let state = device.state.join("loop/backing_file");
    assert!(!state.exists());
}

#[test]
fn a_device_that_is_dropped_goes_by_itself() {
    if !permitted() {
        return;
    }
    let backing = tempfile::tempfile().unwrap();
    backing.set_len(1 << 20).unwrap();
    let device = LoopDevice::attach(&backing, 4096).unwrap();
    let state = device.state.join("loop/backing_file");
    assert!(state.exists());
    drop(device);
    let end = Instant::now() + GONE_TIME;
    while state.exists() {
        assert!(Instant::now() < end, "{} is still there", state.display());
        std::thread::sleep(POLL);
    }
}

/// A device that somebody had open without claiming it was told to go and stayed; asked again, it
/// was said to be gone, and what it reads from was taken from under it.
#[test]
fn a_device_that_is_open_is_not_gone_however_often_it_is_asked() {
    if !permitted() {
        return;
    }
    let backing = tempfile::tempfile().unwrap();
    backing.set_len(1 << 20).unwrap();
    let mut device = LoopDevice::attach(&backing, 512).unwrap();
    let user = File::open(device.path()).unwrap();
    for _ in 0..2 {
        let refused = device.detach_within(Duration::from_millis(300));
        assert!(matches!(refused, Err(LoopError::InUse { .. })));
        assert!(device.is_there());
    }
    drop(user);
    device.detach().unwrap();
    assert!(!device.is_there());
}

#[test]
fn disks_of_one_name_have_different_sequence_numbers() {
    if !permitted() || !Path::new("/sys/block/loop0/diskseq").exists() {
        return;
    }
    let backing = tempfile::tempfile().unwrap();
    backing.set_len(1 << 20).unwrap();
    let mut known = Vec::new();
    for _ in 0..3 {
        let mut device = LoopDevice::attach(&backing, 512).unwrap();
        assert_eq!(device.sequence, sequence(device.path()));
        assert!(device.sequence.is_some() && !known.contains(&device.sequence));
        known.push(device.sequence);
        device.detach().unwrap();
    }
    assert_eq!(sequence(Path::new("/dev/null")), None);
}
