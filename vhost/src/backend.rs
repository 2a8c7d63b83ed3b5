//! [`Backend`]: the rings of one VMM. What is waiting is served, and the guest told.

use crate::abi::{self, ConfigSpace, QUEUE_SIZE_MAX, QUEUES};
use crate::request::{Disk, Worker};
use compcache_device::BlockDevice;
use compcache_sys::priority;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use vhost::vhost_user::VhostUserProtocolFeatures;
use vhost_user_backend::{VhostUserBackend, VringMutex, VringState, VringT};
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{
    GuestAddressSpace, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};
use vmm_sys_util::epoll::EventSet;

/// Requests that are answered before the guest is told of them, and before somebody else may
/// have the ring.
const BATCH: usize = 8;

/// The event that ends a thread; numbers up to that of the rings are the loop's own.
pub(crate) const END_EVENT: u64 = QUEUES as u64 + 1;

/// What outlives a VMM.
pub(crate) struct Served {
    pub(crate) device: Arc<dyn BlockDevice>,
    pub(crate) read_only: bool,
    pub(crate) space: ConfigSpace,
    /// One for each thread; made before there is a VMM, while there is memory.
    pub(crate) workers: Vec<Mutex<Worker>>,
    pub(crate) is_stopping: AtomicBool,
    /// Rings that a guest has started and not stopped, a bit each.
    pub(crate) running: AtomicU64,
}

/// The rings of one VMM.
pub(crate) struct Backend {
    served: Arc<Served>,
    memory: GuestMemoryAtomic<GuestMemoryMmap>,
    /// Readable from the moment on when the threads are to end. The crate's own way to end them
    /// loses a descriptor for each.
    end: OwnedFd,
}

/// A ring that cannot be read; the guest may set it up anew.
struct BadRing;

impl From<virtio_queue::Error> for BadRing {
    fn from(_: virtio_queue::Error) -> Self {
        Self
    }
}

impl Backend {
    pub(crate) fn new(served: Arc<Served>) -> io::Result<Self> {
        Ok(Self {
            served,
            memory: GuestMemoryAtomic::new(GuestMemoryMmap::new()),
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// The guest's memory, none yet.
    pub(crate) fn memory(&self) -> GuestMemoryAtomic<GuestMemoryMmap> {
        self.memory.clone()
    }

    pub(crate) fn end_fd(&self) -> RawFd {
        self.end.as_raw_fd()
    }

    /// Ends the threads.
    pub(crate) fn end(&self) {
        let _ = rustix::io::write(&self.end, &1u64.to_ne_bytes());
    }

    fn serve(&self, worker: &mut Worker, ring: usize, vring: &VringMutex) -> Result<(), BadRing> {
        let mut found_nothing = false;
        while !self.served.is_stopping.load(Ordering::Relaxed) {
            // Held for a batch only: the VMM's messages about the ring want it too.
            let mut vring = vring.get_mut();
            if !vring.get_queue().ready() || !vring.is_enabled() {
                return Ok(());
            }
            self.served.running.fetch_or(1 << ring, Ordering::Relaxed);
            let count = self.batch(worker, &mut vring)?;
            if count == BATCH {
                continue;
            }
            if !vring.enable_notification()? {
                return Ok(());
            }
            // There is said to be more. Where it cannot be found, looking for it would not end.
            if count == 0 && found_nothing {
                return Err(BadRing);
            }
            found_nothing = count == 0;
        }
        Ok(())
    }

    /// Does up to so many requests and tells the guest; how many there were.
    fn batch(
        &self,
        worker: &mut Worker,
        vring: &mut VringState<GuestMemoryAtomic<GuestMemoryMmap>>,
    ) -> Result<usize, BadRing> {
        let memory = self.memory.memory();
        let memory: &GuestMemoryMmap = &memory;
        let disk = Disk {
            device: &*self.served.device,
            read_only: self.served.read_only,
            is_stopping: &self.served.is_stopping,
        };
        vring.disable_notification()?;
        let mut count = 0;
        while count < BATCH {
            let Some(descriptors) = vring.get_queue_mut().iter(memory)?.next() else {
                break;
            };
            let head = descriptors.head_index();
            let written = worker.serve(&disk, descriptors);
            count += 1;
            // Refused for a head that the ring does not have; nobody waits for that.
            let _ = vring.add_used(head, written);
        }
        if count > 0 && vring.needs_notification()? {
            // A VMM that cannot be told is gone.
            let _ = vring.signal_used_queue();
        }
        Ok(count)
    }
}

impl VhostUserBackend for Backend {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE_MAX
    }

    fn features(&self) -> u64 {
        abi::features(self.served.read_only)
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        abi::protocol_features()
    }

    fn set_event_idx(&self, _: bool) {
        // The rings know.
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        self.served.space.bytes(offset, size)
    }

    fn set_config(&self, _: u32, _: &[u8]) -> io::Result<()> {
        // Nothing in it may be written: the only field that could be is not offered.
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn update_memory(&self, memory: GuestMemoryAtomic<GuestMemoryMmap>) -> io::Result<()> {
        let regions = memory.memory();
        if let Err(error) = regions.iter().try_for_each(check_file) {
            // The connection ends for it; until then nobody looks at what is not there. (Rings that
            // run already may have done so: the crate asks when the memory is in use.)
            let current = memory.lock().unwrap_or_else(PoisonError::into_inner);
            current.replace(GuestMemoryMmap::new());
            return Err(error);
        }
        for region in regions.iter() {
            // Where this process locks all it maps, it would lock the guest's memory.
            let _ = priority::unlock(region.as_ptr() as usize, region.len() as usize);
        }
        Ok(())
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        let threads = self.served.workers.len();
        let rings_of = |thread| {
            let rings = (thread..QUEUES).step_by(threads.max(1));
            rings.fold(0, |mask, ring| mask | 1 << ring)
        };
        (0..threads).map(rings_of).collect()
    }

    fn stop_vring(&self, ring: u32) -> io::Result<()> {
        // No request is under way: who serves a ring holds it.
        let bit = 1u64.checked_shl(ring).unwrap_or(0);
        self.served.running.fetch_and(!bit, Ordering::Relaxed);
        Ok(())
    }

    fn handle_event(
        &self,
        event: u16,
        _: EventSet,
        vrings: &[VringMutex],
        thread: usize,
    ) -> io::Result<()> {
        if u64::from(event) == END_EVENT {
            // An error is how the thread ends.
            return Err(io::ErrorKind::Interrupted.into());
        }
        let (Some(vring), Some(worker)) = (
            vrings.get(usize::from(event)),
            self.served.workers.get(thread),
        ) else {
            return Ok(());
        };
        let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = thread + usize::from(event) * self.served.workers.len();
        // A ring that cannot be read waits for its guest to set it up anew.
        let _ = self.serve(&mut worker, ring, vring);
        Ok(())
    }
}

/// A file that ends before its region does: the first access would end this process.
fn check_file(region: &vm_memory::GuestRegionMmap) -> io::Result<()> {
    let Some(file) = region.file_offset() else {
        return Ok(());
    };
    let metadata = file.file().metadata()?;
    let end = file.start().checked_add(region.len());
    match metadata.is_file() && end.is_none_or(|end| end > metadata.len()) {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the file of the guest's memory is shorter than the memory",
        )),
        false => Ok(()),
    }
}
