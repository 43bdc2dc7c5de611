//! An addon for Node.js that has OpenSSL take up new entropy each time it is loaded. Node.js has no call of its own for that, and restored copies of a process
//! would go on with the same keys (OpenSSL, RAND_poll(3); Node-API, "Module registration").
//!
//! Compiled by the build script of this crate. Without any library of its own, so that it loads whatever C library a language tree has.

#![no_std]
#![no_main]

use core::{
    ffi::{c_int, c_void},
    panic::PanicInfo,
};

unsafe extern "C" {
    /// Node.js's own copy of OpenSSL, or the shared one that it is linked with.
    fn RAND_poll() -> c_int;
    fn abort() -> !;
}

/// Gives the exports back as they came. Where OpenSSL got no entropy the process ends: it would go on with another's random numbers.
#[unsafe(no_mangle)]
pub extern "C" fn napi_register_module_v1(
    _environment: *mut c_void,
    exports: *mut c_void,
) -> *mut c_void {
    // SAFETY: takes nothing, and may be called at any time from any thread.
    match unsafe { RAND_poll() } {
        1 => exports,
        // SAFETY: takes nothing and does not return.
        _ => unsafe { abort() },
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // Nothing above panics.
    loop {}
}
