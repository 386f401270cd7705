#!/bin/sh
# For RUSTC_WRAPPER: our crates are built so that libFuzzer sees which edges they take, by the stable compiler, without a sanitizer.
case "$*" in
  *"--crate-name build_script"*|*"--crate-type proc-macro"*) exec "$@" ;;
  *"--crate-name berth_"*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares ;;
esac
exec "$@"
