//! The pool: objects of 1 byte to 64 KiB behind handles.

use crate::abi::{check_optional, read_struct, write_struct};
use crate::common::{
    ARENAS, init_struct, not_stored, page_size, readable, tell_compacted, tell_layout, writable,
};
use crate::host::{HostLock, Pages, compcache_host};
use crate::object::{Header, Kind, Plan};
use crate::status::compcache_status::{self, *};
use crate::status::{Told, finish};
use alloc_xv::{FRAGMENTS_MAX, Handle, OBJECT_MAX, Pool, Reading};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

mod structs;

pub use structs::*;

/// A pool; see `compcache_pool_create`.
pub struct compcache_pool {
    _private: [u8; 0],
}

/// One piece of an object.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_fragment {
    /// Its bytes, to be read only.
    pub bytes: *const c_void,
    /// How many.
    pub len: usize,
}

/// The most pieces an object has. An object smaller than a page has at most 2.
pub const COMPCACHE_FRAGMENTS_MAX: usize = 18;

/// The biggest object, in bytes.
pub const COMPCACHE_OBJECT_MAX: usize = 65536;

/// An object that is being read; the contents are the library's. Begins with zeroes.
#[repr(C)]
pub struct compcache_reading {
    /// The library's.
    pub opaque: [u64; 16],
}

const _: () = {
    assert!(COMPCACHE_FRAGMENTS_MAX == FRAGMENTS_MAX);
    assert!(COMPCACHE_OBJECT_MAX == OBJECT_MAX);
    assert!(size_of::<HeldReading>() <= size_of::<compcache_reading>());
    assert!(align_of::<HeldReading>() <= align_of::<compcache_reading>());
};

/// What is in a [`compcache_reading`].
#[repr(C)]
struct HeldReading {
    /// [`READING`] while it is one.
    magic: u64,
    pool: *const Header,
    reading: MaybeUninit<Reading<'static>>,
}

const READING: u64 = 0x9e1d_c0ca_c8e5_0b03;

/// A pool in its memory.
#[repr(C)]
pub(crate) struct Body<const PAGE: usize> {
    header: Header,
    pub(crate) pool: Pool<Pages<PAGE>, HostLock, ARENAS>,
}

/// Evaluates an expression with the pool of a live object, whatever its page size.
macro_rules! with_pool {
    ($object:expr, |$pool:ident| $then:expr) => {{
        let object: *const compcache_pool = $object;
        // SAFETY: the caller's word that the object lives or never did.
        let header = unsafe { Header::of(object.cast(), Kind::Pool) }?;
        match header.page_size {
            16384 => {
                // SAFETY: the header says that this is the body's type.
                let $pool = unsafe { &(*object.cast::<crate::pool::Body<16384>>()).pool };
                $then
            }
            65536 => {
                // SAFETY: as above.
                let $pool = unsafe { &(*object.cast::<crate::pool::Body<65536>>()).pool };
                $then
            }
            _ => {
                // SAFETY: as above.
                let $pool = unsafe { &(*object.cast::<crate::pool::Body<4096>>()).pool };
                $then
            }
        }
    }};
}
pub(crate) use with_pool;

/// Fills in the host's defaults: no callbacks, locks that spin. `struct_size` is
/// `sizeof(struct compcache_host)`.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `host` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_host_init(
    host: *mut compcache_host,
    struct_size: usize,
) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { init_struct(host, struct_size) })
}

/// Fills in the defaults: pages of 4 KiB, no limit, one object moved for each free.
/// `struct_size` is `sizeof(struct compcache_pool_options)`.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_options_init(
    options: *mut compcache_pool_options,
    struct_size: usize,
) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { init_struct(options, struct_size) })
}

/// Reads options and host, and plans the object.
///
/// # Safety
///
/// The pointers are null or point to as many readable bytes as they say.
unsafe fn plan(
    options: *const compcache_pool_options,
    host: *const compcache_host,
) -> Result<(compcache_pool_options, compcache_host, Plan), compcache_status> {
    // SAFETY: the caller's word.
    let (options, host) = unsafe { (read_struct(options)?, read_struct(host)?) };
    let page_size = page_size(options.page_size)?;
    host.check(page_size)?;
    if u32::try_from(options.inline_moves).is_err() {
        return Err(COMPCACHE_ERR_BAD_OPTION);
    }
    let plan = match page_size {
        16384 => Plan::new::<Body<16384>, ()>(0, ARENAS, &host),
        65536 => Plan::new::<Body<65536>, ()>(0, ARENAS, &host),
        _ => Plan::new::<Body<4096>, ()>(0, ARENAS, &host),
    };
    Ok((options, host, plan?))
}

