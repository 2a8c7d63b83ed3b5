//! What the embedder supplies: pages, locks, a place for messages.

use crate::status::compcache_status::{self, *};
use alloc_xv::{FrameId, OutOfPages, PageSource};
use core::ffi::{c_char, c_int, c_void};
use core::ptr::{null_mut, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use lock_api::RawMutex;

/// Something cannot be used any more, or a callback broke its contract.
pub const COMPCACHE_LOG_ERROR: u32 = 0;
/// Something was refused that the embedder may want to know of.
pub const COMPCACHE_LOG_WARNING: u32 = 1;

/// The embedder's functions, and the memory they work on. Set up by `compcache_host_init`.
///
/// It is copied when an object is created. All functions get `context` and may be called from
/// every context from which the library is called. None may call the library for the same object.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_host {
    /// Bytes of this struct.
    pub struct_size: usize,
    /// Passed to every function.
    pub context: *mut c_void,
    /// Gives one page, aligned to its size, of any content; NULL if there is none. Called with
    /// one lock of the library held: it must not sleep if the locks do not let their holder sleep.
    pub page_alloc: Option<unsafe extern "C" fn(context: *mut c_void) -> *mut c_void>,
    /// Takes back a page that `page_alloc` gave. Called like it.
    pub page_free: Option<unsafe extern "C" fn(context: *mut c_void, page: *mut c_void)>,
    /// All pages lie in the 2^30 pages (4 TiB with pages of 4 KiB) from this address on, a multiple
    /// of the page size: for a kernel the start of its linear mapping. 0 puts the first page that
    /// is given in the middle of that range.
    pub page_base: usize,
    /// Bytes of a lock. Locks lie in the object's own memory.
    pub lock_size: usize,
    /// Alignment of a lock, a power of two.
    pub lock_align: usize,
    /// Makes a lock, not held, in `lock_size` bytes of zeroes; 0 if that worked. May sleep.
    pub lock_init: Option<unsafe extern "C" fn(context: *mut c_void, lock: *mut c_void) -> c_int>,
    /// Ends a lock that nobody holds.
    pub lock_destroy: Option<unsafe extern "C" fn(context: *mut c_void, lock: *mut c_void)>,
    /// Waits for the lock and takes it. A lock is held for a bounded time, a few microseconds;
    /// no thread ever holds two.
    pub lock_acquire: Option<unsafe extern "C" fn(context: *mut c_void, lock: *mut c_void)>,
    /// Lets go of the lock, in the thread that took it.
    pub lock_release: Option<unsafe extern "C" fn(context: *mut c_void, lock: *mut c_void)>,
    /// Gets messages, one of the `COMPCACHE_LOG_` levels and the number that the message is about;
    /// the text ends with a zero and lives for ever. May be called with a lock held. May be NULL.
    pub log: Option<
        unsafe extern "C" fn(context: *mut c_void, level: u32, message: *const c_char, value: u64),
    >,
}

impl compcache_host {
    pub(crate) const NONE: Self = Self {
        struct_size: size_of::<Self>(),
        context: null_mut(),
        page_alloc: None,
        page_free: None,
        page_base: 0,
        lock_size: 0,
        lock_align: 1,
        lock_init: None,
        lock_destroy: None,
        lock_acquire: None,
        lock_release: None,
        log: None,
    };

    /// Checks what can be checked.
    pub(crate) fn check(&self, page_size: usize) -> Result<(), compcache_status> {
        let locks = [
            self.lock_init.is_some(),
            self.lock_destroy.is_some(),
            self.lock_acquire.is_some(),
            self.lock_release.is_some(),
        ];
        let usable = self.page_alloc.is_some()
            && self.page_free.is_some()
            && self.page_base.is_multiple_of(page_size)
            && (locks == [true; 4] || locks == [false; 4])
            && self.lock_align.is_power_of_two()
            && self.lock_align <= LOCK_ALIGN_MAX
            && self.lock_size <= LOCK_SIZE_MAX;
        if usable {
            Ok(())
        } else {
            Err(COMPCACHE_ERR_BAD_OPTION)
        }
    }

    pub(crate) fn has_locks(&self) -> bool {
        self.lock_acquire.is_some()
    }

    #[inline(never)]
    #[cold]
    pub(crate) fn say(&self, level: u32, message: &'static core::ffi::CStr, value: u64) {
        if let Some(log) = self.log {
            // SAFETY: the embedder's function, called as its documentation says.
            unsafe { log(self.context, level, message.as_ptr(), value) }
        }
    }
}

/// Bytes of a lock at most: debug versions of locks are big.
pub(crate) const LOCK_SIZE_MAX: usize = 4096;
pub(crate) const LOCK_ALIGN_MAX: usize = 4096;

/// Frame numbers there can be.
const SPAN: usize = FrameId::LIMIT as usize;

/// The embedder's pages as a [`PageSource`]. A frame's number is its distance from a base, in
/// pages, so that finding its address takes an addition and no call.
pub(crate) struct Pages<const PAGE: usize> {
    /// Lies in the header of the object that this source is in.
    host: *const compcache_host,
    /// 0 until it is known.
    base: AtomicUsize,
    /// `page_alloc` returned a page that cannot be used.
    bad_page: AtomicBool,
}

// SAFETY: the host is only read, and its functions may be called from everywhere.
unsafe impl<const PAGE: usize> Send for Pages<PAGE> {}
// SAFETY: as above; the rest is atomic.
unsafe impl<const PAGE: usize> Sync for Pages<PAGE> {}

impl<const PAGE: usize> Pages<PAGE> {
    /// # Safety
    ///
    /// `host` outlives the source.
    pub(crate) unsafe fn new(host: *const compcache_host) -> Self {
        // SAFETY: the caller's word.
        let base = unsafe { (*host).page_base };
        Self {
            host,
            base: AtomicUsize::new(base),
            bad_page: AtomicBool::new(false),
        }
    }

