use super::*;
use compcache_device::{Config as DeviceConfig, Device, PAGE_SIZE};
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const PATIENCE: Duration = Duration::from_secs(20);
/// Where the VMM says that its memory lies in its own addresses.
const BASE: u64 = 0x7000_0000;
const MEMORY: u64 = 1 << 20;
const ENTRIES: u16 = 64;
/// Room of one ring and its buffers.
const RING_BYTES: u64 = 0x20000;

struct Place {
    dir: tempfile::TempDir,
    device: Arc<Device>,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            device: Arc::new(Device::new(DeviceConfig::new(1 << 20)).unwrap()),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    fn serve(&self) -> Server {
        let device = Arc::clone(&self.device) as Arc<dyn BlockDevice>;
        let mut config = Config::new(self.path());
        config.threads = 3;
        Server::start(device, config).unwrap()
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A VMM with a guest of one megabyte.
struct Vmm {
    frontend: Frontend,
    memory: GuestMemoryMmap,
    rings: Vec<Ring>,
}

struct Ring {
    base: u64,
    kick: EventFd,
    call: EventFd,
    sent: u16,
}

impl Vmm {
    fn connect(path: &Path, rings: usize) -> Self {
        let mut frontend = Frontend::connect(path, 64).unwrap();
        frontend.set_owner().unwrap();
        let features = frontend.get_features().unwrap();
        frontend.set_features(features).unwrap();
        let offered = frontend.get_protocol_features().unwrap();
        let wanted = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::CONFIG;
        frontend.set_protocol_features(offered & wanted).unwrap();
        let file = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, MEMORY).unwrap();
        let file = std::fs::File::from(file);
        frontend.set_mem_table(&[region(&file, MEMORY)]).unwrap();
        let range = (
            GuestAddress(0),
            MEMORY as usize,
            Some(FileOffset::new(file, 0)),
        );
        let mut vmm = Self {
            frontend,
            memory: GuestMemoryMmap::from_ranges_with_files([range]).unwrap(),
            rings: Vec::new(),
        };
        for ring in 0..rings {
            vmm.start_ring(ring);
        }
        vmm
    }

    fn start_ring(&mut self, number: usize) {
        let ring = Ring {
            base: number as u64 * RING_BYTES,
            kick: EventFd::new(EFD_NONBLOCK).unwrap(),
            call: EventFd::new(EFD_NONBLOCK).unwrap(),
            sent: 0,
        };
        let config = VringConfigData {
            queue_max_size: ENTRIES,
            queue_size: ENTRIES,
            flags: 0,
            desc_table_addr: BASE + ring.base + 0x1000,
            used_ring_addr: BASE + ring.base + 0x3000,
            avail_ring_addr: BASE + ring.base + 0x2000,
            log_addr: None,
        };
        let frontend = &mut self.frontend;
        frontend.set_vring_num(number, ENTRIES).unwrap();
        frontend.set_vring_addr(number, &config).unwrap();
        frontend.set_vring_base(number, 0).unwrap();
        frontend.set_vring_call(number, &ring.call).unwrap();
        frontend.set_vring_kick(number, &ring.kick).unwrap();
        frontend.set_vring_enable(number, true).unwrap();
        self.rings.push(ring);
    }

    /// Puts a request of header, data and status into a ring, and rings.
    fn send(&mut self, number: usize, kind: u32, sector: u64, data: &[u8]) {
        let ring = &mut self.rings[number];
        let memory = &self.memory;
        let at = |offset: u64| GuestAddress(ring.base + offset);
        memory.write_slice(&kind.to_le_bytes(), at(0)).unwrap();
        memory.write_slice(&sector.to_le_bytes(), at(8)).unwrap();
        memory.write_slice(data, at(0x8000)).unwrap();
        memory.write_slice(&[0xa5], at(0x100)).unwrap();
        let (next, write) = (VRING_DESC_F_NEXT as u16, VRING_DESC_F_WRITE as u16);
        let direction = if kind == VIRTIO_BLK_T_IN { write } else { 0 };
        for (entry, (offset, len, flags)) in (0u16..).zip([
            (0, 16, next),
            (0x8000, data.len() as u32, direction | next),
            (0x100, 1, write),
        ]) {
            let descriptor = Descriptor::new(ring.base + offset, len, flags, entry + 1);
            let place = at(0x1000 + u64::from(entry) * 16);
            memory.write_obj(descriptor, place).unwrap();
        }
        let slot = u64::from(ring.sent % ENTRIES);
        memory.write_obj(0u16, at(0x2004 + slot * 2)).unwrap();
        ring.sent = ring.sent.wrapping_add(1);
        let used_event = ring.sent.wrapping_sub(1);
        let place = at(0x2004 + u64::from(ENTRIES) * 2);
        memory.write_obj(used_event, place).unwrap();
        memory
            .store(ring.sent, at(0x2002), Ordering::Release)
            .unwrap();
        ring.kick.write(1).unwrap();
    }

    /// Waits to be told that it is done: the status.
    fn wait(&self, number: usize) -> u8 {
        let ring = &self.rings[number];
        let used = GuestAddress(ring.base + 0x3002);
        wait_until("an answer", || ring.call.read().is_ok());
        assert_eq!(
            self.memory.load::<u16>(used, Ordering::Acquire).unwrap(),
            ring.sent
        );
        self.memory
            .read_obj(GuestAddress(ring.base + 0x100))
            .unwrap()
    }

    fn ask(&mut self, number: usize, kind: u32, sector: u64, data: &[u8]) -> u8 {
        self.send(number, kind, sector, data);
        self.wait(number)
    }

    fn data(&self, number: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let place = GuestAddress(self.rings[number].base + 0x8000);
        self.memory.read_slice(&mut bytes, place).unwrap();
        bytes
    }
}

fn region(file: &std::fs::File, memory_size: u64) -> VhostUserMemoryRegionInfo {
    VhostUserMemoryRegionInfo {
        guest_phys_addr: 0,
        memory_size,
        userspace_addr: BASE,
        mmap_offset: 0,
        mmap_handle: file.as_raw_fd(),
    }
}

#[test]
fn vmms_come_and_go_and_the_device_stays() {
    let place = Place::new();
    let mut server = place.serve();
    for round in 0..5u8 {
        let mut vmm = Vmm::connect(&place.path(), 5);
        assert!(server.is_connected() && server.path() == place.path());
        let (_, space) = vmm
            .frontend
            .get_config(0, 8, VhostUserConfigFlags::empty(), &[0; 8])
            .unwrap();
        assert_eq!(space, 2048u64.to_le_bytes());
        assert_eq!(vmm.frontend.get_queue_num().unwrap(), 64);
        for ring in 0..5 {
            let sector = ring as u64 * 8;
            if round > 0 {
                assert_eq!(vmm.ask(ring, VIRTIO_BLK_T_IN, sector, &[0; 4096]), 0);
                assert_eq!(vmm.data(ring, 4096), [round * 16 + ring as u8 - 16; 4096]);
            }
            let page = [round * 16 + ring as u8; 4096];
            assert_eq!(vmm.ask(ring, VIRTIO_BLK_T_OUT, sector, &page), 0);
        }
        assert_eq!(vmm.ask(0, VIRTIO_BLK_T_IN, 2048, &[0; 512]), 1);
        assert!(server.is_used());
        if round % 2 == 0 {
            // As a guest does that is shut down; the other ones are killed.
            for ring in 0..5 {
                assert!(vmm.frontend.get_vring_base(ring).is_ok());
            }
            assert!(!server.is_used() && server.is_connected());
        }
        drop(vmm);
        wait_until("the end of a VMM", || !server.is_connected());
        assert!(!server.is_used());
    }
    assert!(server.stop(PATIENCE));
    assert!(!place.path().exists());
}

#[test]
fn all_rings_are_served_at_once() {
    let place = Place::new();
    let server = place.serve();
    let mut vmm = Vmm::connect(&place.path(), 7);
    for round in 0..200u64 {
        for ring in 0..7 {
            let page = [(round * 7 + ring as u64) as u8; 2048];
            vmm.send(ring, VIRTIO_BLK_T_OUT, ring as u64 * 4 + 1, &page);
        }
        for ring in 0..7 {
            assert_eq!(vmm.wait(ring), 0);
        }
    }
    for ring in 0..7u64 {
        let mut stored = [0; 2048];
        place.device.read(ring * 2048 + 512, &mut stored).unwrap();
        assert_eq!(stored, [(199 * 7 + ring) as u8; 2048]);
    }
    drop(vmm);
    drop(server);
}

#[test]
fn rings_that_make_no_sense_hold_up_nobody() {
    let place = Place::new();
    let mut server = place.serve();
    let mut vmm = Vmm::connect(&place.path(), 2);
    // More requests announced than the ring has entries.
    vmm.memory
        .store(1000u16, GuestAddress(0x2002), Ordering::Release)
        .unwrap();
    vmm.rings[0].kick.write(1).unwrap();
    // Requests at entries that there are not.
    let base = vmm.rings[1].base;
    for slot in 0..3u64 {
        let place = GuestAddress(base + 0x2004 + slot * 2);
        vmm.memory.write_obj(60000u16, place).unwrap();
    }
    vmm.memory
        .store(3u16, GuestAddress(base + 0x2002), Ordering::Release)
        .unwrap();
    vmm.rings[1].kick.write(1).unwrap();
    // They are passed over; the next good one is answered.
    vmm.rings[1].sent = 3;
    vmm.send(1, VIRTIO_BLK_T_OUT, 0, &[7; 512]);
    wait_until("the write", || {
        let mut sector = [0; 512];
        place.device.read(0, &mut sector).unwrap();
        sector == [7; 512]
    });
    // The other is served again when it was set up anew.
    assert!(vmm.frontend.get_vring_base(0).is_ok());
    vmm.memory
        .store(0u32, GuestAddress(0x3000), Ordering::Release)
        .unwrap();
    vmm.memory
        .store(0u16, GuestAddress(0x2002), Ordering::Release)
        .unwrap();
    let rest = vmm.rings.split_off(1);
    vmm.rings.clear();
    vmm.start_ring(0);
    vmm.rings.extend(rest);
    assert_eq!(vmm.ask(0, VIRTIO_BLK_T_IN, 0, &[0; 512]), 0);
    assert_eq!(vmm.data(0, 512), [7; 512]);
    assert!(server.stop(PATIENCE));
}

#[test]
fn memory_that_is_not_there_is_refused() {
    let place = Place::new();
    let server = place.serve();
    let mut vmm = Vmm::connect(&place.path(), 0);
    let acknowledged = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
    vmm.frontend.set_protocol_features(acknowledged).unwrap();
    vmm.frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    let file = memfd_create("short", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, PAGE_SIZE).unwrap();
    let file = std::fs::File::from(file);
    let region = region(&file, MEMORY);
    assert!(vmm.frontend.set_mem_table(&[region]).is_err());
    // And nothing more is heard from this VMM.
    assert!(vmm.frontend.get_features().is_err());
    drop(vmm);
    wait_until("the end of a VMM", || !server.is_connected());
    let mut vmm = Vmm::connect(&place.path(), 1);
    assert_eq!(vmm.ask(0, VIRTIO_BLK_T_IN, 0, &[9; 512]), 0);
    assert_eq!(vmm.data(0, 512), [0; 512]);
}

#[test]
fn a_stop_does_not_wait_for_a_vmm_that_says_nothing() {
    let place = Place::new();
    let mut server = place.serve();
    let _silent = UnixStream::connect(place.path()).unwrap();
    let _waiting = UnixStream::connect(place.path()).unwrap();
    wait_until("a connection", || server.is_connected());
    assert!(server.stop(PATIENCE));
    assert!(server.stop(PATIENCE));
    assert!(!place.path().exists());
}

#[test]
fn a_place_that_is_taken_is_refused() {
    let place = Place::new();
    let server = place.serve();
    let device = Arc::clone(&place.device) as Arc<dyn BlockDevice>;
    let second = Server::start(device, Config::new(place.path()));
    let error = second.err().unwrap();
    assert!(error.to_string().contains("another server"), "{error}");
    let metadata = std::fs::symlink_metadata(server.path()).unwrap();
    assert!(metadata.file_type().is_socket());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever is said on the socket, the next VMM is served, and nothing is left of this one.
    #[test]
    fn garbage_ends_its_own_connection_only(
        messages in prop::collection::vec(
            (prop_oneof![4 => 0u32..45, 1 => any::<u32>()], any::<u32>(), prop::collection::vec(any::<u8>(), 0..80)),
            0..8,
        ),
        is_framed in any::<bool>(),
    ) {
        thread_local! {
            static SERVED: (Place, Server) = {
                let place = Place::new();
                let server = place.serve();
                (place, server)
            };
        }
        SERVED.with(|(place, server)| {
            let mut stream = UnixStream::connect(place.path()).unwrap();
            for (request, flags, body) in &messages {
                let mut bytes = Vec::new();
                if is_framed {
                    bytes.extend(request.to_le_bytes());
                    // The version, mostly, without which nothing else is looked at.
                    bytes.extend((flags & 0x8 | 1).to_le_bytes());
                    bytes.extend((body.len() as u32).to_le_bytes());
                }
                bytes.extend(body);
                let _ = stream.write_all(&bytes);
            }
            drop(stream);
            wait_until("the end of the connection", || !server.is_connected());
            let mut vmm = Vmm::connect(&place.path(), 1);
            assert_eq!(vmm.ask(0, VIRTIO_BLK_T_OUT, 0, &[7; 512]), 0);
            drop(vmm);
            wait_until("the end of a VMM", || !server.is_connected());
        });
    }
}
