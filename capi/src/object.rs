//! Objects in memory that the embedder gives: a header, a pool or cache, workspaces, locks.
//!
//! ```text
//!  memory ─▶ [ Header | body ][ workspace ]*[ lock ]*
//!              magic    pool or cache of one page size
//!              host     (its locks point to the last part)
//! ```
//!
//! The type of the body follows from the kind and the page size in the header.

use crate::abi::Versioned;
use crate::host::{HostLock, compcache_host};
use crate::status::compcache_status::{self, *};
use core::alloc::Layout;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

mod life;

pub(crate) use life::*;

/// What lies at an object's beginning.
#[repr(C)]
pub(crate) struct Header {
    /// [`Kind::magic`] while the object lives.
    magic: AtomicU64,
    pub(crate) page_size: usize,
    /// Readings that were begun and not ended.
    pub(crate) readings: AtomicUsize,
    /// First lock and how many.
    locks: (usize, usize),
    pub(crate) host: compcache_host,
}

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pool,
    Cache,
}

impl Kind {
    /// Says that an object of this kind lives. No pointer, no text, no small number.
    const fn magic(self) -> u64 {
        match self {
            Self::Pool => 0x9e1d_c0ca_c8e5_0b01,
            Self::Cache => 0x9e1d_c0ca_c8e5_0b02,
        }
    }
}

/// Where the parts of an object are.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) whole: Layout,
    /// First byte of the workspaces.
    workspaces: usize,
    locks: usize,
    lock_count: usize,
}

impl Plan {
    /// An object with a body `B`, workspaces `W` and locks.
    pub(crate) fn new<B, W>(
        workspaces: usize,
        locks: usize,
        host: &compcache_host,
    ) -> Result<Self, compcache_status> {
        let lock_count = if host.has_locks() { locks } else { 0 };
        let lock = Layout::from_size_align(host.lock_size, host.lock_align)
            .map_err(|_| COMPCACHE_ERR_BAD_OPTION)?
            .pad_to_align();
        let plan = || {
            let bank = Layout::array::<W>(workspaces).ok()?;
            let (whole, workspaces) = Layout::new::<B>().extend(bank).ok()?;
            let locks_len = lock.size().checked_mul(lock_count)?;
            let array = Layout::from_size_align(locks_len, lock.align()).ok()?;
            let (whole, locks) = whole.extend(array).ok()?;
            Some(Self {
                whole: whole.pad_to_align(),
                workspaces,
                locks,
                lock_count,
            })
        };
        plan().ok_or(COMPCACHE_ERR_BAD_OPTION)
    }

    /// Whether an object can lie there.
    fn check(&self, memory: *mut c_void, size: usize) -> Result<(), compcache_status> {
        if memory.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        if !memory.addr().is_multiple_of(self.whole.align()) || size < self.whole.size() {
            return Err(COMPCACHE_ERR_BAD_MEMORY);
        }
        Ok(())
    }

    fn lock_step(&self, host: &compcache_host) -> usize {
        host.lock_size.next_multiple_of(host.lock_align)
    }

    /// Makes the locks; none is left if one cannot be made.
    ///
    /// # Safety
    ///
    /// `memory` is the object's, of this plan, and nothing uses it.
    unsafe fn make_locks(
        &self,
        memory: *mut c_void,
        host: &compcache_host,
    ) -> Result<(), compcache_status> {
        let Some(init) = host.lock_init else {
            return Ok(());
        };
        for number in 0..self.lock_count {
            // SAFETY: the plan has room for so many locks, and its memory is ours.
            let failed = unsafe {
                let lock = self.lock(memory, host, number);
                lock.cast::<u8>().write_bytes(0, host.lock_size);
                init(host.context, lock) != 0
            };
            if failed {
                // SAFETY: those before this one were made.
                unsafe { destroy_locks(self.lock(memory, host, 0), number, host) };
                return Err(COMPCACHE_ERR_LOCK_FAILED);
            }
        }
        Ok(())
    }

