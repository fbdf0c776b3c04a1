#!/bin/sh
# A hook of mmdebstrap, run on the host with the root as its argument: adds packages and puts back what was set aside.
set -eu
aside=$1/var/tmp/gild-aside

unset INITRD
# One word for each package.
# shellcheck disable=SC2086
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --yes --no-install-recommends --no-remove \
    -o DPkg::Chroot-Directory="$1" -o DPkg::Options::=--force-confold install $GILD_PACKAGES

for name in sources.list sources.list.d preferences preferences.d; do
    rm -rf "$1/etc/apt/$name"
    [ ! -e "$aside/$name" ] || mv "$aside/$name" "$1/etc/apt/$name"
done
[ ! -e "$aside/update-initramfs.conf" ] ||
    mv -f "$aside/update-initramfs.conf" "$1/etc/initramfs-tools/update-initramfs.conf"
rm -rf "$aside"
rm -f "$1"/etc/apt/apt.conf.d/9?mmdebstrap* "$1"/etc/ssh/ssh_host_*
