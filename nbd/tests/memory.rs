//! What a server under load takes beside the pages it holds.

use compcache_device::{Config as DeviceConfig, Device};
use compcache_nbd::probe::{Ask, Client, command};
use compcache_nbd::{Address, Config, Export, Server};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// Memory that a server may take beside `mem_used_total`.
const BESIDE_MAX: u64 = 32 * MIB;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn resident_memory_stays_near_what_the_pages_take() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let device = Arc::new(Device::new(DeviceConfig::new(1 << 30)).unwrap());
    let config = Config::new(
        vec![Address::Unix(path.clone())],
        Export::new("", false).unwrap(),
    );
    let mut server = Server::start(Arc::clone(&device) as _, config).unwrap();
    let data: Vec<u8> = (0..MIB as u32)
        .map(|n| (n.wrapping_mul(n / 4096) >> 5) as u8)
        .collect();
    std::thread::scope(|scope| {
        for quarter in 0..4 {
            let (path, data) = (&path, &data);
            scope.spawn(move || {
                let stream = UnixStream::connect(path).unwrap();
                let mut client = Client::connect(stream, "", true).unwrap();
                for nth in 0..64 {
                    let mut ask = Ask {
                        command: command::WRITE,
                        offset: (quarter * 256 + nth) * MIB,
                        len: MIB as u32,
                        flags: 0,
                    };
                    assert_eq!(client.call(ask, data).unwrap().error, 0);
                    ask.command = command::READ;
                    assert!(client.call(ask, &[]).unwrap().data == *data);
                }
            });
        }
    });
    let used = device.stat().mm.mem_used_total;
    let limit = used + BESIDE_MAX;
    let now = resident();
    assert!(
        used > 16 * MIB && now <= limit,
        "{now} resident, {used} used"
    );
    server.stop(Duration::from_secs(1));
    assert_eq!(server.connections(), 0);
}
