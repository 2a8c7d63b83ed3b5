//! The cache: pages of a device, compressed.

use crate::abi::{check_optional, read_struct, write_struct};
use crate::common::{
    ARENAS, init_struct, not_stored, page_size, readable, tell_compacted, tell_layout, writable,
};
use crate::host::{COMPCACHE_LOG_ERROR, HostLock, Pages, compcache_host};
use crate::object::{Header, Kind, Plan};
use crate::pool::compcache_compacted;
use crate::status::compcache_status::{self, *};
use crate::status::{Told, finish};
use alloc_xv::Slots;
use compcache::{AnyCodec, Cache, Config, Error, Lz4, Lz4Workspace, Raw, SECTOR_SIZE, Shared};
use compress::AnyWorkspace;
use core::ffi::c_void;
use core::ops::Deref;

mod structs;

pub use structs::*;

/// A cache; see `compcache_cache_create`.
pub struct compcache_cache {
    _private: [u8; 0],
}

/// Pages are stored as they are.
pub const COMPCACHE_CODEC_RAW: u32 = 0;
/// LZ4 blocks.
pub const COMPCACHE_CODEC_LZ4: u32 = 1;

/// Keep no checksum with each page: damaged pages may be found by their codec, or not at all.
pub const COMPCACHE_NO_CHECKSUM: u64 = 1;

/// Bytes of a sector.
pub const COMPCACHE_SECTOR_SIZE: usize = 512;

const _: () = assert!(COMPCACHE_SECTOR_SIZE == SECTOR_SIZE);

/// The most workspaces of a cache.
const WORKSPACES_MAX: u32 = 4096;

/// The workspaces of an object.
struct Bank<const PAGE: usize> {
    first: *const Shared<AnyCodec, PAGE>,
    count: usize,
}

impl<const PAGE: usize> Deref for Bank<PAGE> {
    type Target = [Shared<AnyCodec, PAGE>];

    fn deref(&self) -> &Self::Target {
        // SAFETY: so many were made there, and live as long as the cache that has the bank.
        unsafe { core::slice::from_raw_parts(self.first, self.count) }
    }
}

type Inner<const PAGE: usize> = Cache<Pages<PAGE>, AnyCodec, Bank<PAGE>, HostLock, PAGE, ARENAS>;

/// A cache in its memory.
#[repr(C)]
struct Body<const PAGE: usize> {
    header: Header,
    cache: Inner<PAGE>,
}

/// Evaluates an expression with the cache of a live object, whatever its page size (`$page`).
macro_rules! with_cache {
    ($object:expr, |$cache:ident, $page:ident| $then:expr) => {{
        let object: *const compcache_cache = $object;
        // SAFETY: the caller's word that the object lives or never did.
        let header = unsafe { Header::of(object.cast(), Kind::Cache) }?;
        match header.page_size {
            16384 => {
                const $page: usize = 16384;
                // SAFETY: the header says that this is the body's type.
                let $cache = unsafe { &(*object.cast::<Body<16384>>()).cache };
                $then
            }
            65536 => {
                const $page: usize = 65536;
                // SAFETY: as above.
                let $cache = unsafe { &(*object.cast::<Body<65536>>()).cache };
                $then
            }
            _ => {
                const $page: usize = 4096;
                // SAFETY: as above.
                let $cache = unsafe { &(*object.cast::<Body<4096>>()).cache };
                $then
            }
        }
    }};
}

/// Fills in the defaults: pages of 4 KiB, LZ4, checksums, 4 workspaces, no limit, one object moved
/// for each discard. The number of pages is 0 and has to be set. `struct_size` is
/// `sizeof(struct compcache_cache_options)`.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_options_init(
    options: *mut compcache_cache_options,
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
    options: *const compcache_cache_options,
    host: *const compcache_host,
) -> Result<(compcache_cache_options, compcache_host, Plan), compcache_status> {
    // SAFETY: the caller's word.
    let (options, host) = unsafe { (read_struct(options)?, read_struct(host)?) };
    let page_size = page_size(options.page_size)?;
    host.check(page_size)?;
    if options.workspaces == 0
        || options.workspaces > WORKSPACES_MAX
        || options.codec > COMPCACHE_CODEC_LZ4
        || options.flags & !COMPCACHE_NO_CHECKSUM != 0
        || u32::try_from(options.inline_moves).is_err()
    {
        return Err(COMPCACHE_ERR_BAD_OPTION);
    }
    let plan = match page_size {
        16384 => Body::<16384>::plan(&options, &host),
        65536 => Body::<65536>::plan(&options, &host),
        _ => Body::<4096>::plan(&options, &host),
    };
    Ok((options, host, plan?))
}

