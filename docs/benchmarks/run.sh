#!/usr/bin/env bash
# Every measurement of the README, each beside its peer or floor in one interleaved run. Raw output is kept beside this
# file. Needs h2load (Debian: nghttp2-client); mesh.md names the proxies, of which it takes those that are installed. Takes about
# two hours, an hour of it for events and minutes under load.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=docs/benchmarks
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')

cargo build --release -p berth-core --example apply_plan_rates --example million_replicas
cargo build --release -p berth-sim --example packing
# With every invariant after every step.
cargo build --profile sim -p berth-sim --example blackout
cargo build --release -p berth-coordinator --example durable_writes --example table_propagation
# As what is shipped is built.
host=$(rustc -vV | sed -n 's/^host: //p')
packaging/profile.sh "$target/mesh.profdata"
RUSTFLAGS="-Cprofile-use=$target/mesh.profdata -Clink-arg=-Wl,--icf=all,-z,pack-relative-relocs" \
  cargo build --profile dist --target "$host" -p berth-cli --features mesh-hop --bin mesh_hop
# A peer of the mesh, apart from the workspace. It compiles zlib-ng, with cmake.
pingora=()
if command -v cmake >/dev/null; then
  cargo build --release --locked --manifest-path "$out/pingora/Cargo.toml" --target-dir "$target/pingora"
  pingora=(--pingora "$target/pingora/release/berth-bench-pingora")
fi

cargo build --release -p berth-chaos-tests --bins --examples

{ uname -srm; nproc; date -u +%F; } | tee "$out/machine.txt"
"$target/release/examples/apply_plan_rates" | tee "$out/apply_plan_rates.txt"
"$target/release/examples/million_replicas" | tee "$out/million_replicas.txt"
# The trace is not part of the repository.
if [[ -n ${BERTH_TRACE:-} ]]; then
  "$target/release/examples/packing" "$BERTH_TRACE/openb_node_list_gpu_node.csv" \
    "$BERTH_TRACE/openb_pod_list_default.csv" | tee "$out/packing.txt"
  # A third of the pods there insist on models.
  if [[ -e $BERTH_TRACE/openb_pod_list_gpuspec33.csv ]]; then
    "$target/release/examples/packing" "$BERTH_TRACE/openb_node_list_gpu_node.csv" \
      "$BERTH_TRACE/openb_pod_list_gpuspec33.csv" | tee "$out/packing_gpuspec33.txt"
  fi
fi
# Members, clients, seconds a round.
for shape in '1 8 5' '1 1 3' '3 1 3' '3 8 3'; do
  # The words are separate arguments.
  # shellcheck disable=SC2086
  "$target/release/examples/durable_writes" $shape
done | tee "$out/durable_writes.txt"
# Routers, members, endpoints, rounds.
for shape in '100 1 100 50' '100 3 100 50'; do
  # The words are separate arguments.
  # shellcheck disable=SC2086
  "$target/release/examples/table_propagation" $shape
done | tee "$out/table_propagation.txt"
"$out/mesh.py" "$target/$host/dist/mesh_hop" "${pingora[@]}" --out "$out/mesh.txt"
if command -v valgrind >/dev/null; then
  "$out/instructions.py" "$target/$host/dist/mesh_hop" --out "$out/instructions.txt"
fi
# Every invariant after every step.
BERTH_SIM_SEEDS=1000 cargo test --profile sim -p berth-sim --test it seeds::every -- --nocapture 2>&1 |
  grep -E 'seeds,|finished' | tee "$out/simulator.txt"
# A thousand hosts of which three in ten lose power, on the virtual clock; some minutes of computing per seed.
"$target/sim/examples/blackout" | tee "$out/blackout.txt"
# Real processes: three coordinators, four nodes. The cut cable needs root and ip (Debian: iproute2).
"$target/release/examples/recovery_times" --trials 10 | tee "$out/recovery_times.txt"
"$target/release/examples/rolling_update" --instances 100 --start-ms 3000 | tee "$out/rolling_update.txt"
# The command line and the screen; ten thousand replicas need grpcio.
cargo build --release -p berth-cli
python3 "$out/surface.py" "$target/release/berth" --out "$out/surface.txt"
# One no-op model beside other servers of models, which come from PyPI: a few hundred megabytes.
"$out/serve.py" "$target/release/berth" --work "$target/serve" --out "$out/serve.txt"
# What a newcomer types, as the README has it; with BERTH_TEST_WHEELS the second model as well.
"$out/first_minutes.py" "$target/release/berth" --out docs/verified/first-minutes.txt
# What follows takes what else the machine does into its latencies: each says so at its head.
under_load() {
  { echo "release build, $(nproc) cores, load average at the begin $(cut -d' ' -f1-3 /proc/loadavg)"; "$@"; } || true
}
# Nine events under load, every request counted: a hundred thousand each, at 500 a second. About forty minutes.
under_load "$target/release/examples/zero_loss" --strict | tee "$out/zero_loss.txt"
under_load "$target/release/examples/overload" | tee "$out/overload.txt"
under_load "$target/release/examples/open_streams" | tee "$out/open_streams.txt"
# Beside haproxy and nginx, where they are installed: balance.md has their configurations.
under_load "$target/release/examples/balance" --peers --rounds 3 | tee "$out/balance.txt"
# Thirteen kinds of attack, and what others are told and how fast meanwhile. About ten minutes.
under_load "$target/release/examples/abuse" | tee "$out/abuse.txt"
# From a caller's leaving to the replica's hearing of it.
under_load "$target/release/examples/leaving" | tee "$out/leaving.txt"
# The README's table of events is made of what was kept.
BERTH_UPDATE_DOCS=1 cargo test --locked -p berth-chaos-tests --test it readme
