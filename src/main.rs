//! Postrider's program: parse, run, exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's number of the option: how long free memory is kept before the system has it back. That is a
/// second unless it is said, and what a burst left behind is then taken twice by the next.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
const PURGE_DELAY_MS: std::ffi::c_long = 100;

fn main() -> ExitCode {
    give_memory_back_soon();
    postrider::cli::main()
}

/// The environment's `MIMALLOC_PURGE_DELAY` goes before.
#[expect(unsafe_code, reason = "mimalloc takes its options in no other way")]
fn give_memory_back_soon() {
    // SAFETY: it sets a number in mimalloc's own table, and ignores one that it does not have; there is
    // one thread yet.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
}
