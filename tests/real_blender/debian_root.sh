#!/bin/bash
# debian_root.sh DIR SUITE: make a Debian root in DIR that holds Blender, Xvfb and Mesa's software drivers.
#
# SUITE is sid (Blender 5.2 in late 2026) or trixie (4.3). Needs root and a Debian or Ubuntu host whose apt knows a
# Debian mirror. A finished root is kept as a tarball in $CACHE (default ~/.cache/lookalike/blender-roots), so that
# the second time takes seconds and the version stays the same although sid moves. Exit 1: no root, the reason on stderr.
set -euo pipefail
dir=$1 suite=$2
cache=${CACHE:-$HOME/.cache/lookalike/blender-roots}
tarball=$cache/$suite.tar.zst
stamp=$dir/.lookalike-root
packages=blender,xvfb,python3-numpy,scrot,xdotool,libgl1-mesa-dri,libegl1,libegl-mesa0,mesa-vulkan-drivers
packages+=,python3-requests,python3-cattr # Blender 5.2's extension system fails to register without cattr

fail() { echo "no Debian $suite root: $*" >&2; exit 1; }

if [ -s "$stamp" ]; then cat "$stamp"; exit 0; fi
[ "$(id -u)" = 0 ] || fail "it needs root (or set LOOKALIKE_BLENDER to a Blender binary)"
command -v zstd >/dev/null || apt-get -qq -y install zstd >/dev/null 2>&1 || fail "zstd is missing and cannot be installed"
mkdir -p "$cache"

if [ -s "$tarball" ]; then
  mkdir -p "$dir" && tar -C "$dir" --zstd -xpf "$tarball" || fail "cannot unpack $tarball"
  cat "$stamp"
  exit 0
fi

command -v apt-get >/dev/null || fail "this is not a Debian or Ubuntu host (or set LOOKALIKE_BLENDER)"
if ! command -v mmdebstrap >/dev/null; then
  apt-get -qq update >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install mmdebstrap debian-archive-keyring >/dev/null 2>&1 ||
    fail "mmdebstrap cannot be installed"
fi
host=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
  awk -v c="$host" '$2 == c && $3 == "main" {print $1; exit}')
[ -n "$mirror" ] || mirror=http://deb.debian.org/debian
rm -rf --one-file-system "$dir"
mkdir -p "$(dirname "$dir")"
mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
  --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
  --aptopt='Acquire::Retries "3"' --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-include=/usr/share/locale/zh_HANS/*' --dpkgopt=force-unsafe-io \
  "$suite" "$dir" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >&2 ||
  fail "mmdebstrap failed; its messages are above"

version=$(chroot "$dir" blender --version 2>/dev/null | sed -n 's/^Blender \([0-9.]*\).*/\1/p' | head -1)
[ -n "$version" ] || fail "the installed Blender does not start"
echo "$suite: Blender $version" >"$stamp"
tar -C "$dir" --one-file-system -cf - . | zstd -q -T0 -3 -f -o "$tarball.part"
mv "$tarball.part" "$tarball"
cat "$stamp"
