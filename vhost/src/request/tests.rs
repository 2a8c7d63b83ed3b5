use super::*;
use compcache_device::{Config, Device};
use proptest::prelude::*;
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

mod allocations;

const NEXT: u16 = VRING_DESC_F_NEXT as u16;
const WRITE: u16 = VRING_DESC_F_WRITE as u16;
const INDIRECT: u16 = VRING_DESC_F_INDIRECT as u16;

const TABLE: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const HEADER: u64 = 0x4000;
const STATUS: u64 = 0x4800;
const DATA: u64 = 0x10000;
const MEMORY: usize = 0x80000;
const ENTRIES: u16 = 128;
const UNTOUCHED: u8 = 0xa5;

const OK: u8 = VIRTIO_BLK_S_OK as u8;
const IOERR: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNSUPP: u8 = VIRTIO_BLK_S_UNSUPP as u8;

/// A guest's memory, in two regions that touch in the middle of the data, and the device it uses.
struct Guest {
    memory: GuestMemoryMmap,
    device: Device,
    worker: Worker,
    read_only: bool,
}

impl Guest {
    fn new(size: u64) -> Self {
        let half = MEMORY / 2;
        let ranges = [(GuestAddress(0), half), (GuestAddress(half as u64), half)];
        Self {
            memory: GuestMemoryMmap::from_ranges(&ranges).unwrap(),
            device: Device::new(Config::new(size)).unwrap(),
            worker: Worker::new(),
            read_only: false,
        }
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    fn get(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }

    fn header(&self, kind: u32, sector: u64) {
        self.put(HEADER, &kind.to_le_bytes());
        self.put(HEADER + 4, &[0xee; 4]);
        self.put(HEADER + 8, &sector.to_le_bytes());
    }

    fn table(&self, at: u64, descriptors: &[(u64, u32, u16, u16)]) {
        for (number, &(address, len, flags, next)) in (0u64..).zip(descriptors) {
            let descriptor = Descriptor::new(address, len, flags, next);
            let place = GuestAddress(at + number * 16);
            self.memory.write_obj(descriptor, place).unwrap();
        }
    }

    /// Serves the chain that begins with the table's first entry: bytes written, and the status.
    fn serve(&mut self) -> (u32, u8) {
        self.put(STATUS, &[UNTOUCHED]);
        self.put(AVAILABLE, &[0, 0, 1, 0, 0, 0]);
        let mut queue = Queue::new(ENTRIES).unwrap();
        queue.set_size(ENTRIES);
        queue.set_desc_table_address(Some(TABLE as u32), None);
        queue.set_avail_ring_address(Some(AVAILABLE as u32), None);
        queue.set_used_ring_address(Some(USED as u32), None);
        queue.set_ready(true);
        let chain = queue.iter(&self.memory).unwrap().next().unwrap();
        let disk = Disk {
            device: &self.device,
            read_only: self.read_only,
            is_stopping: &AtomicBool::new(false),
        };
        let written = self.worker.serve(&disk, chain);
        (written, self.get(STATUS, 1)[0])
    }

    /// A request of pieces of memory, each to read or to write.
    fn ask(&mut self, kind: u32, sector: u64, pieces: &[(u64, u32, u16)]) -> (u32, u8) {
        self.header(kind, sector);
        let last = pieces.len() - 1;
        let chained: Vec<_> = (0u16..)
            .zip(pieces)
            .map(
                |(at, &(address, len, flags))| match usize::from(at) == last {
                    true => (address, len, flags, 0),
                    false => (address, len, flags | NEXT, at + 1),
                },
            )
            .collect();
        self.table(TABLE, &chained);
        self.serve()
    }

    /// A request as drivers make them: header, data, status.
    fn simple(&mut self, kind: u32, sector: u64, len: u32) -> (u32, u8) {
        let flags = match kind {
            VIRTIO_BLK_T_IN | VIRTIO_BLK_T_GET_ID => WRITE,
            _ => 0,
        };
        self.ask(
            kind,
            sector,
            &[(HEADER, 16, 0), (DATA, len, flags), (STATUS, 1, WRITE)],
        )
    }

    fn content(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.device.size() as usize];
        self.device.read(0, &mut bytes).unwrap();
        bytes
    }
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at / 7) as u8 ^ (at as u8).wrapping_mul(seed) ^ seed)
        .collect()
}