/// Says how much memory a pool needs beside its pages, and at which alignment: about 14 KiB and
/// four locks.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `options` and `host` are NULL or point to as many readable bytes as they say; `size` and
/// `align` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_layout(
    options: *const compcache_pool_options,
    host: *const compcache_host,
    size: *mut usize,
    align: *mut usize,
) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { plan(options, host).and_then(|(_, _, plan)| tell_layout(&plan, size, align)) })
}

/// Makes an empty pool in `memory`, of which `memory_size` bytes are the library's until
/// `compcache_pool_destroy`; it must not be moved. Takes no page. `*pool` is set on success only.
///
/// Context: calls `lock_init`; any context in which that may be called.
///
/// # Safety
///
/// `options` and `host` are NULL or point to as many readable bytes as they say, `memory` is NULL or
/// `memory_size` bytes that nobody else uses, the host's functions do what they should, `pool` is
/// NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_create(
    memory: *mut c_void,
    memory_size: usize,
    options: *const compcache_pool_options,
    host: *const compcache_host,
    pool: *mut *mut compcache_pool,
) -> compcache_status {
    let create = || {
        // SAFETY: the caller's word.
        let (options, host, plan) = unsafe { plan(options, host) }?;
        if pool.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        plan.check(memory, memory_size)?;
        // SAFETY: the memory is ours and big enough for the plan, which is one of this page size.
        unsafe {
            plan.make_locks(memory, &host)?;
            match options.page_size {
                16384 => Body::<16384>::begin(memory, &plan, &options, &host),
                65536 => Body::<65536>::begin(memory, &plan, &options, &host),
                _ => Body::<4096>::begin(memory, &plan, &options, &host),
            }
            pool.write(memory.cast());
        }
        Ok(())
    };
    finish(create())
}

impl<const PAGE: usize> Body<PAGE> {
    /// # Safety
    ///
    /// `memory` is ours and as planned for this type, the locks are made.
    #[inline(never)]
    unsafe fn begin(
        memory: *mut c_void,
        plan: &Plan,
        options: &compcache_pool_options,
        host: &compcache_host,
    ) {
        let body = memory.cast::<Self>();
        // SAFETY: the caller's word; the fields are written before they are used, where they stay.
        unsafe {
            let header = &raw mut (*body).header;
            header.write(plan.header(memory, PAGE, host));
            let pool = &raw mut (*body).pool;
            Pool::<Pages<PAGE>, HostLock, ARENAS>::new_at(
                &mut *pool.cast(),
                Pages::new(&raw const (*header).host),
            );
            plan.set_up_locks(memory, header, (*pool).raw_locks());
            let limit = match options.limit_pages {
                0 => usize::MAX,
                pages => usize::try_from(pages).unwrap_or(usize::MAX),
            };
            (*pool).set_limit_pages(limit);
            (*pool).set_inline_moves(options.inline_moves as u32);
            (*header).begin(Kind::Pool);
        }
    }
}

/// Frees every object, gives every page back, ends the locks. The memory is the embedder's again.
///
/// Context: calls `page_free` for each page and `lock_destroy`; time in proportion to the pages.
/// Takes no lock: nobody else may use the pool.
///
/// # Safety
///
/// `pool` is NULL or memory in which a pool was once created; nobody else uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_destroy(pool: *mut compcache_pool) -> compcache_status {
    let destroy = || {
        // SAFETY: the caller's word.
        let header = unsafe { Header::of(pool.cast(), Kind::Pool) }?;
        header.end(Kind::Pool)?;
        // SAFETY: the object was alive and is not any more, so this is done once; the header says
        // the type.
        unsafe {
            match header.page_size {
                16384 => (&raw mut (*pool.cast::<Body<16384>>()).pool).drop_in_place(),
                65536 => (&raw mut (*pool.cast::<Body<65536>>()).pool).drop_in_place(),
                _ => (&raw mut (*pool.cast::<Body<4096>>()).pool).drop_in_place(),
            }
            header.destroy_locks();
        }
        Ok(())
    };
    finish(destroy())
}

fn handle_of(bits: u64) -> Result<Handle, compcache_status> {
    Handle::from_bits(bits).ok_or(COMPCACHE_ERR_BAD_HANDLE)
}

/// Allocates an object of `size` bytes, cleared. `*handle`, which is never 0, is set on success only.
///
/// Context: takes an arena's lock and calls `page_alloc` under it; atomic if these are.
///
/// # Safety
///
/// `pool` is NULL or memory in which a pool was once created, and nobody destroys it meanwhile (as for
/// all functions below). `handle` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_alloc(
    pool: *mut compcache_pool,
    size: usize,
    handle: *mut u64,
) -> compcache_status {
    let alloc = || {
        if handle.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let made = with_pool!(pool, |pool| pool
            .alloc(size)
            .map_err(|error| not_stored(error, pool.source())))?;
        // SAFETY: not null, and the caller's word.
        unsafe { handle.write(made.to_bits()) };
        Ok(())
    };
    finish(alloc())
}

