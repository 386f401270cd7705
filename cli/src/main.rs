//! The `berth` binary.

/// What the mesh allocates per request is short-lived and partly aligned to cache lines, where the system's allocator is
/// slowest (docs/decisions/100).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    berth_cli::main()
}
