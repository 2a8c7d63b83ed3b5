use super::*;
use compcache_sys::loops::LoopDevice;

#[test]
fn a_file_is_emptied_grows_and_gives_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    std::fs::write(&path, [7; 100_000]).unwrap();
    let store = FileStore::open(&path, 1 << 20).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    assert_eq!(store.allocated_bytes().unwrap(), 0);
    store.write_at(8192, &[3; 8192]).unwrap();
    assert_eq!(store.allocated_bytes().unwrap(), 8192);
    let mut bytes = [0; 8192];
    store.read_at(8192, &mut bytes).unwrap();
    assert_eq!(bytes, [3; 8192]);
    // Behind the end there is nothing to read.
    let error = store.read_at(12_288, &mut bytes).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    if store.block_len() == 0 {
        println!("SKIPPED: the folder for temporary files cannot punch holes");
        return;
    }
    assert_eq!(store.span(), 4 << 20);
    store.discard(8192, 4096).unwrap();
    assert_eq!(store.allocated_bytes().unwrap(), 4096);
    store.read_at(8192, &mut bytes).unwrap();
    assert_eq!(bytes[..4096], [0; 4096]);
    assert_eq!(bytes[4096..], [3; 4096]);
}

#[test]
fn a_file_that_is_made_is_its_owners_alone_and_only_once_open() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    let store = FileStore::open(&path, 1 << 20).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    store.write_at(0, &[1; 4096]).unwrap();
    // Another server must not empty it.
    assert!(matches!(
        FileStore::open(&path, 1 << 20),
        Err(OpenError::InUse)
    ));
    assert_eq!(store.allocated_bytes().unwrap(), 4096);
    drop(store);
    FileStore::open(&path, 1 << 20).unwrap();
}

#[test]
fn a_file_in_a_folder_has_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), 1 << 20).unwrap();
    store.write_at(0, b"hidden").unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_no_file_is_refused() {
    let refused = |path: &str| FileStore::open(Path::new(path), 1 << 20).unwrap_err();
    assert!(matches!(refused("/dev/null"), OpenError::BadKind));
    assert!(matches!(refused("/nowhere/at/all"), OpenError::Io(_)));
}

#[test]
fn settling_keeps_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), 64 << 20).unwrap();
    for segment in 0..80u64 {
        store
            .write_at(segment << 18, &[segment as u8; 1 << 18])
            .unwrap();
        store.settle(segment << 18, 1 << 18).unwrap();
        assert!(store.unsettled.lock().len < SETTLE_LEN);
    }
    let mut bytes = [0; 1 << 10];
    for segment in 0..80u64 {
        store.read_at((segment << 18) + 5000, &mut bytes).unwrap();
        assert_eq!(bytes, [segment as u8; 1 << 10]);
    }
}

/// A real block device: over a file, whose holes show what was discarded.
#[test]
fn a_device_is_claimed_and_its_blocks_are_discarded() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    std::fs::write(&path, vec![5; 4 << 20]).unwrap();
    let disk = File::options().read(true).write(true).open(&path).unwrap();
    let device = match LoopDevice::attach(&disk, 4096) {
        Ok(device) => device,
        Err(error) => {
            println!("SKIPPED: no loop device here: {error}");
            return;
        }
    };
    let store = FileStore::open(device.path(), u64::MAX).unwrap();
    assert_eq!(
        (store.len(), store.span(), store.block_len()),
        (4 << 20, 4 << 20, 0)
    );
    let blocks = || std::fs::metadata(&path).unwrap().blocks();
    if blocks() != 0 {
        println!("SKIPPED: the folder for temporary files cannot punch holes");
        return;
    }
    assert!(matches!(
        FileStore::open(device.path(), u64::MAX),
        Err(OpenError::InUse)
    ));
    store.write_at(0, &[9; 1 << 20]).unwrap();
    fs::fdatasync(&store.file).unwrap();
    assert_eq!(blocks(), 2048);
    store.discard(0, 512 << 10).unwrap();
    assert_eq!(blocks(), 1024);
    let mut bytes = [0; 4096];
    store.read_at(1 << 19, &mut bytes).unwrap();
    assert_eq!(bytes, [9; 4096]);
}
