//! Making a cache, and its end.

use super::{
    COMPCACHE_CODEC_LZ4, COMPCACHE_CODEC_RAW, COMPCACHE_NO_CHECKSUM, compcache_cache,
    compcache_cache_options,
};
use crate::common::{ARENAS, init_struct};
use crate::host::{HostLock, Pages, compcache_host};
use crate::object::{self, Body, Kind, Object, Plan};
use crate::status::compcache_status::{self, *};
use crate::status::{Outcome, Told, finish};
use alloc_xv::Slots;
use compcache::{AnyCodec, Cache, Config, Lz4, Lz4Workspace, Raw, Shared};
use compress::AnyWorkspace;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ops::Deref;

/// The most workspaces of a cache.
const WORKSPACES_MAX: u32 = 4096;

/// The workspaces of an object.
pub(crate) struct Bank<const PAGE: usize> {
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

/// What is in a cache's memory, behind the header.
type Inner<const PAGE: usize> = Cache<Pages<PAGE>, AnyCodec, Bank<PAGE>, HostLock, PAGE, ARENAS>;

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
    finish(unsafe { object::layout::<compcache_cache>(options, host, size, align) })
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
    // SAFETY: the caller's word.
    finish(unsafe { object::create(memory, memory_size, options, host, cache) })
}

impl Object for compcache_cache {
    const KIND: Kind = Kind::Cache;
    type Options = compcache_cache_options;
    type Inner<const PAGE: usize> = Inner<PAGE>;

    fn page_size(options: &compcache_cache_options) -> u64 {
        options.page_size
    }

    fn check(options: &compcache_cache_options) -> Outcome {
        if options.workspaces == 0
            || options.workspaces > WORKSPACES_MAX
            || options.codec > COMPCACHE_CODEC_LZ4
            || options.flags & !COMPCACHE_NO_CHECKSUM != 0
            || u32::try_from(options.inline_moves).is_err()
        {
            return Err(COMPCACHE_ERR_BAD_OPTION);
        }
        Ok(())
    }

    fn plan<const PAGE: usize>(
        options: &compcache_cache_options,
        host: &compcache_host,
    ) -> Result<Plan, compcache_status> {
        if options.pages == 0 || options.pages > Slots::<Pages<PAGE>, HostLock, ARENAS>::keys() {
            return Err(COMPCACHE_ERR_BAD_OPTION);
        }
        let workspaces = options.workspaces as usize;
        Plan::new::<Body<Inner<PAGE>>, Shared<AnyCodec, PAGE>>(workspaces, ARENAS, host)
    }

    unsafe fn make<const PAGE: usize>(
        inner: *mut Inner<PAGE>,
        workspaces: *mut c_void,
        source: Pages<PAGE>,
        options: &compcache_cache_options,
    ) -> Outcome {
        let bank = Bank {
            first: workspaces.cast(),
            count: options.workspaces as usize,
        };
        let codec = match options.codec {
            COMPCACHE_CODEC_RAW => AnyCodec::Raw(Raw),
            _ => AnyCodec::Lz4(Lz4),
        };
        let mut config = Config::new(options.pages);
        config.checksum = options.flags & COMPCACHE_NO_CHECKSUM == 0;
        config.mem_limit = options.mem_limit;
        // SAFETY: the caller's word; the workspaces are made before they are used.
        unsafe {
            for number in 0..bank.count {
                make_workspace::<PAGE>(workspaces.cast(), number, options.codec);
            }
            let place = &mut *inner.cast::<MaybeUninit<Inner<PAGE>>>();
            Inner::new_at(place, source, codec, bank, config).map_err(Told::told)?;
        }
        Ok(())
    }

    fn raw_locks<const PAGE: usize>(inner: &mut Inner<PAGE>) -> impl Iterator<Item = &HostLock> {
        inner.raw_locks()
    }

    fn set<const PAGE: usize>(inner: &Inner<PAGE>, options: &compcache_cache_options) {
        inner.set_inline_moves(options.inline_moves as u32);
    }
}

/// # Safety
///
/// Workspace `number` from `first` on is ours and inside the plan.
#[inline(never)]
unsafe fn make_workspace<const PAGE: usize>(
    first: *mut Shared<AnyCodec, PAGE>,
    number: usize,
    codec: u32,
) {
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
    // SAFETY: the caller's word.
    finish(unsafe { object::destroy(cache) })
}
