//! How objects begin and end: pools and caches alike, with pages of every size.

use super::{Header, Kind, Plan};
use crate::abi::{Versioned, read_struct};
use crate::common::{page_size, tell_layout};
use crate::host::{HostLock, Pages, compcache_host};
use crate::status::Outcome;
use crate::status::compcache_status::{self, *};
use core::ffi::c_void;

/// What a C program has a pointer to.
pub(crate) trait Object: Sized {
    const KIND: Kind;
    /// What it is made with.
    type Options: Versioned;
    /// What lies behind the header.
    type Inner<const PAGE: usize>;

    /// Bytes of a page, as they are asked for.
    fn page_size(options: &Self::Options) -> u64;

    /// Checks what does not depend on the page size.
    fn check(options: &Self::Options) -> Outcome;

    fn plan<const PAGE: usize>(
        options: &Self::Options,
        host: &compcache_host,
    ) -> Result<Plan, compcache_status>;

    /// Makes what lies behind the header, where it stays. Its locks cannot be used yet.
    ///
    /// # Safety
    ///
    /// `inner` and `workspaces` are ours and as planned, the source's host lives as long.
    unsafe fn make<const PAGE: usize>(
        inner: *mut Self::Inner<PAGE>,
        workspaces: *mut c_void,
        source: Pages<PAGE>,
        options: &Self::Options,
    ) -> Outcome;

    fn raw_locks<const PAGE: usize>(
        inner: &mut Self::Inner<PAGE>,
    ) -> impl Iterator<Item = &HostLock>;

    /// Sets what takes locks.
    fn set<const PAGE: usize>(inner: &Self::Inner<PAGE>, options: &Self::Options);
}

/// An object in its memory.
#[repr(C)]
pub(crate) struct Body<T> {
    header: Header,
    inner: T,
}

/// Evaluates an expression with a page size that there is as the constant `$page`.
macro_rules! with_page_size {
    ($page_size:expr, |$page:ident| $then:expr) => {
        match $page_size {
            16384 => {
                const $page: usize = 16384;
                $then
            }
            65536 => {
                const $page: usize = 65536;
                $then
            }
            _ => {
                const $page: usize = 4096;
                $then
            }
        }
    };
}
pub(crate) use with_page_size;

/// Evaluates an expression with what is in a live object, whatever its page size (`$page`).
macro_rules! with_object {
    ($object:expr, |$inner:ident| $then:expr) => {
        $crate::object::with_object!($object, |$inner, PAGE| $then)
    };
    ($object:expr, |$inner:ident, $page:ident| $then:expr) => {{
        let object = $object;
        // SAFETY: the caller's word that the object lives or never did.
        let header = unsafe { $crate::object::header_of(object) }?;
        $crate::object::with_page_size!(header.page_size, |$page| {
            // SAFETY: the header says that this is the page size.
            let $inner = unsafe { $crate::object::inner_of::<_, $page>(object) };
            $then
        })
    }};
}
pub(crate) use with_object;

/// The header of a live object.
///
/// # Safety
///
/// That of [`Header::of`].
pub(crate) unsafe fn header_of<'o, O: Object>(
    object: *const O,
) -> Result<&'o Header, compcache_status> {
    // SAFETY: the caller's word.
    unsafe { Header::of(object.cast(), O::KIND) }
}

/// What is in a live object.
///
/// # Safety
///
/// The object lives, and has pages of this size.
pub(crate) unsafe fn inner_of<'o, O: Object, const PAGE: usize>(
    object: *const O,
) -> &'o O::Inner<PAGE> {
    // SAFETY: the caller's word: it is a body of this type.
    unsafe { &(*object.cast::<Body<O::Inner<PAGE>>>()).inner }
}

