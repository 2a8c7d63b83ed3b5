//! Records of servers, live and dead.

use super::*;

/// A process number that nobody has.
const NOBODY: i32 = i32::MAX - 1;

fn record(dir: &Path, pid: i32, text: &str) -> PathBuf {
    let path = dir.join(format!("{PREFIX}{pid}"));
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_record_is_left_over_when_its_process_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let text = "started 1\ndevice /dev/loop9\nsequence 7\n";
    let path = record(dir.path(), NOBODY, text);
    let expected = Leftover {
        record: path.clone(),
        device: "/dev/loop9".into(),
        sequence: Some(7),
    };
    assert_eq!(leftover(&path), Some(expected));
    // Of a live process; of an earlier one that had its number.
    let pid = std::process::id().cast_signed();
    let text = format!("started {}\ndevice /dev/loop9\n", started(pid).unwrap());
    assert_eq!(leftover(&record(dir.path(), pid, &text)), None);
    let earlier = leftover(&record(dir.path(), pid, "started 1\ndevice /dev/loop9\n"));
    assert_eq!(earlier.unwrap().sequence, None);
    // Cut off, too long, of another name.
    assert!(leftover(&record(dir.path(), NOBODY, "")).is_some());
    let long = "x".repeat(RECORD_BYTES_MAX as usize + 1);
    assert_eq!(leftover(&record(dir.path(), NOBODY, &long)), None);
    assert_eq!(leftover(&dir.path().join("compcache0.sock")), None);
}

/// The device of a server that was killed had been taken off by hand, and its name was another's by
/// the next start: whose swap was then taken off, and with ublk his device deleted.
#[test]
fn a_device_that_has_only_the_name_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = "started 1\ndevice /dev/loop-of-others\nsequence 7\n";
    let left = leftover(&record(dir.path(), NOBODY, text)).unwrap();
    assert!(!left.is_there());
    clear_one(&left).unwrap();
    assert!(!left.record.exists());
}

#[test]
fn a_record_replaces_a_link_and_does_not_follow_it() {
    let dir = tempfile::tempdir().unwrap();
    let (target, path) = (dir.path().join("target"), dir.path().join("swap-1"));
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    create(&path, "device x\n").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    assert_eq!(fs::read(&path).unwrap(), b"device x\n");
    assert!(!path.is_symlink());
}

/// A program whose group was full was killed while swapoff ran, which then failed though a moment later
/// nothing was swapped out any more: the new server gave up and asked for a reboot.
#[test]
fn swapoff_is_tried_again_for_a_while() {
    let mut left = 2;
    let twice = retried(Duration::from_secs(600), || {
        left -= 1;
        if left > 0 {
            Err("ENOMEM".into())
        } else {
            Ok(())
        }
    });
    assert_eq!((twice, left), (Ok(()), 0));
    let mut tried = 0;
    let never = retried(Duration::ZERO, || {
        tried += 1;
        Err(format!("failed {tried} times"))
    });
    assert_eq!(never, Err("failed 1 times".into()));
}
