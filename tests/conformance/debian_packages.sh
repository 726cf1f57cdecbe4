#!/bin/sh
# debian_packages.sh PACKAGE...: a folder with these packages of Debian 13, all they need beyond
# examples/debian, and the index by which apt finds them. Served on loopback it is a mirror, so that builds in
# tests install real packages without a network. Cached like the root file system; prints the folder.
set -eu
cd "$(dirname "$0")/../.."
base=$(sh examples/debian/rootfs.sh)
wanted=$(printf '%s\n' "$@" "$base" | cat - "$0" | sha256sum | cut -c1-32)
target=$(dirname "$(dirname "$base")")/packages-$wanted
if [ -e "$target" ]; then
  echo "$target"
  exit
fi

work=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
tar -xf "$base" -C "$work/root" --exclude='./dev/*'
cp /etc/resolv.conf "$work/root/etc/resolv.conf"
chroot "$work/root" sh -eu -c '
  apt-get -q update
  apt-get -q install --download-only -y "$@"' - "$@" >&2
mkdir "$work/pool"
mv "$work/root/var/cache/apt/archives/"*.deb "$work/pool"
cd "$work/pool"
for file in *.deb; do
  dpkg-deb -f "$file"
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
done >Packages
chmod -R a+rX .
mv "$work/pool" "$target"
echo "$target"
