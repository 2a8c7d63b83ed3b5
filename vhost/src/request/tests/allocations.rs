//! That no request allocates.

#![allow(unsafe_code)]

use super::*;
use core::cell::Cell;
use std::alloc::{GlobalAlloc, Layout, System};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are those of this call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from `alloc`, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
            let before = COUNT.get();
            let chain = queue.iter(&memory).unwrap().next().unwrap();
            let written = worker.serve(&disk, chain);
            let _ = queue.add_used(&memory, 0, written);
            // What the cache and the thread need once, they have after the first round.
            if round > 0 {
                count += COUNT.get() - before;
            }
        }
    }
    assert_eq!(count, 0);
}
