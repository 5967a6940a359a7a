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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::PURGE_DELAY;

    /// What mimalloc reads the same option from.
    const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";

    /// In a process of its own, which is given the option by its name.
    #[test]
    #[expect(unsafe_code, reason = "mimalloc tells its options in no other way")]
    fn the_number_of_the_purge_delay_is_that_of_its_name() {
        let Ok(given) = std::env::var(VARIABLE) else {
            let test = "tests::the_number_of_the_purge_delay_is_that_of_its_name";
            let this = std::env::current_exe().expect("this program");
            let child = Command::new(this).args(["--exact", test]).env(VARIABLE, "4321").status();
            assert!(child.expect("it starts").success());
            return;
        };
        // SAFETY: it reads a number from mimalloc's own table.
        let delay = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay.to_string(), given);
    }
}
