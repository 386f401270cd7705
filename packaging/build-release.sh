#!/usr/bin/env bash
# Builds what is released: one binary, its Debian package, and checksums, into dist/ or the folder that is named. PROFILE=FILE
# takes a profile that `profile.sh` made instead of making one.
#
# The binary is linked against glibc, not musl: the built-in allocator, the thread-per-core mesh and NVML, which is loaded
# at run time, are all at home there, and a static musl binary cannot load a vendor's driver library. It is built on the
# oldest distribution that is supported (Debian 12, glibc 2.36), so that it runs on that and everything newer; the script
# refuses to call a binary released that wants a newer one.
set -euo pipefail
umask 022
# Where the caller is, not where this lies.
out=$(realpath -m "${1:-$(dirname "$0")/../dist}")
profile=$(realpath -m "${PROFILE:-/nonexistent}")
cd "$(dirname "$0")/.."
GLIBC_MAX=2.36
SIZE_MAX_MB=50
# Asked before ten minutes of building, not after.
for tool in cargo rustc objdump dpkg-deb gzip python3 sha256sum; do
  command -v "$tool" >/dev/null || { echo "build-release.sh needs $tool (Debian: binutils, dpkg, gzip, python3, coreutils)" >&2; exit 1; }
done
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
host=$(rustc -vV | sed -n 's/^host: //p')
tree=$(git describe --always --dirty 2>/dev/null || echo 'no repository')

# What benchmarks measure: optimised across crates by a profile of the mesh under load, without symbols.
if [ ! -s "$profile" ]; then
  [ -z "${PROFILE:-}" ] || { echo "$profile is no profile" >&2; exit 1; }
  # A name of its own each time: cargo does not see that what lies behind a name has changed.
  profile=$(mktemp)
  trap 'rm -f "$profile"' EXIT
  packaging/profile.sh "$profile"
fi
# Relocations are packed as glibc reads them from 2.36 on.
flags="-Cprofile-use=$profile -Clink-arg=-Wl,-z,pack-relative-relocs"
case $host in
  # Functions that are the same are one: what lld does, which links here, and no other linker.
  x86_64-*) flags="$flags -Clink-arg=-Wl,--icf=all" ;;
esac
RUSTFLAGS="$flags" cargo build --profile dist --locked --target "$host" -p berth-cli --bin berth
built="$target/$host/dist/berth"

# Nothing is in the folder until all of it holds.
bytes=$(stat -c %s "$built")
size_mb=$(((bytes + 999999) / 1000000))
[ "$bytes" -lt $((SIZE_MAX_MB * 1000000)) ] || { echo "the binary has $size_mb MB, more than $SIZE_MAX_MB" >&2; exit 1; }
wants=$(objdump -T "$built" | sed -n 's/.*GLIBC_\([0-9][0-9.]*\).*/\1/p' | sort -Vu | tail -1)
[ -n "$wants" ] || { echo "the binary names no glibc: it is not linked as it should be" >&2; exit 1; }
newest=$(printf '%s\n%s\n' "$wants" "$GLIBC_MAX" | sort -V | tail -1)
[ "$newest" = "$GLIBC_MAX" ] || { echo "the binary wants glibc $wants, more than $GLIBC_MAX" >&2; exit 1; }
needed=$(objdump -p "$built" | awk '/NEEDED/ {print $2}' | sort | tr '\n' ' ')
for library in $needed; do
  case $library in
    libc.so.6 | libm.so.6 | libgcc_s.so.1 | libdl.so.2 | libpthread.so.0 | librt.so.1 | ld-linux-*) ;;
    *) echo "the binary needs $library, which not every host has" >&2; exit 1 ;;
  esac
done

mkdir -p "$out"
# Of an earlier release, whose sums would stand beside these.
rm -f "$out"/berth "$out"/berth_*.deb "$out"/SHA256SUMS
install -m755 "$built" "$out/berth"
packaging/build-deb.sh "$out/berth" "$out"
(cd "$out" && sha256sum berth ./*.deb > SHA256SUMS)
echo "berth of $tree: $size_mb MB, glibc $wants, needs $needed"
ls -l "$out"
