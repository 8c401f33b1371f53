//! The kernel as a program without an operating system; see the library.

#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

use kraft_runtime as _;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    kraft_runtime::panic(info)
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "This is a kernel: build it for x86_64-unknown-none or aarch64-unknown-none-softfloat."
    );
}
