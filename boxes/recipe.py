"""What goes into the box, as data.

Left out on purpose: udev (every device of this VM is known, and it would look at every container's network
card), D-Bus and logind (the power button is acpid's), networkd (it needs udev), an initramfs generator,
firmware, locales, manuals. Under emulation each program that starts costs tens of milliseconds, so the boot
is as short as its list of programs.
"""

from collections.abc import Sequence

SUITE = "trixie"
ARCHITECTURE = "amd64"

#: The cloud kernel: a third of the generic one, with AHCI and virtio. It has no e1000, so the box's network
#: card is virtio, which VirtualBox and QEMU both have, and which is the faster one on both.
KERNEL = "linux-image-cloud-amd64"

PACKAGES: Sequence[str] = (
    "acpid",
    "busybox-static",  # for the initramfs
    "ca-certificates",
    "e2fsprogs",
    "iproute2",
    "kmod",
    "libseccomp2",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-aiohttp",
    "python3-dulwich",
    "python3-isal",
    "python3-zstandard",
    "sudo",
    "systemd-sysv",
)

#: Paths that dpkg does not unpack. The hardware database is for the udev rules of desktops.
EXCLUDES: Sequence[str] = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/bash-completion/*",
    "/usr/share/zsh/*",
    "/usr/share/zoneinfo/*/*",
    "/usr/lib/udev/hwdb.d/*",
    "/usr/lib/udev/hwdb.bin",
    "/usr/lib/systemd/catalog/*",
    "/usr/lib/x86_64-linux-gnu/gconv/*",
    "/usr/lib/x86_64-linux-gnu/perl-base/unicore/lib/*",
)
INCLUDES: Sequence[str] = ("/usr/share/doc/*/copyright", "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules*")

#: Kernel modules that stay, as globs below .../kernel; what they depend on stays too.
MODULES: Sequence[str] = (
    "arch/*/crypto/*",
    "crypto/*",
    "drivers/acpi/button.ko",
    "drivers/ata/ahci.ko",
    "drivers/ata/ata_piix.ko",
    "drivers/block/loop.ko",
    "drivers/block/nbd.ko",
    "drivers/block/virtio_blk.ko",
    "drivers/block/zram/*",
    "drivers/cdrom/*",
    "drivers/char/hw_random/*",
    "drivers/input/evdev.ko",
    "drivers/md/dm-*",
    "drivers/net/bonding/*",
    "drivers/net/dummy.ko",
    "drivers/net/geneve.ko",
    "drivers/net/ifb.ko",
    "drivers/net/ipvlan/*",
    "drivers/net/macvlan.ko",
    "drivers/net/macvtap.ko",
    "drivers/net/tap.ko",
    "drivers/net/tun.ko",
    "drivers/net/veth.ko",
    "drivers/net/virtio_net.ko",
    "drivers/net/vrf.ko",
    "drivers/net/vxlan/*",
    "drivers/net/wireguard/*",
    "drivers/scsi/scsi_mod.ko",
    "drivers/scsi/sd_mod.ko",
    "drivers/scsi/sr_mod.ko",
    "drivers/scsi/virtio_scsi.ko",
    "drivers/virtio/*",
    "fs/autofs/*",
    "fs/binfmt_misc.ko",
    "fs/btrfs/*",
    "fs/erofs/*",
    "fs/fat/*",
    "fs/fuse/*",
    "fs/isofs/*",
    "fs/nfs/*",
    "fs/nls/nls_ascii.ko",
    "fs/nls/nls_cp437.ko",
    "fs/nls/nls_utf8.ko",
    "fs/overlayfs/*",
    "fs/smb/client/*",
    "fs/squashfs/*",
    "lib/*",
    "net/802/*",
    "net/8021q/*",
    "net/bridge/*",
    "net/core/*",
    "net/ipv4/*",
    "net/ipv6/*",
    "net/llc/*",
    "net/netfilter/*",
    "net/packet/*",
    "net/sched/*",
    "net/unix/*",
    "net/xfrm/*",
)

#: Drivers that the initramfs loads, in this order, each after what it depends on. Disks after their
#: controllers: then each insmod returns with the devices probed.
INITRAMFS_MODULES: Sequence[str] = ("virtio_net", "ahci", "virtio_blk", "sd_mod", "button")

#: Units that have no task in this VM, and each cost time at boot.
MASKED: Sequence[str] = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "getty-static.service",
    "getty.target",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "remote-fs.target",
    "run-lock.mount",
    "serial-getty@ttyS0.service",
    "sshd-keygen.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-creds.socket",
    "systemd-firstboot.service",
    "systemd-hibernate-clear.service",
    "systemd-hostnamed.socket",
    "systemd-initctl.socket",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-network-generator.service",
    "systemd-networkd.service",
    "systemd-pcrextend.socket",
    "systemd-pcrlock.socket",
    "systemd-pcrmachine.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-sysext.socket",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup-dev-early.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
    "systemd-update-done.service",
    "systemd-user-sessions.service",
    "tmp.mount",
)

#: Generators that would look for things this VM cannot have; each is a process at every boot.
MASKED_GENERATORS: Sequence[str] = (
    "systemd-bless-boot-generator",
    "systemd-cryptsetup-generator",
    "systemd-debug-generator",
    "systemd-factory-reset-generator",
    "systemd-fstab-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-rc-local-generator",
    "systemd-run-generator",
    "systemd-ssh-generator",
    "systemd-system-update-generator",
    "systemd-sysv-generator",
    "systemd-tpm2-generator",
    "systemd-veritysetup-generator",
)

ENABLED: Sequence[str] = ("acpid.service", "wherry-network.service")

#: quiet: a serial port costs an exit of the VM per character. ttyS0 last: it is /dev/console, so what goes
#: wrong is in the host's serial log. lsm: those that cost nothing until they are used; with bpf among them
#: systemd would load programs for settings that no unit here has, seconds under emulation. no_timer_check:
#: the kernel's test of the timer interrupt fails, and can end in a panic, on a busy host.
KERNEL_COMMAND_LINE = (
    "quiet console=tty0 console=ttyS0,115200 net.ifnames=0 no_timer_check lsm=landlock,yama,apparmor "
    "panic=10 systemd.show_status=error root=UUID={uuid}"
)

#: The disk, in MiB. Sparse: the box holds only what is written. Without a data disk (a bare `vagrant up`
#: of the box alone) images and containers live here.
BOOT_MIB = 40
SYSTEM_MIB = 8192
