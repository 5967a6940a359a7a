//! The binary: the allocator and its options, then the CLI.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's number of the option `purge_delay`: how long freed pages are kept before they are returned to
/// the kernel. With mimalloc's default of one second, RSS after a burst is measurably higher.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
const PURGE_DELAY_MS: std::ffi::c_long = 100;

fn main() -> ExitCode {
    set_purge_delay();
    postrider::cli::main()
}

/// Sets the default; the environment variable `MIMALLOC_PURGE_DELAY` overrides it.
#[expect(unsafe_code, reason = "mimalloc has no safe API and no build option for it")]
fn set_purge_delay() {
    // SAFETY: sets an entry of mimalloc's option table and ignores unknown options; no other thread runs
    // yet.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::PURGE_DELAY;

    /// The environment variable of the same option.
    const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";

    /// Runs itself in a child process that has the variable set.
    #[test]
    #[expect(unsafe_code, reason = "mimalloc has no safe API for its options")]
    fn the_number_of_the_purge_delay_is_that_of_its_name() {
        let Ok(given) = std::env::var(VARIABLE) else {
            let test = "tests::the_number_of_the_purge_delay_is_that_of_its_name";
            let this = std::env::current_exe().expect("this program");
            let child = Command::new(this).args(["--exact", test]).env(VARIABLE, "4321").status();
            assert!(child.expect("it starts").success());
            return;
        };
        // SAFETY: reads an entry of mimalloc's option table.
        let delay = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay.to_string(), given);
    }
}
