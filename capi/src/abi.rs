//! Versions: of the interface as a whole, and of its structs by their size.

use crate::status::compcache_status::{self, *};
use core::ffi::c_char;

/// The version of this interface: major in the upper 16 bits, minor in the lower. Another major
/// version is not compatible; a higher minor one has more functions, or more fields at the end of structs.
pub const COMPCACHE_ABI_VERSION: u32 = 0x0001_0000;

/// The most bytes of stack that any function needs, beside what the embedder's callbacks need.
pub const COMPCACHE_STACK_MAX: usize = 2048;

/// The version of the library that is linked, as `COMPCACHE_ABI_VERSION`.
///
/// Context: any. Takes no lock.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_abi_version() -> u32 {
    COMPCACHE_ABI_VERSION
}

/// The release of the library that is linked, such as "0.1.0". Never NULL.
///
/// Context: any. Takes no lock.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The most bytes of a newer version's struct that are looked at.
const STRUCT_MAX: usize = 4096;

/// A struct of the interface whose first field is its size in bytes, `usize`.
///
/// # Safety
///
/// The type is `repr(C)`, its first field is `struct_size: usize`, every pattern of bytes that a C
/// program can write into it is a value, and it has no padding.
pub(crate) unsafe trait Versioned: Copy {
    /// The size that its first version had.
    const FIRST: usize;
    /// What fields have that an older version does not know.
    const DEFAULT: Self;
}

/// Reads a struct of any version. Fields that it does not have get their default; fields that this
/// library does not have must be zero.
///
/// # Safety
///
/// `from` is null or points to as many readable bytes as it says.
pub(crate) unsafe fn read_struct<T: Versioned>(from: *const T) -> Result<T, compcache_status> {
    if from.is_null() {
        return Err(COMPCACHE_ERR_NULL_POINTER);
    }
    // SAFETY: the first field, which every version has.
    let size = unsafe { from.cast::<usize>().read_unaligned() };
    if size < T::FIRST || size > STRUCT_MAX {
        return Err(COMPCACHE_ERR_BAD_VERSION);
    }
    let mut value = T::DEFAULT;
    let known = size.min(size_of::<T>());
    // SAFETY: as many bytes are readable by the caller's word, and fit; any bytes are a value.
    unsafe {
        core::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut value).cast::<u8>(), known);
    }
    for byte in known..size {
        // SAFETY: the caller's word.
        if unsafe { from.cast::<u8>().add(byte).read() } != 0 {
            return Err(COMPCACHE_ERR_BAD_VERSION);
        }
    }
    Ok(value)
}

/// Writes a struct of any version: the fields that both sides know. `struct_size` becomes the
/// number of bytes that were written.
///
/// # Safety
///
/// `to` is null or points to as many writable bytes as it says.
pub(crate) unsafe fn write_struct<T: Versioned>(
    to: *mut T,
    value: impl FnOnce() -> T,
) -> Result<(), compcache_status> {
    if to.is_null() {
        return Err(COMPCACHE_ERR_NULL_POINTER);
    }
    // SAFETY: the first field, which every version has.
    let size = unsafe { to.cast::<usize>().read_unaligned() };
    if size < T::FIRST {
        return Err(COMPCACHE_ERR_BAD_VERSION);
    }
    // SAFETY: the caller's word.
    unsafe { put_struct(to, size, value()) };
    Ok(())
}

/// Whether [`write_struct`] would accept this; null is accepted too.
///
/// # Safety
///
/// That of [`write_struct`].
pub(crate) unsafe fn check_optional<T: Versioned>(to: *const T) -> Result<(), compcache_status> {
    // SAFETY: not null, and the first field, which every version has.
    if !to.is_null() && unsafe { to.cast::<usize>().read_unaligned() } < T::FIRST {
        return Err(COMPCACHE_ERR_BAD_VERSION);
    }
    Ok(())
}

/// [`write_struct`] where `size` says how many bytes there are.
///
/// # Safety
///
/// `to` points to `size` writable bytes, at least those of a `usize`.
pub(crate) unsafe fn put_struct<T: Versioned>(to: *mut T, size: usize, value: T) {
    let known = size.min(size_of::<T>());
    // SAFETY: as many bytes are writable by the caller's word.
    unsafe {
        core::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), to.cast::<u8>(), known);
        to.cast::<usize>().write_unaligned(known);
    }
}
