#!/bin/sh
# Makes mariadb.tar: the root file system of Debian 13 with the MariaDB server, for `wherry import`.
# Cached by a hash of what it is made from; prints the path as its last line.
#
# mariadb-server-core and not mariadb-server: the same server, without the Perl, the init scripts and the
# cluster that a container does not use; half the size.
set -eu
cd "$(dirname "$0")/../.."
files=$PWD/examples/mariadb

default=${XDG_CACHE_HOME:-$HOME/.cache}/wherry
cache=${WHERRY_CACHE:-${WHERRY_HOME:+$WHERRY_HOME/cache}}
folder=${cache:-$default}/images
inputs=$(cat "$files"/* | sha256sum | cut -c1-32)
target=$folder/$inputs/mariadb.tar

if [ ! -e "$target" ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "rootfs: run it as root" >&2
    exit 1
  fi
  mkdir -p "$folder/$inputs"
  unfinished=$folder/$inputs/unfinished-$$.tar
  trap 'rm -f "$unfinished"' EXIT
  echo "rootfs: installing Debian and MariaDB by mmdebstrap (about a minute, once)" >&2
  python3 -m boxes.mirror trixie >"$folder/$inputs/sources.list"
  mmdebstrap --quiet --mode=root --variant=essential --architectures=amd64 \
    --include=mariadb-server-core,mariadb-client-core \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/zoneinfo/*' \
    --dpkgopt='path-exclude=/usr/lib/x86_64-linux-gnu/gconv/*' \
    --dpkgopt='path-include=/usr/lib/x86_64-linux-gnu/gconv/gconv-modules*' \
    --customize-hook="$files/hook.sh \"\$1\" $files" \
    trixie "$unfinished" "$folder/$inputs/sources.list" >&2
  mv "$unfinished" "$target"
fi
echo "$target"
