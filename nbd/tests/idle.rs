//! A server looks for requests before it sleeps: clients that have none must not cost a CPU.

use compcache_device::{Config as DeviceConfig, Device};
use compcache_nbd::probe::{Ask, Client, command};
use compcache_nbd::{Address, Config, Export, Server};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// Processor time of this process' threads that serve clients, in clock ticks (of 10 ms).
fn ticks_of_servers() -> u64 {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end meanwhile.
        let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else {
            continue;
        };
        let (name, rest) = stat.rsplit_once(')').unwrap();
        if name.contains("compcache-nbd") {
            let fields: Vec<&str> = rest.split_whitespace().collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    ticks
}

#[test]
fn clients_without_requests_cost_no_processor_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let device = Arc::new(Device::new(DeviceConfig::new(8 << 20)).unwrap());
    let config = Config::new(
        vec![Address::Unix(path.clone())],
        Export::new("", false).unwrap(),
    );
    let mut server = Server::start(device, config).unwrap();
    let page = [7; 4096];
    let ask = |command| Ask {
        command,
        offset: 4096,
        len: 4096,
        flags: 0,
    };
    let mut clients: Vec<_> = (0..4)
        .map(|_| Client::connect(UnixStream::connect(&path).unwrap(), "", true).unwrap())
        .collect();
    for client in &mut clients {
        for _ in 0..100 {
            assert_eq!(client.call(ask(command::WRITE), &page).unwrap().error, 0);
        }
    }
    let before = ticks_of_servers();
    std::thread::sleep(Duration::from_secs(1));
    let idle = ticks_of_servers() - before;
    assert!(
        idle <= 5,
        "{idle} ticks of 100 while nobody asked for anything"
    );
    // Whoever slept through that is there at once.
    for client in &mut clients {
        assert_eq!(client.call(ask(command::READ), &[]).unwrap().data, page);
    }
    drop(clients);
    server.stop(Duration::from_secs(1));
    assert_eq!(server.connections(), 0);
}