fn ranges(list: &[(u64, u32, u32)]) -> Vec<u8> {
    let bytes = list.iter().flat_map(|&(sector, sectors, flags)| {
        [
            &sector.to_le_bytes()[..],
            &sectors.to_le_bytes(),
            &flags.to_le_bytes(),
        ]
        .concat()
    });
    bytes.collect()
}

#[test]
fn header_and_data_may_come_in_any_pieces() {
    let mut guest = Guest::new(1 << 20);
    let bytes = pattern(7 * 512, 3);
    guest.put(DATA, &bytes);
    let pieces = [
        (HEADER, 5, 0),
        (HEADER + 5, 0, 0),
        (HEADER + 5, 11, 0),
        (DATA, 1, 0),
        (DATA + 1, 3000, 0),
        (DATA + 3001, 583, 0),
        (STATUS, 1, WRITE),
    ];
    assert_eq!(guest.ask(VIRTIO_BLK_T_OUT, 3, &pieces), (1, OK));
    assert_eq!(guest.content()[3 * 512..10 * 512], bytes);

    // Back across the border of the two regions, the last byte beside the status.
    let border = MEMORY as u64 / 2;
    let pieces = [
        (HEADER, 16, 0),
        (border - 700, 1400, WRITE),
        (DATA, 2183, WRITE),
        (STATUS - 1, 2, WRITE),
    ];
    assert_eq!(guest.ask(VIRTIO_BLK_T_IN, 3, &pieces), (3585, OK));
    let back = [
        guest.get(border - 700, 1400),
        guest.get(DATA, 2183),
        guest.get(STATUS - 1, 1),
    ];
    assert_eq!(back.concat(), bytes);

    // Header and data in one piece.
    guest.put(HEADER + 16, &pattern(512, 9));
    let pieces = [(HEADER, 528, 0), (STATUS, 1, WRITE)];
    assert_eq!(guest.ask(VIRTIO_BLK_T_OUT, 2047, &pieces), (1, OK));
    assert_eq!(guest.content()[2047 * 512..], pattern(512, 9));
}

#[test]
fn a_request_may_be_larger_than_the_buffer() {
    let mut guest = Guest::new(1 << 20);
    let len = 3 * BUFFER_BYTES + 512;
    let bytes = pattern(len, 5);
    guest.put(DATA, &bytes);
    assert_eq!(guest.simple(VIRTIO_BLK_T_OUT, 5, len as u32), (1, OK));
    guest.put(DATA, &vec![0; len]);
    assert_eq!(
        guest.simple(VIRTIO_BLK_T_IN, 5, len as u32),
        (len as u32 + 1, OK)
    );
    assert_eq!(guest.get(DATA, len), bytes);
    // Pages were put as a whole: all but those at both ends.
    assert_eq!(guest.device.stat().io.failed_writes, 0);
}

#[test]
fn indirect_tables_are_followed_once() {
    let mut guest = Guest::new(1 << 20);
    let table = 0x5000;
    guest.put(DATA, &pattern(512, 1));
    guest.header(VIRTIO_BLK_T_OUT, 0);
    let inner = [
        (HEADER, 16, NEXT, 1),
        (DATA, 512, NEXT, 2),
        (STATUS, 1, WRITE, 0),
    ];
    guest.table(table, &inner);
    guest.table(TABLE, &[(table, 48, INDIRECT, 0)]);
    assert_eq!(guest.serve(), (1, OK));
    assert_eq!(guest.content()[..512], pattern(512, 1));

    // One inside another, one of half an entry, one that lies nowhere.
    guest.header(VIRTIO_BLK_T_OUT, 8);
    guest.table(table, &[(HEADER, 16, NEXT, 1), (table, 48, INDIRECT, 0)]);
    for outer in [
        (table, 32, INDIRECT, 0),
        (table, 40, INDIRECT, 0),
        (1 << 40, 48, INDIRECT, 0),
        (table, 0, INDIRECT, 0),
    ] {
        guest.table(TABLE, &[outer]);
        assert_eq!(guest.serve(), (0, UNTOUCHED));
    }
    assert_eq!(guest.content()[512..], vec![0; (1 << 20) - 512]);
}