    /// # Safety
    ///
    /// `memory` is the object's, of this plan.
    unsafe fn lock(
        &self,
        memory: *mut c_void,
        host: &compcache_host,
        number: usize,
    ) -> *mut c_void {
        let step = self.lock_step(host);
        // SAFETY: inside the plan.
        unsafe { memory.byte_add(self.locks + number * step) }
    }

    /// Tells the locks of a body what to call. They were made if the host has any.
    ///
    /// # Safety
    ///
    /// `memory` is the object's, of this plan, `header` lies in it, and the locks are in its body.
    unsafe fn set_up_locks<'l>(
        &self,
        memory: *mut c_void,
        header: *const Header,
        locks: impl Iterator<Item = &'l HostLock>,
    ) {
        // SAFETY: the header's host lives as long as the object.
        unsafe {
            let host = &(*header).host;
            for (number, lock) in locks.enumerate().take(self.lock_count) {
                lock.set_up(host, self.lock(memory, host, number));
            }
        }
    }

    /// The header of an object that does not live yet; see [`Header::begin`].
    fn header(&self, memory: *mut c_void, page_size: usize, host: &compcache_host) -> Header {
        Header {
            magic: AtomicU64::new(0),
            page_size,
            readings: AtomicUsize::new(0),
            locks: (memory.expose_provenance() + self.locks, self.lock_count),
            host: *host,
        }
    }
}

/// # Safety
///
/// `count` locks lie there, made, and nobody holds one.
unsafe fn destroy_locks(first: *mut c_void, count: usize, host: &compcache_host) {
    let step = host.lock_size.next_multiple_of(host.lock_align);
    let Some(destroy) = host.lock_destroy else {
        return;
    };
    for number in 0..count {
        // SAFETY: the caller's word.
        unsafe { destroy(host.context, first.byte_add(number * step)) };
    }
}

impl Header {
    /// The object lives from now on.
    fn begin(&self, kind: Kind) {
        self.magic.store(kind.magic(), Ordering::Release);
    }

    /// The header of a live object.
    ///
    /// # Safety
    ///
    /// `object` is null or memory in which an object was once created, or of its size, and nobody
    /// destroys it meanwhile.
    unsafe fn of<'o>(object: *const c_void, kind: Kind) -> Result<&'o Self, compcache_status> {
        if object.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        if !object.addr().is_multiple_of(align_of::<Self>()) {
            return Err(COMPCACHE_ERR_BAD_OBJECT);
        }
        // SAFETY: the caller's word; the magic number is an atomic, so any bytes are one.
        let header = unsafe { &*object.cast::<Self>() };
        if header.magic.load(Ordering::Acquire) != kind.magic() {
            return Err(COMPCACHE_ERR_BAD_OBJECT);
        }
        Ok(header)
    }

    /// The object lives no more from here on; fails while it is being read, or if somebody else
    /// was first.
    fn end(&self, kind: Kind) -> Result<(), compcache_status> {
        if self.readings.load(Ordering::Acquire) != 0 {
            return Err(COMPCACHE_ERR_BUSY);
        }
        self.magic
            .compare_exchange(kind.magic(), 0, Ordering::AcqRel, Ordering::Relaxed)
            .map_or(Err(COMPCACHE_ERR_BAD_OBJECT), |_| Ok(()))
    }

    /// Ends the locks of an object whose body is gone.
    ///
    /// # Safety
    ///
    /// The locks were made by [`Plan::make_locks`]; nobody uses them any more.
    unsafe fn destroy_locks(&self) {
        let (first, count) = self.locks;
        let first = core::ptr::with_exposed_provenance_mut(first);
        // SAFETY: the caller's word.
        unsafe { destroy_locks(first, count, &self.host) }
    }
}

// SAFETY: `repr(C)`, pointers and whole numbers only, the size first, no padding; functions from
// the embedder are pointers that are null or valid.
unsafe impl Versioned for compcache_host {
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self::NONE;
}
