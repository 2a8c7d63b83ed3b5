//! That no request allocates.

use super::*;

#[test]
fn no_request_allocates() {
    let guest = Guest::new(1 << 20);
    let list = ranges(&[(0, 8, 0), (9, 60, 0)]);
    guest.put(DATA + 0x20000, &list);
    guest.put(DATA, &pattern(0x20000, 3));
    let memory = guest.memory.clone();
    let mut worker = Worker::new();
    let mut queue = Queue::new(ENTRIES).unwrap();
    let disk = Disk {
        device: &guest.device,
        read_only: false,
        is_stopping: &AtomicBool::new(false),
    };
    let mut count = 0;
    for round in 0..3 {
        for (kind, address, len, flags) in [
            (VIRTIO_BLK_T_OUT, DATA, 0x20000, 0),
            (VIRTIO_BLK_T_IN, DATA, 0x20000, WRITE),
            (VIRTIO_BLK_T_OUT, DATA + 7, 1536, 0),
            (VIRTIO_BLK_T_IN, DATA + 3, 1536, WRITE),
            (VIRTIO_BLK_T_DISCARD, DATA + 0x20000, 32, 0),
            (VIRTIO_BLK_T_WRITE_ZEROES, DATA + 0x20000, 32, 0),
            (VIRTIO_BLK_T_GET_ID, DATA, 20, WRITE),
            (VIRTIO_BLK_T_FLUSH, DATA, 0, 0),
            (VIRTIO_BLK_T_IN, DATA, 511, WRITE),
            (99, DATA, 512, WRITE),
        ] {
            guest.put(DATA + 0x20000, &list);
            guest.header(kind, 3);
            guest.table(
                TABLE,
                &[
                    (HEADER, 16, NEXT, 1),
                    (address, len, flags | NEXT, 2),
                    (STATUS, 1, WRITE, 0),
                ],
            );
            guest.put(AVAILABLE, &[0, 0, 1, 0, 0, 0]);
            queue.reset();
            queue.set_size(ENTRIES);
            queue.set_desc_table_address(Some(TABLE as u32), None);
            queue.set_avail_ring_address(Some(AVAILABLE as u32), None);
            queue.set_used_ring_address(Some(USED as u32), None);
            queue.set_ready(true);
            let allocated = allocation_counter::measure(|| {
                let chain = queue.iter(&memory).unwrap().next().unwrap();
                let written = worker.serve(&disk, chain);
                let _ = queue.add_used(&memory, 0, written);
            });
            // What the cache and the thread need once, they have after the first round.
            if round > 0 {
                count += allocated.count_total;
            }
        }
    }
    assert_eq!(count, 0);
    // The counter counts.
    let one = allocation_counter::measure(|| drop(std::hint::black_box(vec![1; 100])));
    assert_eq!(one.count_total, 1);
}
