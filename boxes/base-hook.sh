#!/bin/sh
# base-hook.sh ROOT: the last step of the base layer, run by mmdebstrap on the fresh system in ROOT.
# Environment: WHERRY_KERNEL (package), WHERRY_MODULES (globs of the modules that stay).
set -eu
root=$1

# The kernel, without its package: that would bring an initramfs generator along. Upgrades replace the disk.
image=$(chroot "$root" apt-cache depends "$WHERRY_KERNEL" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p')
chroot "$root" sh -c "cd /tmp && apt-get download -q -o APT::Sandbox::User=root $image"
mkdir "$root/tmp/kernel"
dpkg-deb -x "$root"/tmp/linux-image-*.deb "$root/tmp/kernel"
version=${image#linux-image-}
modules=usr/lib/modules/$version

# Modules uncompressed: unpacking xz is slow at boot, and the box's own compression takes care of the size.
find "$root/tmp/kernel/$modules" -name '*.ko.xz' -exec xz -d -T 1 {} +
depmod=$(chroot "$root" sh -c 'command -v depmod')
cp -a "$root/tmp/kernel/usr/lib/modules" "$root/usr/lib/"
chroot "$root" "$depmod" "$version"
(
  cd "$root/$modules"
  # Wanted modules, then what those need, from modules.dep ("kernel/a.ko: kernel/b.ko kernel/c.ko").
  set -f
  for glob in $WHERRY_MODULES; do
    found=$(find kernel -name '*.ko' -path "kernel/$glob")
    [ -n "$found" ] || echo "base-hook: this kernel has no module $glob" >&2
    printf '%s\n' "$found"
  done | grep . | sort -u >"$root/tmp/wanted"
  awk 'NR == FNR { want[$1] = 1; next }
    { name = substr($1, 1, length($1) - 1) } name in want { print name; for (i = 2; i <= NF; i++) print $i }
  ' "$root/tmp/wanted" modules.dep | sort -u >"$root/tmp/keep"
  find kernel -name '*.ko' | sort >"$root/tmp/all"
  comm -23 "$root/tmp/all" "$root/tmp/keep" | xargs -r rm
  find kernel -type d -empty -delete
)
chroot "$root" "$depmod" "$version"
rm -rf "${root:?}/boot"
mkdir "$root/boot"
cp "$root/tmp/kernel/boot/vmlinuz-$version" "$root/boot/vmlinuz"

# One user, who logs in with the key from the seed disk; "*" is a password that nothing matches, not a lock.
chroot "$root" groupadd --gid 1000 wherry
chroot "$root" useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash --password '*' wherry

# What apt and dpkg leave behind, keys that must be made on each machine, and logs of the build.
rm -rf "$root"/tmp/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old \
  "$root"/var/log/*.log "$root"/var/log/apt "$root"/etc/ssh/ssh_host_* \
  "$root"/var/lib/dpkg/*-old "$root"/etc/ssh/sshd_config.d
: >"$root/etc/machine-id"