#[test]
fn ranges_that_are_not_of_the_device_are_refused() {
    let mut guest = Guest::new(64 << 10);
    guest.put(DATA, &[7; 4096]);
    for (sector, len) in [
        (128, 512),
        (127, 1024),
        (0, (64 << 10) + 512),
        (u64::MAX, 512),
        (u64::MAX / 512, 512),
        (0, 0),
        (0, 511),
        (0, 513),
    ] {
        for kind in [VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT] {
            let (written, status) = guest.simple(kind, sector, len);
            // Where there is no data, the status is the first byte.
            assert_eq!(status, IOERR, "{kind} {sector} {len}");
            assert_eq!(
                written,
                u32::from(len == 0 || kind == VIRTIO_BLK_T_OUT),
                "{kind} {sector} {len}"
            );
        }
    }
    assert_eq!(guest.content(), vec![0; 64 << 10]);
    assert_eq!(guest.get(DATA, 4096), [7; 4096]);
}

#[test]
fn malformed_chains_are_answered_where_there_is_a_place_for_an_answer() {
    let mut guest = Guest::new(64 << 10);
    let (header, status) = ((HEADER, 16, 0), (STATUS, 1, WRITE));
    let (out, nowhere) = (VIRTIO_BLK_T_OUT, 1 << 40);
    let data = (DATA, 512, 0);
    let into = (DATA, 512, WRITE);
    for (kind, pieces, expected) in [
        // In the wrong direction.
        (out, vec![header, into, status], IOERR),
        (out, vec![header, data, into, status], IOERR),
        (VIRTIO_BLK_T_IN, vec![header, data, status], IOERR),
        (VIRTIO_BLK_T_IN, vec![header, data, into, status], IOERR),
        (VIRTIO_BLK_T_FLUSH, vec![header, data, status], IOERR),
        (VIRTIO_BLK_T_FLUSH, vec![header, into, status], IOERR),
        (VIRTIO_BLK_T_GET_ID, vec![header, data, status], IOERR),
        (VIRTIO_BLK_T_DISCARD, vec![header, into, status], IOERR),
        // To be read behind what is to be written.
        (out, vec![header, into, data, status], IOERR),
        (out, vec![into, header, data, status], IOERR),
        (out, vec![header, data, status, data], IOERR),
        // No header, a part of one.
        (out, vec![status], IOERR),
        (out, vec![(HEADER, 15, 0), status], IOERR),
        // Memory that is not there, or only in part.
        (out, vec![header, (nowhere, 512, 0), status], IOERR),
        (out, vec![header, data, (u64::MAX, 512, 0), status], IOERR),
        (
            out,
            vec![header, (MEMORY as u64 - 256, 512, 0), status],
            IOERR,
        ),
        (out, vec![(nowhere, 16, 0), data, status], IOERR),
        // A kind that there is not.
        (99, vec![header, data, status], UNSUPP),
        (VIRTIO_BLK_T_SCSI_CMD, vec![header, data, status], UNSUPP),
        (
            VIRTIO_BLK_T_SECURE_ERASE,
            vec![header, data, status],
            UNSUPP,
        ),
        // Nobody to tell.
        (out, vec![header, data], UNTOUCHED),
        (out, vec![header, data, (STATUS, 0, WRITE)], UNTOUCHED),
        (out, vec![header, (nowhere, 1, WRITE)], UNTOUCHED),
    ] {
        assert_eq!(guest.ask(kind, 0, &pieces).1, expected, "{kind} {pieces:?}");
    }
    assert_eq!(guest.content(), vec![0; 64 << 10]);
}

