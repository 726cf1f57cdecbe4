#!/bin/sh
# Makes mariadb.tar: the root file system of Debian 13 with the MariaDB server, for `wherry import`.
# Prints the path as its last line.
#
# mariadb-server-core and not mariadb-server: the same server, without the Perl, the init scripts and the
# cluster that a container does not use; half the size.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=examples/rootfs.sh
. examples/rootfs.sh

files=$PWD/examples/mariadb
make_rootfs mariadb examples/mariadb --variant=essential \
  --include=mariadb-server-core,mariadb-client-core \
  --dpkgopt='path-exclude=/usr/share/zoneinfo/*' \
  --dpkgopt='path-exclude=/usr/lib/x86_64-linux-gnu/gconv/*' \
  --dpkgopt='path-include=/usr/lib/x86_64-linux-gnu/gconv/gconv-modules*' \
  --customize-hook="$files/hook.sh \"\$1\" $files"
