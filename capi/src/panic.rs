//! Panics: none unwinds into the embedder.
//!
//! The library for C has a panic handler, which calls the embedder's hook: `build.sh` sets
//! `--cfg compcache_panic_handler`. As a crate it has none, because a program has but one; so it is no feature.

use core::ffi::{c_char, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

/// What an embedder does when the library finds a contradiction in its own tables, or was given a bad
/// pointer: BUG() in a kernel, abort() in a program. `file` and `message` do not end with a zero; their bytes are
/// counted, and `message` may have none.
pub type compcache_panic_hook = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        file: *const c_char,
        file_len: usize,
        line: u32,
        message: *const c_char,
        message_len: usize,
    ),
>;

static HOOK: AtomicPtr<()> = AtomicPtr::new(null_mut());
static CONTEXT: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Sets what is called for a panic, for all objects: once, before they are used. NULL takes it off.
///
/// The hook must not call the library, and should not return: locks of the object may be held. If it does
/// return, or there is none, the processor is made to trap. (A Rust program that links the library as a
/// crate has a panic handler of its own, which is used instead.)
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// The hook may be called at any time, with the context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_set_panic_hook(
    hook: compcache_panic_hook,
    context: *mut c_void,
) {
    CONTEXT.store(context, Ordering::Release);
    let hook = hook.map_or(null_mut(), |hook| hook as *mut ());
    HOOK.store(hook, Ordering::Release);
}

/// Calls the hook, if there is one.
#[cfg_attr(
    not(compcache_panic_handler),
    allow(dead_code, reason = "the handler calls it")
)]
fn call_hook(file: &str, line: u32, message: &str) {
    let hook = HOOK.load(Ordering::Acquire);
    if hook.is_null() {
        return;
    }
    // SAFETY: only `compcache_set_panic_hook` stores there, pointers to such functions.
    let hook = unsafe { core::mem::transmute::<*mut (), compcache_panic_hook>(hook) };
    if let Some(hook) = hook {
        // SAFETY: the embedder's word.
        unsafe {
            hook(
                CONTEXT.load(Ordering::Acquire),
                file.as_ptr().cast(),
                file.len(),
                line,
                message.as_ptr().cast(),
                message.len(),
            );
        }
    }
}

#[cfg(compcache_panic_handler)]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info
        .location()
        .map_or(("", 0), |place| (place.file(), place.line()));
    call_hook(file, line, info.message().as_str().unwrap_or(""));
    loop {
        trap();
    }
}

/// Stops the processor as an instruction does that there is not.
#[cfg(compcache_panic_handler)]
fn trap() {
    // SAFETY: the exception goes to the embedder, who has nothing else to do here.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    unsafe {
        core::arch::asm!("ud2", options(nomem, nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("brk #1", options(nomem, nostack));
    }
    #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("unimp", options(nomem, nostack));
    }
    core::hint::spin_loop();
}