/// Reads options and host, and plans the object.
///
/// # Safety
///
/// The pointers are null or point to as many readable bytes as they say.
unsafe fn plan<O: Object>(
    options: *const O::Options,
    host: *const compcache_host,
) -> Result<(O::Options, compcache_host, Plan), compcache_status> {
    // SAFETY: the caller's word.
    let (options, host) = unsafe { (read_struct(options)?, read_struct(host)?) };
    let page_size = page_size(O::page_size(&options))?;
    host.check(page_size)?;
    O::check(&options)?;
    let plan = with_page_size!(page_size, |PAGE| O::plan::<PAGE>(&options, &host))?;
    Ok((options, host, plan))
}

/// Says how much memory an object needs, and at which alignment.
///
/// # Safety
///
/// `options` and `host` are null or point to as many readable bytes as they say; `size` and `align` are
/// null or may be written.
pub(crate) unsafe fn layout<O: Object>(
    options: *const O::Options,
    host: *const compcache_host,
    size: *mut usize,
    align: *mut usize,
) -> Outcome {
    // SAFETY: the caller's word.
    unsafe {
        let (_, _, plan) = plan::<O>(options, host)?;
        tell_layout(&plan, size, align)
    }
}

/// Makes an object in `memory`; `*object` is set on success only.
///
/// # Safety
///
/// `options` and `host` are null or point to as many readable bytes as they say, `memory` is null or
/// `memory_size` bytes that nobody else uses, the host's functions do what they should, `object` is null
/// or may be written.
pub(crate) unsafe fn create<O: Object>(
    memory: *mut c_void,
    memory_size: usize,
    options: *const O::Options,
    host: *const compcache_host,
    object: *mut *mut O,
) -> Outcome {
    // SAFETY: the caller's word.
    let (options, host, plan) = unsafe { plan::<O>(options, host) }?;
    if object.is_null() {
        return Err(COMPCACHE_ERR_NULL_POINTER);
    }
    plan.check(memory, memory_size)?;
    // SAFETY: the memory is ours and big enough for the plan, which is one of this page size.
    unsafe {
        plan.make_locks(memory, &host)?;
        with_page_size!(O::page_size(&options), |PAGE| begin::<O, PAGE>(
            memory, &plan, &options, &host
        ))?;
        object.write(memory.cast());
    }
    Ok(())
}

/// # Safety
///
/// `memory` is ours and as planned for this object and page size, the locks are made.
#[inline(never)]
unsafe fn begin<O: Object, const PAGE: usize>(
    memory: *mut c_void,
    plan: &Plan,
    options: &O::Options,
    host: &compcache_host,
) -> Outcome {
    let body = memory.cast::<Body<O::Inner<PAGE>>>();
    // SAFETY: the caller's word; the fields are written before they are used, where they stay.
    unsafe {
        let header = &raw mut (*body).header;
        header.write(plan.header(memory, PAGE, host));
        let inner = &raw mut (*body).inner;
        let workspaces = memory.byte_add(plan.workspaces);
        let source = Pages::new(&raw const (*header).host);
        if let Err(status) = O::make(inner, workspaces, source, options) {
            (*header).destroy_locks();
            return Err(status);
        }
        plan.set_up_locks(memory, header, O::raw_locks(&mut *inner));
        O::set(&*inner, options);
        (*header).begin(O::KIND);
    }
    Ok(())
}

/// Gives back what an object has taken, and ends its locks.
///
/// # Safety
///
/// `object` is null or memory in which such an object was once created; nobody else uses it.
pub(crate) unsafe fn destroy<O: Object>(object: *mut O) -> Outcome {
    // SAFETY: the caller's word.
    let header = unsafe { header_of(object) }?;
    header.end(O::KIND)?;
    // SAFETY: the object was alive and is not any more, so this is done once; the header says the
    // type. Workspaces have nothing to drop.
    unsafe {
        with_page_size!(header.page_size, |PAGE| {
            let body = object.cast::<Body<O::Inner<PAGE>>>();
            (&raw mut (*body).inner).drop_in_place();
        });
        header.destroy_locks();
    }
    Ok(())
}