/// Says how much memory a cache needs beside its pages, and at which alignment: about 16 KiB, four
/// locks, and its workspaces.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `options` and `host` are NULL or point to as many readable bytes as they say; `size` and
/// `align` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_layout(
    options: *const compcache_cache_options,
    host: *const compcache_host,
    size: *mut usize,
    align: *mut usize,
) -> compcache_status {
    // SAFETY: the caller's word.
    finish(unsafe { plan(options, host).and_then(|(_, _, plan)| tell_layout(&plan, size, align)) })
}

/// Makes an empty cache in `memory`, of which `memory_size` bytes are the library's until
/// `compcache_cache_destroy`; it must not be moved. Takes no page. `*cache` is set on success only.
///
/// Context: calls `lock_init`; any context in which that may be called. Writes all of the memory.
///
/// # Safety
///
/// `options` and `host` are NULL or point to as many readable bytes as they say, `memory` is NULL or
/// `memory_size` bytes that nobody else uses, the host's functions do what they should, `cache` is
/// NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_create(
    memory: *mut c_void,
    memory_size: usize,
    options: *const compcache_cache_options,
    host: *const compcache_host,
    cache: *mut *mut compcache_cache,
) -> compcache_status {
    let create = || {
        // SAFETY: the caller's word.
        let (options, host, plan) = unsafe { plan(options, host) }?;
        if cache.is_null() {
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
            }?;
            cache.write(memory.cast());
        }
        Ok(())
    };
    finish(create())
}

impl<const PAGE: usize> Body<PAGE> {
    fn plan(
        options: &compcache_cache_options,
        host: &compcache_host,
    ) -> Result<Plan, compcache_status> {
        if options.pages == 0 || options.pages > Slots::<Pages<PAGE>, HostLock, ARENAS>::keys() {
            return Err(COMPCACHE_ERR_BAD_OPTION);
        }
        Plan::new::<Self, Shared<AnyCodec, PAGE>>(options.workspaces as usize, ARENAS, host)
    }

    /// # Safety
    ///
    /// `memory` is ours and as planned for this type, the locks are made.
    #[inline(never)]
    unsafe fn begin(
        memory: *mut c_void,
        plan: &Plan,
        options: &compcache_cache_options,
        host: &compcache_host,
    ) -> Result<(), compcache_status> {
        let body = memory.cast::<Self>();
        // SAFETY: the caller's word; the fields are written before they are used, where they stay.
        unsafe {
            let header = &raw mut (*body).header;
            header.write(plan.header(memory, PAGE, host));
            let first = memory.byte_add(plan.workspaces).cast();
            for number in 0..options.workspaces as usize {
                Self::make_workspace(first, number, options.codec);
            }
            let bank = Bank {
                first,
                count: options.workspaces as usize,
            };
            let codec = match options.codec {
                COMPCACHE_CODEC_RAW => AnyCodec::Raw(Raw),
                _ => AnyCodec::Lz4(Lz4),
            };
            let mut config = Config::new(options.pages);
            config.checksum = options.flags & COMPCACHE_NO_CHECKSUM == 0;
            config.mem_limit = options.mem_limit;
            let source = Pages::new(&raw const (*header).host);
            let cache = &raw mut (*body).cache;
            if let Err(error) = Inner::new_at(&mut *cache.cast(), source, codec, bank, config) {
                (*header).destroy_locks();
                return Err(error.told());
            }
            plan.set_up_locks(memory, header, (*cache).raw_locks());
            (*cache).set_inline_moves(options.inline_moves as u32);
            (*header).begin(Kind::Cache);
        }
        Ok(())
    }