#[test]
fn chains_that_do_not_end_are_refused() {
    let mut guest = Guest::new(64 << 10);
    guest.header(VIRTIO_BLK_T_OUT, 0);
    for next in [0, 1, 2, ENTRIES, u16::MAX] {
        guest.table(
            TABLE,
            &[
                (HEADER, 16, NEXT, 1),
                (DATA, 512, NEXT, 2),
                (STATUS, 1, WRITE | NEXT, next),
            ],
        );
        assert_eq!(guest.serve().1, IOERR, "{next}");
    }
    // Longer than 4 GiB together, which is not allowed either.
    let long = (0, u32::MAX, NEXT, 2);
    guest.table(TABLE, &[(HEADER, 16, NEXT, 1), long, (STATUS, 1, WRITE, 0)]);
    assert_eq!(guest.serve(), (0, UNTOUCHED));
    // More pieces than the largest ring has entries.
    let many = 2000u16;
    let table = 0x20000;
    let mut entries = vec![(HEADER, 16, NEXT, 1)];
    entries.extend((1..many).map(|at| (DATA, 512, NEXT, at + 1)));
    entries.push((STATUS, 1, WRITE, 0));
    guest.table(table, &entries);
    guest.table(TABLE, &[(table, entries.len() as u32 * 16, INDIRECT, 0)]);
    assert_eq!(guest.serve().1, IOERR);
    assert_eq!(guest.content(), vec![0; 64 << 10]);
}

const VIRTIO_BLK_T_SCSI_CMD: u32 = virtio_bindings::virtio_blk::VIRTIO_BLK_T_SCSI_CMD;
const VIRTIO_BLK_T_SECURE_ERASE: u32 = virtio_bindings::virtio_blk::VIRTIO_BLK_T_SECURE_ERASE;

#[test]
fn ranges_are_discarded_and_zeroed() {
    let mut guest = Guest::new(64 << 10);
    guest.put(DATA, &pattern(64 << 10, 1));
    assert_eq!(guest.simple(VIRTIO_BLK_T_OUT, 0, 64 << 10).1, OK);
    let mut expected = pattern(64 << 10, 1);

    // Two ranges in one request; of the second, the whole pages.
    let list = ranges(&[(8, 8, 0), (25, 16, 0)]);
    guest.put(DATA, &list);
    assert_eq!(guest.simple(VIRTIO_BLK_T_DISCARD, 0, 32), (1, OK));
    expected[4096..8192].fill(0);
    expected[16384..20480].fill(0);
    assert_eq!(guest.content(), expected);

    // Zeroes are zeroes to the sector, with and without leave to make holes.
    let list = ranges(&[(65, 9, 0), (100, 3, 1)]);
    guest.put(DATA, &list);
    assert_eq!(guest.simple(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32), (1, OK));
    expected[65 * 512..74 * 512].fill(0);
    expected[100 * 512..103 * 512].fill(0);
    assert_eq!(guest.content(), expected);

    // One bad range, and none is touched.
    let discard = VIRTIO_BLK_T_DISCARD;
    let zero = VIRTIO_BLK_T_WRITE_ZEROES;
    for (kind, list, status) in [
        (discard, vec![(0, 128, 0), (128, 1, 0)], IOERR),
        (zero, vec![(0, 128, 0), (u64::MAX, 1, 0)], IOERR),
        (discard, vec![(0, 128, 0), (0, 1, 1)], UNSUPP),
        (zero, vec![(0, 128, 0), (0, 1, 2)], UNSUPP),
        (zero, vec![(0, RANGE_SECTORS_MAX + 1, 0)], IOERR),
        (zero, vec![(0, 1, 0); RANGES_MAX as usize + 1], IOERR),
    ] {
        let list = ranges(&list);
        guest.put(DATA, &list);
        assert_eq!(guest.simple(kind, 0, list.len() as u32).1, status);
    }
    for len in [0, 8, 15, 17] {
        assert_eq!(guest.simple(discard, 0, len).1, IOERR);
    }
    assert_eq!(guest.content(), expected);
}