    fn host(&self) -> &compcache_host {
        // SAFETY: `new`'s contract.
        unsafe { &*self.host }
    }

    /// Whether a page was refused since the last call.
    pub(crate) fn take_bad_page(&self) -> bool {
        self.bad_page.load(Ordering::Relaxed) && self.bad_page.swap(false, Ordering::Relaxed)
    }

    /// The frame of a page, if there is a number for it.
    fn frame_of(&self, page: usize) -> Option<FrameId> {
        if !page.is_multiple_of(PAGE) {
            return None;
        }
        let mut base = self.base.load(Ordering::Relaxed);
        if base == 0 {
            // The first page; the base stays above 0, so that it is known.
            let middle = page.saturating_sub(PAGE.saturating_mul(SPAN / 2)).max(PAGE);
            base = match self
                .base
                .compare_exchange(0, middle, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => middle,
                Err(earlier) => earlier,
            };
        }
        let number = page.checked_sub(base)? / PAGE;
        FrameId::new(u32::try_from(number).ok()?)
    }

    #[inline(never)]
    fn call_page_alloc(&self) -> *mut c_void {
        let host = self.host();
        match host.page_alloc {
            // SAFETY: the embedder's function, called as its documentation says.
            Some(alloc) => unsafe { alloc(host.context) },
            None => null_mut(),
        }
    }

    #[inline(never)]
    fn call_page_free(&self, page: *mut c_void) {
        let host = self.host();
        if let Some(free) = host.page_free {
            // SAFETY: as above; the page came from `page_alloc`.
            unsafe { free(host.context, page) }
        }
    }
}

// SAFETY: 1. the embedder gives pages that are its caller's alone until they are given back, and
// their alignment is checked; 2. addresses follow from numbers, and the base is set once;
// 3. PAGE is checked where objects are created; 4. and 5. there are no windows.
unsafe impl<const PAGE: usize> PageSource for Pages<PAGE> {
    const PAGE_SIZE: usize = PAGE;

    fn take(&self, _: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        let page = self.call_page_alloc();
        if page.is_null() {
            // What fails now fails for this reason.
            self.bad_page.store(false, Ordering::Relaxed);
            return Err(OutOfPages);
        }
        let address = page.expose_provenance();
        self.frame_of(address).ok_or_else(|| {
            self.bad_page.store(true, Ordering::Relaxed);
            self.host().say(
                COMPCACHE_LOG_ERROR,
                c"page_alloc gave a page that is not aligned or too far from page_base",
                address as u64,
            );
            self.call_page_free(page);
            OutOfPages
        })
    }

    unsafe fn give_back(&self, frame: FrameId) {
        self.call_page_free(self.address(frame).cast());
    }

    #[inline]
    fn address(&self, frame: FrameId) -> *mut u8 {
        let distance = (frame.number() as usize).wrapping_mul(PAGE);
        with_exposed_provenance_mut(self.base.load(Ordering::Relaxed).wrapping_add(distance))
    }
}

/// An arena's lock: the embedder's once [`set_up`](Self::set_up) was called, else one that spins.
pub(crate) struct HostLock {
    host: AtomicPtr<compcache_host>,
    lock: AtomicPtr<c_void>,
    spin: spin::Mutex<()>,
}

impl HostLock {
    /// # Safety
    ///
    /// `host` has lock functions, `lock` was made by them, and both live as long as this.
    pub(crate) unsafe fn set_up(&self, host: *const compcache_host, lock: *mut c_void) {
        self.lock.store(lock, Ordering::Relaxed);
        self.host.store(host.cast_mut(), Ordering::Relaxed);
    }

    #[inline]
    fn host(&self) -> Option<&compcache_host> {
        // SAFETY: `set_up`'s contract.
        unsafe { self.host.load(Ordering::Relaxed).as_ref() }
    }

    #[inline(never)]
    fn call_acquire(&self, host: &compcache_host) {
        if let Some(acquire) = host.lock_acquire {
            // SAFETY: `set_up`'s contract.
            unsafe { acquire(host.context, self.lock.load(Ordering::Relaxed)) }
        }
    }

    #[inline(never)]
    fn call_release(&self, host: &compcache_host) {
        if let Some(release) = host.lock_release {
            // SAFETY: `set_up`'s contract; the caller holds the lock.
            unsafe { release(host.context, self.lock.load(Ordering::Relaxed)) }
        }
    }
}

// SAFETY: the embedder's lock excludes, as its documentation asks; so does `spin`'s.
unsafe impl RawMutex for HostLock {
    #[allow(
        clippy::declare_interior_mutable_const,
        reason = "a constant to begin with is what the trait asks for"
    )]
    const INIT: Self = Self {
        host: AtomicPtr::new(null_mut()),
        lock: AtomicPtr::new(null_mut()),
        spin: <spin::Mutex<()> as RawMutex>::INIT,
    };
    // Locks of threads have to be let go of by who took them.
    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    fn lock(&self) {
        match self.host() {
            Some(host) => self.call_acquire(host),
            None => RawMutex::lock(&self.spin),
        }
    }

    /// Fails for locks of the embedder, which have no such function. The library does not use it.
    #[inline]
    fn try_lock(&self) -> bool {
        self.host().is_none() && RawMutex::try_lock(&self.spin)
    }

    #[inline]
    unsafe fn unlock(&self) {
        match self.host() {
            Some(host) => self.call_release(host),
            // SAFETY: the caller holds the lock.
            None => unsafe { RawMutex::unlock(&self.spin) },
        }
    }
}