/// Allocates an object that holds a copy of `size` bytes. `*handle`, which is never 0, is set on
/// success only.
///
/// Context: that of `compcache_pool_alloc`.
///
/// # Safety
///
/// `bytes` is NULL or `size` readable bytes, `handle` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_alloc_from(
    pool: *mut compcache_pool,
    bytes: *const c_void,
    size: usize,
    handle: *mut u64,
) -> compcache_status {
    let alloc = || {
        if handle.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        // SAFETY: the caller's word.
        let bytes = unsafe { readable(bytes, size, OBJECT_MAX + 1) }?;
        let made = with_pool!(pool, |pool| pool
            .alloc_from(bytes)
            .map_err(|error| not_stored(error, pool.source())))?;
        // SAFETY: not null, and the caller's word.
        unsafe { handle.write(made.to_bits()) };
        Ok(())
    };
    finish(alloc())
}

/// Frees an object.
///
/// Context: takes an arena's lock and calls `page_free` under it, and moves at most `inline_moves`
/// objects (then `page_alloc` may be called too, and may fail). Waits, spinning, while somebody reads or writes the object.
///
/// # Safety
///
/// See `compcache_pool_alloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_free(
    pool: *mut compcache_pool,
    handle: u64,
) -> compcache_status {
    let free = || {
        with_pool!(pool, |pool| pool
            .free(handle_of(handle)?)
            .map_err(Told::told))
    };
    finish(free())
}

/// Says how many bytes an object has.
///
/// Context: takes an arena's lock.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `size` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_size(
    pool: *mut compcache_pool,
    handle: u64,
    size: *mut usize,
) -> compcache_status {
    let ask = || {
        if size.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let found = with_pool!(pool, |pool| pool
            .size(handle_of(handle)?)
            .map_err(Told::told))?;
        // SAFETY: not null, and the caller's word.
        unsafe { size.write(found) };
        Ok(())
    };
    finish(ask())
}

/// Copies `len` bytes into an object, from its byte `offset` on.
///
/// Context: takes an arena's lock for a moment, and copies without it. Waits, spinning, while
/// somebody reads or writes the object.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `bytes` is NULL or `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_write(
    pool: *mut compcache_pool,
    handle: u64,
    offset: usize,
    bytes: *const c_void,
    len: usize,
) -> compcache_status {
    let write = || {
        // SAFETY: the caller's word.
        let bytes = unsafe { readable(bytes, len, OBJECT_MAX + 1) }?;
        with_pool!(pool, |pool| pool
            .write(handle_of(handle)?, offset, bytes)
            .map_err(Told::told))
    };
    finish(write())
}

/// Copies `len` bytes of an object, from its byte `offset` on, to `bytes`.
///
/// Context: that of `compcache_pool_write`.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `bytes` is NULL or `len` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_read(
    pool: *mut compcache_pool,
    handle: u64,
    offset: usize,
    bytes: *mut c_void,
    len: usize,
) -> compcache_status {
    let read = || {
        // SAFETY: the caller's word.
        let out = unsafe { writable(bytes, len, OBJECT_MAX + 1) }?;
        with_pool!(pool, |pool| pool
            .read_into(handle_of(handle)?, offset, out)
            .map_err(Told::told))
    };
    finish(read())
}

/// Holds an object and says where its bytes are: `*count` pieces of at most `room` in `fragments`.
/// Until `compcache_pool_read_end` the object is neither moved nor changed; who wants to write or free it waits,
/// spinning, and a second reader too. So hold it for a short time, and do not sleep meanwhile.
///
/// With too little room the object is not held, and `*count` says how many pieces there are.
///
/// Context: takes an arena's lock for a moment. Waits, spinning, while somebody reads or writes the object: never call
/// it for an object that the same thread, or what it interrupted, holds.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `reading` is NULL or zeroes or was ended, and stays where it is until
/// it is ended; `fragments` is NULL or has room for so many; `count` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_read_begin(
    pool: *mut compcache_pool,
    handle: u64,
    reading: *mut compcache_reading,
    fragments: *mut compcache_fragment,
    room: usize,
    count: *mut usize,
) -> compcache_status {
    let begin = || {
        if reading.is_null() || fragments.is_null() || count.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let held = with_pool!(pool, |pool| pool
            .read(handle_of(handle)?)
            .map_err(Told::told))?;
        let found = held.fragments();
        // SAFETY: not null, and the caller's word: so many may be written.
        unsafe {
            count.write(found.len());
            if found.len() > room {
                return Err(COMPCACHE_ERR_TOO_MANY_FRAGMENTS);
            }
            for (number, bytes) in found.iter().enumerate() {
                fragments.add(number).write(compcache_fragment {
                    bytes: bytes.as_ptr().cast(),
                    len: bytes.len(),
                });
            }
        }
        let place = reading.cast::<HeldReading>();
        // SAFETY: the object is not destroyed while it is being read; `reading` has room (checked
        // above), and the lifetime ends with `compcache_pool_read_end`.
        unsafe {
            let header = Header::of(pool.cast(), Kind::Pool)?;
            header.readings.fetch_add(1, Ordering::AcqRel);
            place.write(HeldReading {
                magic: READING,
                pool: header,
                reading: MaybeUninit::new(core::mem::transmute::<Reading<'_>, Reading<'static>>(
                    held,
                )),
            });
        }
        Ok(())
    };
    finish(begin())
}