#[test]
fn serial_number_and_flush() {
    let mut guest = Guest::new(64 << 10);
    assert_eq!(guest.simple(VIRTIO_BLK_T_GET_ID, 0, 20), (21, OK));
    assert_eq!(guest.get(DATA, 20), b"compcache\0\0\0\0\0\0\0\0\0\0\0");
    guest.put(DATA, &[UNTOUCHED; 64]);
    assert_eq!(guest.simple(VIRTIO_BLK_T_GET_ID, 0, 4), (5, OK));
    assert_eq!(guest.get(DATA, 5), b"comp\xa5");
    // More room than it has.
    assert_eq!(guest.simple(VIRTIO_BLK_T_GET_ID, 0, 30), (20, OK));
    assert_eq!(guest.get(DATA + 20, 10), [UNTOUCHED; 10]);
    let pieces = [(HEADER, 16, 0), (STATUS, 1, WRITE)];
    assert_eq!(guest.ask(VIRTIO_BLK_T_FLUSH, 0, &pieces), (1, OK));
}

#[test]
fn a_device_that_takes_no_writes_refuses_them() {
    let mut guest = Guest::new(64 << 10);
    guest.read_only = true;
    let list = ranges(&[(0, 8, 0)]);
    guest.put(DATA, &list);
    for kind in [
        VIRTIO_BLK_T_OUT,
        VIRTIO_BLK_T_DISCARD,
        VIRTIO_BLK_T_WRITE_ZEROES,
    ] {
        let len = if kind == VIRTIO_BLK_T_OUT { 512 } else { 16 };
        assert_eq!(guest.simple(kind, 0, len), (1, IOERR));
    }
    assert_eq!(guest.simple(VIRTIO_BLK_T_IN, 0, 512), (513, OK));
}

#[test]
fn a_full_device_keeps_what_it_has() {
    let mut guest = Guest::new(1 << 20);
    let mut state = 1u32;
    let noise: Vec<u8> = (0..4096)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    guest.put(DATA, &noise);
    assert_eq!(guest.simple(VIRTIO_BLK_T_OUT, 0, 4096).1, OK);
    // Compresses to next to nothing, until it is overwritten.
    guest.put(DATA, &pattern(4096, 0));
    assert_eq!(guest.simple(VIRTIO_BLK_T_OUT, 8, 4096).1, OK);
    guest
        .device
        .set_mem_limit(guest.device.stat().mm.mem_used_total);
    guest.put(DATA, &noise);
    let statuses: Vec<u8> = (1..256)
        .map(|page| guest.simple(VIRTIO_BLK_T_OUT, page * 8, 4096).1)
        .collect();
    assert!(statuses.contains(&IOERR));
    let content = guest.content();
    assert_eq!(content[..4096], noise);
    for (page, status) in (1..).zip(statuses) {
        let stored = &content[page * 4096..][..4096];
        let expected = match (status, page) {
            (OK, _) => noise.clone(),
            (IOERR, 1) => pattern(4096, 0),
            (IOERR, _) => vec![0; 4096],
            _ => panic!("status {status}"),
        };
        assert_eq!(stored, expected);
    }
}