    /// # Safety
    ///
    /// Workspace `number` from `first` on is ours and inside the plan.
    #[inline(never)]
    unsafe fn make_workspace(first: *mut Shared<AnyCodec, PAGE>, number: usize, codec: u32) {
        // SAFETY: the caller's word. The values are constants, so that they are copied from where
        // they lie and never pass through the stack.
        unsafe {
            let place = first.add(number);
            match codec {
                COMPCACHE_CODEC_RAW => place.write(const { Shared::new(AnyWorkspace::Raw) }),
                _ if PAGE < 65536 => {
                    place.write(const { Shared::new(AnyWorkspace::Lz4(Lz4Workspace::small())) })
                }
                _ => place.write(const { Shared::new(AnyWorkspace::Lz4(Lz4Workspace::large())) }),
            }
        }
    }
}

/// Forgets every page, gives all memory back, ends the locks. The memory is the embedder's again.
///
/// Context: calls `page_free` for each page and `lock_destroy`; time in proportion to the pages
/// taken. Takes no lock: nobody else may use the cache.
///
/// # Safety
///
/// `cache` is NULL or memory in which a cache was once created; nobody else uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_destroy(cache: *mut compcache_cache) -> compcache_status {
    let destroy = || {
        // SAFETY: the caller's word.
        let header = unsafe { Header::of(cache.cast(), Kind::Cache) }?;
        header.end(Kind::Cache)?;
        // SAFETY: the object was alive and is not any more, so this is done once; the header says
        // the type. Workspaces have nothing to drop.
        unsafe {
            match header.page_size {
                16384 => (&raw mut (*cache.cast::<Body<16384>>()).cache).drop_in_place(),
                65536 => (&raw mut (*cache.cast::<Body<65536>>()).cache).drop_in_place(),
                _ => (&raw mut (*cache.cast::<Body<4096>>()).cache).drop_in_place(),
            }
            header.destroy_locks();
        }
        Ok(())
    };
    finish(destroy())
}

/// An error as the caller is told it, and a damaged page to the log.
fn failed<const PAGE: usize>(
    error: Error,
    source: &Pages<PAGE>,
    host: &compcache_host,
) -> compcache_status {
    match error {
        Error::NoSpace(error) => not_stored(error, source),
        Error::Corrupt { index } => {
            host.say(
                COMPCACHE_LOG_ERROR,
                c"the stored bytes of this page are damaged",
                index,
            );
            COMPCACHE_ERR_CORRUPT
        }
        error => error.told(),
    }
}

/// The host of an object that lives.
///
/// # Safety
///
/// That of [`Header::of`].
unsafe fn host_of<'o>(
    cache: *const compcache_cache,
) -> Result<&'o compcache_host, compcache_status> {
    // SAFETY: the caller's word.
    unsafe { Header::of(cache.cast(), Kind::Cache) }.map(|header| &header.host)
}

/// Stores a page of the device's page size. On failure the page that was stored before stays.
///
/// Context: compresses without a lock, in a workspace, for which it waits, spinning, while all are in use;
/// then takes an arena's lock and calls `page_alloc` and `page_free` under it. Waits, spinning, while
/// somebody uses the same page. Atomic if the locks and the page callbacks are.
///
/// # Safety
///
/// `cache` is NULL or memory in which a cache was once created, and nobody destroys it meanwhile (as
/// for all functions below). `page` is NULL or as many readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_put(
    cache: *mut compcache_cache,
    index: u64,
    page: *const c_void,
) -> compcache_status {
    let put = || {
        // SAFETY: the caller's word.
        let host = unsafe { host_of(cache) }?;
        with_cache!(cache, |cache, PAGE| {
            // SAFETY: the caller's word.
            let page = unsafe { page.cast::<[u8; PAGE]>().as_ref() };
            let page = page.ok_or(COMPCACHE_ERR_NULL_POINTER)?;
            cache
                .put(index, page)
                .map_err(|error| failed(error, cache.source(), host))
        })
    };
    finish(put())
}

