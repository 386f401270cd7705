# Habits around the code. Everything here is a plain cargo call; `just` only saves typing.

# Reads only: what CI checks.
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets --features berth-cli/mesh-hop -- -D warnings
    cargo test --workspace

# Writes: formats and applies what clippy can mend.
fix:
    cargo fmt
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# Licences, bans and advisories; needs cargo-deny.
deny:
    cargo deny check

# The measurements, each beside its peer in one interleaved run. Raw output goes to docs/benchmarks/.
bench:
    ./docs/benchmarks/run.sh

# Three coordinators, three nodes, two deployments, a split, a mirror and a kill.
demo:
    cargo run --release -- demo

# A cluster in one process.
dev:
    cargo run --release -- dev

# More seeds than CI runs.
seeds count="10000":
    cargo run --profile sim -- sim swarm --seeds {{count}}