/// An entry of a table, right and wrong.
fn entry() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let address = prop_oneof![
        4 => DATA..DATA + 0x4000,
        2 => Just(HEADER),
        2 => Just(STATUS),
        1 => MEMORY as u64 - 600..MEMORY as u64 + 10,
        1 => any::<u64>(),
    ];
    let len = prop_oneof![
        3 => Just(1),
        3 => Just(16),
        4 => (0u32..5).prop_map(|sectors| sectors * 512),
        2 => 0u32..2000,
        1 => any::<u32>(),
    ];
    let flags = prop_oneof![
        6 => Just(NEXT),
        4 => Just(NEXT | WRITE),
        3 => Just(WRITE),
        1 => 0u16..16,
    ];
    let next = prop_oneof![8 => Just(None), 1 => (0u16..12).prop_map(Some)];
    (address, len, flags, next).prop_map(|(address, len, flags, next)| {
        // Indirect tables begin where all of memory may: in the table itself, mostly.
        let address = match flags & INDIRECT {
            0 => address,
            _ => TABLE + address % 64,
        };
        (address, len, flags, next.unwrap_or(u16::MAX))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the table says, nothing is written but what the guest gave for it, and the device
    /// changes only where the guest is told so.
    #[test]
    fn no_chain_does_harm(
        kind in prop_oneof![0u32..2, 0u32..16],
        sector in prop_oneof![0u64..20, any::<u64>()],
        mut entries in prop::collection::vec(entry(), 1..12),
    ) {
        thread_local! {
            static GUEST: core::cell::RefCell<Guest> = Guest::new(8192).into();
        }
        GUEST.with_borrow_mut(|guest| {
            guest.put(DATA, &pattern(0x4000, 11));
            guest.device.reset();
            guest.header(kind, sector);
            for (number, entry) in (0u16..).zip(&mut entries) {
                if entry.3 == u16::MAX {
                    entry.3 = number + 1;
                }
            }
            guest.table(TABLE, &vec![(0, 0, 0, 0); 16]);
            guest.table(TABLE, &entries);
            guest.put(STATUS, &[UNTOUCHED]);
            let mut before = guest.get(0, MEMORY);
            guest.put(AVAILABLE, &[0, 0, 1, 0, 0, 0]);
            before[AVAILABLE as usize..][..6].copy_from_slice(&[0, 0, 1, 0, 0, 0]);
            guest.serve();
            let after = guest.get(0, MEMORY);
            let mut was_told = false;
            for &(address, len, flags, _) in &entries {
                let start = usize::try_from(address).unwrap_or(MEMORY).min(MEMORY);
                let end = start.saturating_add(len as usize).min(MEMORY);
                if flags & WRITE != 0 && start < end {
                    was_told |= after[end - 1] == OK;
                    before[start..end].copy_from_slice(&after[start..end]);
                }
            }
            // Tables that overlap what is written into may have been any.
            let is_indirect = entries.iter().any(|entry| entry.2 & INDIRECT != 0);
            prop_assert!(is_indirect || before == after);
            let is_empty = guest.content().iter().all(|&byte| byte == 0);
            prop_assert!(is_empty || (was_told && kind == VIRTIO_BLK_T_OUT) || is_indirect);
            Ok(())
        })?;
    }

    /// Reads and writes in any pieces, against a model.
    #[test]
    fn what_was_written_is_read(
        requests in prop::collection::vec(
            (any::<bool>(), 0u64..64, 1u32..64, prop::collection::vec(1u32..3000, 0..8), any::<u8>()),
            1..12,
        ),
    ) {
        let mut guest = Guest::new(32 << 10);
        let mut model = vec![0u8; 32 << 10];
        for (is_write, sector, sectors, cuts, seed) in requests {
            let len = sectors * 512;
            let flags = if is_write { 0 } else { WRITE };
            let mut pieces = vec![(HEADER, 16, 0)];
            let mut at = 0;
            for cut in cuts {
                let cut = cut.min(len - at);
                pieces.push((DATA + u64::from(at), cut, flags));
                at += cut;
            }
            pieces.push((DATA + u64::from(at), len - at, flags));
            pieces.push((STATUS, 1, WRITE));
            let (first, end) = ((sector * 512) as usize, (sector * 512) as usize + len as usize);
            let kind = if is_write { VIRTIO_BLK_T_OUT } else { VIRTIO_BLK_T_IN };
            let bytes = pattern(len as usize, seed);
            guest.put(DATA, &bytes);
            let (_, status) = guest.ask(kind, sector, &pieces);
            match (end <= model.len(), is_write) {
                (false, _) => prop_assert_eq!(status, IOERR),
                (true, true) => {
                    prop_assert_eq!(status, OK);
                    model[first..end].copy_from_slice(&bytes);
                }
                (true, false) => {
                    prop_assert_eq!(status, OK);
                    prop_assert_eq!(&guest.get(DATA, len as usize), &model[first..end]);
                }
            }
        }
        prop_assert_eq!(guest.content(), model);
    }
}
