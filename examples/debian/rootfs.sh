#!/bin/sh
# Makes debian.tar: the root file system of a small Debian 13 with apt, for `wherry import debian.tar debian:13`.
# For those who cannot or will not `wherry pull debian:13`. Prints the path as its last line.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=examples/rootfs.sh
. examples/rootfs.sh

# No service starts in a container while its package is installed, and dpkg need not sync a layer's files.
# shellcheck disable=SC2016  # the hook is for the shell that mmdebstrap starts
make_rootfs debian examples/debian --variant=minbase \
  --dpkgopt='force-unsafe-io' \
  --customize-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"'