/// Lets go of an object. The pieces must not be looked at any more.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `reading` is NULL, zeroes, or was given to `compcache_pool_read_begin`; its pool lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_read_end(
    reading: *mut compcache_reading,
) -> compcache_status {
    let end = || {
        if reading.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let place = reading.cast::<HeldReading>();
        // SAFETY: the caller's word; the magic number says that the rest is there, and goes.
        unsafe {
            if (&raw const (*place).magic).read() != READING {
                return Err(COMPCACHE_ERR_BAD_OBJECT);
            }
            (&raw mut (*place).magic).write(0);
            (*place).reading.assume_init_drop();
            (*(*place).pool).readings.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(())
    };
    finish(end())
}

/// Packs the pool: moves at most `objects` objects (UINT64_MAX for all that is needed) so that pages become
/// free, and gives these back. Others may use the pool meanwhile. `compacted` may be NULL.
///
/// Context: takes one arena's lock at a time, for at most 8 moves, and calls `page_free` (and `page_alloc`, which may
/// fail, where objects move into a hole) under it. Does not wait for objects that are held: they stay where they are.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `compacted` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_compact(
    pool: *mut compcache_pool,
    objects: u64,
    compacted: *mut compcache_compacted,
) -> compcache_status {
    let compact = || {
        // SAFETY: the caller's word.
        unsafe { check_optional(compacted) }?;
        let done = with_pool!(pool, |pool| pool.compact(objects));
        // SAFETY: the caller's word.
        unsafe { tell_compacted(compacted, done) }
    };
    finish(compact())
}

/// Packs what is worth packing: arenas of which more than 1/48 (small ones) or 1/16 is unused. For a worker
/// of the embedder's that is called now and then.
///
/// Context: that of `compcache_pool_compact`.
///
/// # Safety
///
/// See `compcache_pool_alloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_compact_to_target(
    pool: *mut compcache_pool,
) -> compcache_status {
    let compact = || {
        with_pool!(pool, |pool| pool.compact_to_target());
        Ok(())
    };
    finish(compact())
}

/// Limits the pages that may be taken, tables included; 0 for no limit. What is taken stays taken.
///
/// Context: takes arenas' locks, one at a time, and calls `page_free` under them.
///
/// # Safety
///
/// See `compcache_pool_alloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_set_limit(
    pool: *mut compcache_pool,
    pages: u64,
) -> compcache_status {
    let set = || {
        let limit = match pages {
            0 => usize::MAX,
            _ => usize::try_from(pages).unwrap_or(usize::MAX),
        };
        with_pool!(pool, |pool| pool.set_limit_pages(limit));
        Ok(())
    };
    finish(set())
}

/// Says how much is stored.
///
/// Context: takes arenas' locks, one at a time.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `stats` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_get_stats(
    pool: *mut compcache_pool,
    stats: *mut compcache_pool_stats,
) -> compcache_status {
    let tell = || {
        let found = with_pool!(pool, |pool| pool.stats());
        // SAFETY: the caller's word.
        unsafe {
            write_struct(stats, || compcache_pool_stats {
                struct_size: 0,
                objects: found.objects,
                payload_bytes: found.payload_bytes,
                block_bytes: found.block_bytes,
                used_bytes: found.used_bytes(),
                data_pages: found.data_pages,
                metadata_pages: found.metadata_pages,
                pages_max: found.pages_max,
                objects_moved: found.objects_moved,
                pages_compacted: found.pages_compacted,
            })
        }
    };
    finish(tell())
}

/// Checks every invariant of the pool's tables, for tests: it looks at every block. Nobody
/// may use the pool meanwhile.
///
/// Context: takes arenas' locks for as long as it takes.
///
/// # Safety
///
/// See `compcache_pool_alloc`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_check(pool: *mut compcache_pool) -> compcache_status {
    let check = || {
        with_pool!(pool, |pool| pool
            .check()
            .map_err(|_| COMPCACHE_ERR_INTERNAL))
    };
    finish(check())
}
