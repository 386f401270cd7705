#!/usr/bin/env bash
# build-deb.sh BINARY OUT: packs the binary with its units, manual pages, completions and examples.
set -euo pipefail
# What is packed is for everybody to read, whoever packs it.
umask 022
binary=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/.."
version=$("$binary" --version | awk '{print $2}')
arch=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

install -Dm755 "$binary" "$root/usr/bin/berth"
for unit in coordinator node; do
  install -Dm644 "examples/systemd/berth-$unit.service" "$root/lib/systemd/system/berth-$unit.service"
  sed -i 's|/usr/local/bin/berth|/usr/bin/berth|' "$root/lib/systemd/system/berth-$unit.service"
done
install -Dm644 docs/config.example.toml "$root/usr/share/doc/berth/config.example.toml"
install -Dm644 LICENSE "$root/usr/share/doc/berth/copyright"
cp -r examples/telemetry "$root/usr/share/doc/berth/telemetry"
"$binary" man "$root/usr/share/man/man1" --quiet
gzip -9n "$root"/usr/share/man/man1/*.1
mkdir -p "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" \
  "$root/usr/share/fish/vendor_completions.d"
"$binary" completion bash > "$root/usr/share/bash-completion/completions/berth"
"$binary" completion zsh > "$root/usr/share/zsh/vendor-completions/_berth"
"$binary" completion fish > "$root/usr/share/fish/vendor_completions.d/berth.fish"

mkdir -p "$root/DEBIAN" "$root/etc/berth"
cat > "$root/DEBIAN/control" <<CONTROL
Package: berth
Version: $version
Architecture: $arch
Maintainer: The Berth authors <berth@localhost>
Section: net
Priority: optional
Depends: libc6 (>= 2.36), adduser
Recommends: python3-venv
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Description: inference endpoints on plain Linux hosts
 Serves machine-learning models on a fleet without a container orchestrator: stable
 endpoints with several deployments each, traffic split and mirroring, node recovery.
CONTROL
cat > "$root/DEBIAN/postinst" <<'POSTINST'
#!/bin/sh
# Which of the two units runs on a host is its operator's choice: none is started here.
set -e
if [ "$1" = configure ]; then
  getent passwd berth > /dev/null || adduser --system --group --home /var/lib/berth --no-create-home berth
  install -d -m 0750 -o root -g berth /etc/berth
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
fi
POSTINST
cat > "$root/DEBIAN/prerm" <<'PRERM'
#!/bin/sh
# An upgrade leaves what runs running: `berth node upgrade` walks a fleet, draining each node first.
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl stop berth-node.service berth-coordinator.service || true
fi
PRERM
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm"
dpkg-deb --root-owner-group --build "$root" "$out/berth_${version}_${arch}.deb" > /dev/null
echo "$out/berth_${version}_${arch}.deb"
