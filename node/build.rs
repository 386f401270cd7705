//! Compiles the stand-in for the NVML library, which the crate carries inside itself.
//!
//! Cargo cannot hand one crate's `cdylib` to another, and a file beside the program would be missing wherever only the
//! program is copied. The stand-in has no dependencies, so one call of the compiler makes it, in about a second.

use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=nvml-stub/src");
    let var = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let library = PathBuf::from(var("OUT_DIR")).join("libnvidia-ml.so");
    let mut compile = Command::new(var("RUSTC"));
    compile
        .args(["--edition", "2024", "--crate-name", "berth_nvml_stub", "--crate-type", "cdylib"])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols", "--cap-lints", "allow"])
        .args(["--target", &var("TARGET")])
        .arg("-o")
        .arg(&library)
        .arg("nvml-stub/src/lib.rs");
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compile.arg("-C").arg(format!("linker={linker}"));
    }
    let status = compile.status().unwrap_or_else(|error| panic!("the compiler does not run: {error}"));
    assert!(status.success(), "the stand-in for the NVML library does not compile");
    println!("cargo::rustc-env=BERTH_NVML_STUB={}", library.display());
}
