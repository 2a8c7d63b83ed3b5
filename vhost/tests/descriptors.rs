//! What clients leave behind: nothing, however often they come. Alone in its process, whose
//! descriptors and threads it counts.

use compcache_device::{Config as DeviceConfig, Device};
use compcache_vhost::{Config, Server};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn count(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[test]
fn clients_leave_neither_descriptors_nor_threads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let device = Arc::new(Device::new(DeviceConfig::new(1 << 20)).unwrap());
    let mut server = Server::start(device, Config::new(&path)).unwrap();
    let visit = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        // The header of SET_OWNER.
        let message = [3u32, 1, 0].map(u32::to_le_bytes).concat();
        stream.write_all(&message).unwrap();
        let end = Instant::now() + PATIENCE;
        while !server.is_connected() && Instant::now() < end {
            std::thread::yield_now();
        }
        drop(stream);
        while server.is_connected() && Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(Instant::now() < end, "a client was not served");
    };
    visit();
    let before = (count("/proc/self/fd"), count("/proc/self/task"));
    for _ in 0..200 {
        visit();
    }
    let after = (count("/proc/self/fd"), count("/proc/self/task"));
    assert_eq!(after, before);
    assert!(server.stop(PATIENCE));
}
