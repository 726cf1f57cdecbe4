#!/bin/sh
# hook.sh ROOT FILES: the last step of rootfs.sh, run by mmdebstrap on the fresh system in ROOT.
# Makes the empty database now, so that the first start of a container only adds accounts.
set -eu
root=$1
files=$2

# No useradd in here: that is in a package of its own. The number is that of Docker's usual images.
echo 'mysql:x:999:999::/nonexistent:/usr/sbin/nologin' >>"$root/etc/passwd"
echo 'mysql:x:999:' >>"$root/etc/group"
install -m 755 "$files/mariadb-entrypoint" "$root/usr/local/bin/mariadb-entrypoint"
mkdir -p "$root/etc/mysql/mariadb.conf.d"
install -m 644 "$files/container.cnf" "$root/etc/mysql/mariadb.conf.d/zz-container.cnf"
if [ ! -e "$root/etc/mysql/my.cnf" ]; then
  printf '!includedir /etc/mysql/mariadb.conf.d/\n' >"$root/etc/mysql/my.cnf"
fi
chroot "$root" mkdir -p /var/lib/mysql /run/mysqld
chroot "$root" chown mysql:mysql /var/lib/mysql /run/mysqld
chroot "$root" mariadb-install-db --user=mysql --datadir=/var/lib/mysql \
  --auth-root-authentication-method=socket --skip-test-db --force >/dev/null
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/* "$root"/var/log/*.log "$root"/var/log/apt "$root"/tmp/* \
  "$root"/var/lib/dpkg/*-old
