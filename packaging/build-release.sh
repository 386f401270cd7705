#!/usr/bin/env bash
# Builds what is released: one binary, its Debian package, and checksums, into dist/.
#
# The binary is linked against glibc, not musl: the built-in allocator, the thread-per-core mesh and NVML, which is loaded
# at run time, are all at home there, and a static musl binary cannot load a vendor's driver library. It is built on the
# oldest distribution that is supported (Debian 12, glibc 2.36), so that it runs on that and everything newer; the script
# refuses to call a binary released that wants a newer one.
set -euo pipefail
cd "$(dirname "$0")/.."
GLIBC_MAX=2.36
SIZE_MAX_MB=50
out=${1:-dist}
target=${CARGO_TARGET_DIR:-target}
host=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "$out"

# What benchmarks measure: optimised across crates by a profile of the mesh under load, without symbols.
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT
packaging/profile.sh "$profile"
# Functions that are the same are one (what lld does, which links on x86_64), and relocations are packed as glibc reads them from 2.36 on.
RUSTFLAGS="-Cprofile-use=$profile -Clink-arg=-Wl,--icf=all,-z,pack-relative-relocs" \
  cargo build --profile dist --locked --target "$host" -p berth-cli --bin berth
cp "$target/$host/dist/berth" "$out/berth"

size_mb=$(($(stat -c %s "$out/berth") / 1000000))
[ "$size_mb" -lt "$SIZE_MAX_MB" ] || { echo "the binary has $size_mb MB, more than $SIZE_MAX_MB" >&2; exit 1; }
wants=$(objdump -T "$out/berth" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -1)
newest=$(printf '%s\n%s\n' "$wants" "$GLIBC_MAX" | sort -V | tail -1)
[ "$newest" = "$GLIBC_MAX" ] || { echo "the binary wants glibc $wants, more than $GLIBC_MAX" >&2; exit 1; }
needed=$(objdump -p "$out/berth" | awk '/NEEDED/ {print $2}' | sort | tr '\n' ' ')
for library in $needed; do
  case $library in
    libc.so.6 | libm.so.6 | libgcc_s.so.1 | libdl.so.2 | libpthread.so.0 | librt.so.1 | ld-linux-*) ;;
    *) echo "the binary needs $library, which not every host has" >&2; exit 1 ;;
  esac
done

packaging/build-deb.sh "$out/berth" "$out"
(cd "$out" && sha256sum berth ./*.deb > SHA256SUMS)
echo "berth: $size_mb MB, glibc $wants, needs $needed"
ls -l "$out"
