# shellcheck shell=sh
# For the rootfs.sh of an example, which sources it from the repository's folder: a root file system of Debian 13
# by mmdebstrap, from the mirror that this host's apt uses.

# make_rootfs NAME FOLDER OPTION...: prints the path of NAME.tar, made with these options of mmdebstrap.
# Cached by a hash of this file and of what is in the example's folder.
make_rootfs() {
  name=$1 example=$2
  shift 2
  cache=${WHERRY_CACHE:-${WHERRY_HOME:+$WHERRY_HOME/cache}}
  folder=${cache:-${XDG_CACHE_HOME:-$HOME/.cache}/wherry}/images/$(
    cat examples/rootfs.sh "$example"/* | sha256sum | cut -c1-32
  )
  target=$folder/$name.tar
  if [ ! -e "$target" ]; then
    if [ "$(id -u)" -ne 0 ]; then
      echo "rootfs: run it as root" >&2
      exit 1
    fi
    mkdir -p "$folder"
    unfinished=$folder/unfinished-$$.tar
    trap 'rm -f "$unfinished"' EXIT
    echo "rootfs: making $name.tar by mmdebstrap (about a minute, once)" >&2
    python3 -m boxes.mirror trixie >"$folder/sources.list"
    mmdebstrap --quiet --mode=root --architectures=amd64 \
      --aptopt='Acquire::Languages "none"' \
      --aptopt='Apt::Install-Recommends "false"' \
      --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' \
      --dpkgopt='path-include=/usr/share/doc/*/copyright' \
      --dpkgopt='path-exclude=/usr/share/locale/*' \
      --dpkgopt='path-exclude=/usr/share/info/*' \
      "$@" trixie "$unfinished" "$folder/sources.list" >&2
    mv "$unfinished" "$target"
  fi
  echo "$target"
}
