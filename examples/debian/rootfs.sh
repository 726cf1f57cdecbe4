#!/bin/sh
# Makes debian.tar: the root file system of a small Debian 13 with apt, for `wherry import debian.tar debian:13`.
# For those who cannot or will not `wherry pull debian:13`. Its apt uses the mirror that this host's apt uses.
# Cached by a hash of what it is made from; prints the path as its last line.
set -eu
cd "$(dirname "$0")/../.."

default=${XDG_CACHE_HOME:-$HOME/.cache}/wherry
cache=${WHERRY_CACHE:-${WHERRY_HOME:+$WHERRY_HOME/cache}}
folder=${cache:-$default}/images
inputs=$(sha256sum <examples/debian/rootfs.sh | cut -c1-32)
target=$folder/$inputs/debian.tar

if [ ! -e "$target" ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "rootfs: run it as root" >&2
    exit 1
  fi
  mkdir -p "$folder/$inputs"
  unfinished=$folder/$inputs/unfinished-$$.tar
  trap 'rm -f "$unfinished"' EXIT
  echo "rootfs: installing Debian by mmdebstrap (about a minute, once)" >&2
  python3 -m boxes.mirror trixie >"$folder/$inputs/sources.list"
  # shellcheck disable=SC2016  # the hooks are for the shell that mmdebstrap starts
  # No service starts in a container while its package is installed, and dpkg need not sync a layer's files.
  mmdebstrap --quiet --mode=root --variant=minbase --architectures=amd64 \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='force-unsafe-io' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --customize-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"' \
    trixie "$unfinished" "$folder/$inputs/sources.list" >&2
  mv "$unfinished" "$target"
fi
echo "$target"