/// Reads a page. One that is not stored reads as zeroes, and is no error; `stored`, which may be NULL, tells.
/// On failure the page is all zeroes, never wrong bytes.
///
/// Context: takes a workspace, for which it waits, spinning, while all are in use; an arena's lock for a
/// moment; then decompresses, holding the page only. Waits, spinning, while somebody uses the same page.
///
/// # Safety
///
/// See `compcache_cache_put`. `page` is NULL or as many writable bytes, `stored` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_get(
    cache: *mut compcache_cache,
    index: u64,
    page: *mut c_void,
    stored: *mut bool,
) -> compcache_status {
    let get = || {
        // SAFETY: the caller's word.
        let host = unsafe { host_of(cache) }?;
        let found = with_cache!(cache, |cache, PAGE| {
            // SAFETY: the caller's word.
            let page = unsafe { page.cast::<[u8; PAGE]>().as_mut() };
            let page = page.ok_or(COMPCACHE_ERR_NULL_POINTER)?;
            cache
                .get(index, page)
                .map_err(|error| failed(error, cache.source(), host))
        })?;
        // SAFETY: the caller's word.
        unsafe { tell_bool(stored, found) };
        Ok(())
    };
    finish(get())
}

/// # Safety
///
/// `to` is null or may be written.
unsafe fn tell_bool(to: *mut bool, value: bool) {
    if !to.is_null() {
        // SAFETY: not null, and the caller's word.
        unsafe { to.write(value) };
    }
}

/// Reads `len` bytes of a page from its byte `offset` on: whole sectors of 512 bytes.
///
/// Context: that of `compcache_cache_get`.
///
/// # Safety
///
/// See `compcache_cache_put`. `bytes` is NULL or `len` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_read(
    cache: *mut compcache_cache,
    index: u64,
    offset: usize,
    bytes: *mut c_void,
    len: usize,
) -> compcache_status {
    let read = || {
        // SAFETY: the caller's word.
        let host = unsafe { host_of(cache) }?;
        with_cache!(cache, |cache, PAGE| {
            // SAFETY: the caller's word.
            let out = unsafe { writable(bytes, len, PAGE + 1) }?;
            cache
                .read(index, offset, out)
                .map_err(|error| failed(error, cache.source(), host))
        })
    };
    finish(read())
}

/// Writes `len` bytes of a page from its byte `offset` on: whole sectors of 512 bytes. Others see the page as it was
/// before or after; on failure it is as it was.
///
/// Context: that of `compcache_cache_put`; holds the page while it decompresses and compresses.
///
/// # Safety
///
/// See `compcache_cache_put`. `bytes` is NULL or `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_write(
    cache: *mut compcache_cache,
    index: u64,
    offset: usize,
    bytes: *const c_void,
    len: usize,
) -> compcache_status {
    let write = || {
        // SAFETY: the caller's word.
        let host = unsafe { host_of(cache) }?;
        with_cache!(cache, |cache, PAGE| {
            // SAFETY: the caller's word.
            let bytes = unsafe { readable(bytes, len, PAGE + 1) }?;
            cache
                .write(index, offset, bytes)
                .map_err(|error| failed(error, cache.source(), host))
        })
    };
    finish(write())
}

/// Forgets a page. `stored`, which may be NULL, tells whether there was one.
///
/// Context: takes an arena's lock, calls `page_free` under it, and moves at most `inline_moves` objects (then
/// `page_alloc` may be called too, and may fail). Waits, spinning, while somebody uses the same page.
///
/// # Safety
///
/// See `compcache_cache_put`. `stored` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_discard(
    cache: *mut compcache_cache,
    index: u64,
    stored: *mut bool,
) -> compcache_status {
    let discard = || {
        let found = with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.discard(index).map_err(Told::told)
        })?;
        // SAFETY: the caller's word.
        unsafe { tell_bool(stored, found) };
        Ok(())
    };
    finish(discard())
}

/// Tells whether a page is stored.
///
/// Context: takes an arena's lock for a moment. Waits, spinning, while somebody uses the same page.
///
/// # Safety
///
/// See `compcache_cache_put`. `stored` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_contains(
    cache: *mut compcache_cache,
    index: u64,
    stored: *mut bool,
) -> compcache_status {
    let contains = || {
        if stored.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let found = with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.contains(index).map_err(Told::told)
        })?;
        // SAFETY: not null, and the caller's word.
        unsafe { tell_bool(stored, found) };
        Ok(())
    };
    finish(contains())
}

/// Forgets every page, one after the other, and clears the statistics. Time in proportion to the
/// device.
///
/// Context: that of `compcache_cache_discard`, for each page.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_reset(cache: *mut compcache_cache) -> compcache_status {
    let reset = || {
        with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.reset();
        });
        Ok(())
    };
    finish(reset())
}

