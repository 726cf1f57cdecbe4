#!/bin/sh
# Everything Wherry needs on a Debian host, and nothing that is there already.
# Usage: scripts/setup.sh [dev|bench]   (bench adds the rivals that the benchmarks compare with)
set -eu
cd "$(dirname "$0")/.."
what=${1:-dev}

# The VM stack, the box builder, the engine's programs, the demo's client; last line: for the tests.
packages="ca-certificates python3 python3-venv vagrant qemu-system-x86 qemu-utils mmdebstrap debian-archive-keyring
  e2fsprogs fdisk libseccomp2 mtools syslinux xz-utils openssh-client iproute2 nftables kmod procps mariadb-client
  busybox-static shellcheck git btrfs-progs"
missing=
for package in $packages; do
  case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
    installed) ;;
    *) missing="$missing $package" ;;
  esac
done
if [ -n "$missing" ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "setup: run as root, or install these first:$missing" >&2
    exit 1
  fi
  apt-get update -q
  # shellcheck disable=SC2086  # a list of words on purpose
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
fi

# Docker's own command drives the engine in the tests, and its daemon is a rival in the benchmarks. Installing
# the package must not start that daemon on the user's machine.
without_starting() {
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}
if [ "$what" = dev ] && ! command -v docker >/dev/null; then without_starting docker.io; fi
# An sshd that the tunnel's tests start themselves, on loopback, as a stand-in for the guest's.
if [ "$what" = dev ] && [ ! -x /usr/sbin/sshd ]; then without_starting openssh-server; fi
# A real registry for tests and benchmarks, which start it themselves; a second opinion on what we push to it.
if ! command -v docker-registry >/dev/null; then without_starting docker-registry; fi
if [ "$what" = dev ] && ! command -v skopeo >/dev/null; then without_starting skopeo; fi
# Engines that the tests run on our runtime, and runtimes that they run below our engine.
# Clients and builders that the tests set beside ours.
for program in dockerd:docker.io podman:podman conmon:conmon crun:crun runc:runc docker-compose:docker-compose \
  buildah:buildah; do
  if [ "$what" = dev ] && ! command -v "${program%%:*}" >/dev/null; then without_starting "${program##*:}"; fi
done
for program in dockerd:docker.io buildah:buildah iperf3:iperf3 skopeo:skopeo; do
  if [ "$what" = bench ] && ! command -v "${program%%:*}" >/dev/null; then without_starting "${program##*:}"; fi
done
if [ "$what" = bench ] && ! command -v podman >/dev/null; then
  without_starting podman crun runc netavark aardvark-dns iptables
fi

# One virtual environment; made again only when pyproject.toml changes.
stamp=.venv/.stamp
want=$(sha256sum pyproject.toml wire/wherrywire/version.py | sha256sum | cut -d' ' -f1)
if [ ! -x .venv/bin/python ] || [ "$(cat "$stamp" 2>/dev/null || true)" != "$want" ]; then
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "setup: Python 3.11 or newer is needed, this is $(python3 --version)" >&2; exit 1; }
  rm -rf .venv
  python3 -m venv .venv
  .venv/bin/pip install -qq --disable-pip-version-check -e '.[guest,dev]'
  echo "$want" >"$stamp"
fi
