//! The binary of the process tests: `berth` itself, the small model servers it deploys, and callers.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("echo-model") => berth_chaos_tests::echo::main(),
        Some("broken-model") => berth_chaos_tests::broken::main(),
        Some(berth_chaos_tests::overload::CALLERS) => berth_chaos_tests::overload::callers_main(),
        _ => berth_cli::main(),
    }
}
