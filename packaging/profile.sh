#!/usr/bin/env bash
# Makes the profile that what is shipped is built by: what the mesh does under load, and how often. `profile.sh FILE` takes
# h2load (Debian: nghttp2-client), and the toolchain's llvm-tools, which rustup fetches.
set -euo pipefail
out=$(realpath "$1")
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
command -v h2load >/dev/null || { echo "profile.sh needs h2load (Debian: nghttp2-client)" >&2; exit 1; }
rustup component add llvm-tools
counts=$(mktemp -d)
trap 'rm -rf "$counts"' EXIT

# With a target named, what runs while building counts nothing.
RUSTFLAGS="-Cprofile-generate=$counts" \
  cargo build --profile dist --locked --target "$host" -p berth-cli --features mesh-hop --bin mesh_hop
docs/benchmarks/mesh.py "$target/$host/dist/mesh_hop" --train
"$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" merge -o "$out" "$counts"/*.profraw
