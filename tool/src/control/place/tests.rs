//! Directories, names and sockets, claimed and left by others.

use super::*;

#[test]
fn names_are_parts_of_file_names() {
    for name in ["compcache0", "a", "web-1_x.y", &"n".repeat(64)] {
        assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
    }
    for name in [
        "",
        "a/b",
        "..",
        ".hidden",
        "-x",
        "a b",
        "é",
        "a\n",
        &"n".repeat(65),
    ] {
        assert!(name.parse::<Name>().is_err(), "{name}");
    }
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let (name, place, listener) = Place::claim(None, Some(&path)).unwrap();
    assert_eq!(name.as_str(), "x");
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    let error = Place::claim(None, Some(&path)).unwrap_err();
    assert!(matches!(error, PlaceError::InUse(_)), "{error}");
    // Killed: nobody removes the file.
    std::mem::forget(place);
    drop(listener);
    assert!(path.exists());
    let (_, place, _listener) = Place::claim(None, Some(&path)).unwrap();
    // Somebody else's file under the same name stays.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "x").unwrap();
    drop(place);
    assert!(path.exists());
    let error = Place::claim(None, Some(&path)).unwrap_err();
    assert!(matches!(error, PlaceError::NotASocket(_)), "{error}");
    fs::remove_file(&path).unwrap();
    drop(Place::claim(None, Some(&path)).unwrap());
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

/// Whoever can open the directory can lock it. Servers waited for the lock, for ever, with the
/// signals to stop them blocked.
#[test]
fn a_directory_that_others_have_locked_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::open(dir.path()).unwrap();
    let held = Flock::lock(file, FlockArg::LockShared).unwrap();
    let error = Place::claim_in(dir.path(), None).unwrap_err();
    assert!(matches!(error, PlaceError::Locked(_)), "{error}");
    drop(held);
    Place::claim_in(dir.path(), None).unwrap();
}

/// A server whose queue is full, because it was stopped or has too many clients, was waited for
/// for ever by `ctl` and by the next server.
#[test]
fn a_full_queue_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let (_, _place, _listener) = Place::claim(None, Some(&path)).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        match connect(&path, Duration::ZERO) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 1000);
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    let full = connect(&path, Duration::from_millis(50)).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    let error = Place::claim(None, Some(&path)).unwrap_err();
    assert!(matches!(error, PlaceError::InUse(_)), "{error}");
    assert!(path.exists());
}

#[test]
fn names_are_the_next_free_number() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("compcache");
    let claim = |name: Option<&Name>| Place::claim_in(&dir, name).unwrap();
    let first = claim(None);
    let (second, place, listener) = claim(None);
    assert_eq!(
        (first.0.as_str(), second.as_str()),
        ("compcache0", "compcache1")
    );
    let third = claim(None);
    // One that was killed is free, one that stopped is too.
    std::mem::forget(place);
    drop(listener);
    assert_eq!(claim(None).0.as_str(), "compcache1");
    drop(first);
    assert_eq!(claim(None).0.as_str(), "compcache0");
    let web: Name = "web".parse().unwrap();
    let named = claim(Some(&web));
    assert_eq!(named.1.path, dir.join("web.sock"));
    let taken = Place::claim_in(&dir, Some(&web)).unwrap_err();
    assert!(matches!(taken, PlaceError::InUse(_)), "{taken}");
    assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o711);
    drop((third, named));
}

#[test]
fn sockets_are_listed_by_number() {
    let dir = tempfile::tempdir().unwrap();
    for file in [
        "compcache10.sock",
        "compcache2.sock",
        "a.sock",
        "x.lock",
        ".sock",
        ".y.sock",
    ] {
        fs::write(dir.path().join(file), "").unwrap();
    }
    let names = sockets(dir.path()).unwrap();
    let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "compcache2", "compcache10"]);
    assert_eq!(sockets(&dir.path().join("none")).unwrap(), []);
}