/// Limits the memory taken, in bytes, rounded up to pages, tables included; 0 for no limit. What is taken
/// stays taken; puts fail until enough is discarded.
///
/// Context: takes arenas' locks, one at a time, and calls `page_free` under them.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_set_mem_limit(
    cache: *mut compcache_cache,
    bytes: u64,
) -> compcache_status {
    let set = || {
        with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.set_mem_limit(bytes);
        });
        Ok(())
    };
    finish(set())
}

/// `mem_used_max` starts again from what is taken now.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_reset_mem_used_max(
    cache: *mut compcache_cache,
) -> compcache_status {
    let reset = || {
        with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.reset_mem_used_max();
        });
        Ok(())
    };
    finish(reset())
}

/// Packs the stored pages: moves at most `objects` of them (UINT64_MAX for all that is needed) so that pages of
/// memory become free, and gives these back. Others may use the cache meanwhile. `compacted` may be NULL.
///
/// Context: takes one arena's lock at a time, for at most 8 moves, and calls `page_free` (and `page_alloc`, which may fail,
/// where objects move into a hole) under it. Does not wait for pages that are in use: they stay where they are.
///
/// # Safety
///
/// See `compcache_cache_put`. `compacted` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_compact(
    cache: *mut compcache_cache,
    objects: u64,
    compacted: *mut compcache_compacted,
) -> compcache_status {
    let compact = || {
        // SAFETY: the caller's word.
        unsafe { check_optional(compacted) }?;
        let done = with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.compact(objects)
        });
        // SAFETY: the caller's word.
        unsafe { tell_compacted(compacted, done) }
    };
    finish(compact())
}

/// Packs what is worth packing: arenas of which more than 1/48 (small ones) or 1/16 is unused. For a worker
/// of the embedder's that is called now and then.
///
/// Context: that of `compcache_cache_compact`.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_compact_to_target(
    cache: *mut compcache_cache,
) -> compcache_status {
    let compact = || {
        with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.compact_to_target();
        });
        Ok(())
    };
    finish(compact())
}

/// zram's `mm_stat`.
///
/// Context: takes arenas' locks, one at a time.
///
/// # Safety
///
/// See `compcache_cache_put`. `stat` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_get_mm_stat(
    cache: *mut compcache_cache,
    stat: *mut compcache_mm_stat,
) -> compcache_status {
    let tell = || {
        let found = with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.mm_stat()
        });
        // SAFETY: the caller's word.
        unsafe {
            write_struct(stat, || compcache_mm_stat {
                struct_size: 0,
                orig_data_size: found.orig_data_size,
                compr_data_size: found.compr_data_size,
                mem_used_total: found.mem_used_total,
                mem_limit: found.mem_limit,
                mem_used_max: found.mem_used_max,
                same_pages: found.same_pages,
                pages_compacted: found.pages_compacted,
                huge_pages: found.huge_pages,
                huge_pages_since: found.huge_pages_since,
            })
        }
    };
    finish(tell())
}

/// zram's `io_stat`, and how often pages were read and written.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// See `compcache_cache_put`. `stat` is NULL or points to as many writable bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_get_io_stat(
    cache: *mut compcache_cache,
    stat: *mut compcache_io_stat,
) -> compcache_status {
    let tell = || {
        let found = with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.io_stat()
        });
        // SAFETY: the caller's word.
        unsafe {
            write_struct(stat, || compcache_io_stat {
                struct_size: 0,
                failed_reads: found.failed_reads,
                failed_writes: found.failed_writes,
                invalid_io: found.invalid_io,
                notify_free: found.notify_free,
                reads: found.reads,
                writes: found.writes,
            })
        }
    };
    finish(tell())
}

/// Checks every invariant of the cache's tables, for tests: it looks at every block. Nobody may use
/// the cache meanwhile.
///
/// Context: takes arenas' locks for as long as it takes.
///
/// # Safety
///
/// See `compcache_cache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_cache_check(cache: *mut compcache_cache) -> compcache_status {
    let check = || {
        with_cache!(cache, |cache, PAGE| {
            let _ = PAGE;
            cache.check().map_err(|_| COMPCACHE_ERR_INTERNAL)
        })
    };
    finish(check())
}
