#!/bin/sh
# A hook of mmdebstrap, run on the host with the root as its argument, before its apt looks at the root: packages that
# are added come from this machine's mirrors, not from those of the base.
set -eu
aside=$1/var/tmp/gild-aside
mkdir -p "$aside" "$1/etc/apt/sources.list.d" "$1/var/cache/apt/archives"
for name in sources.list sources.list.d preferences preferences.d; do
    [ ! -e "$1/etc/apt/$name" ] || mv "$1/etc/apt/$name" "$aside/$name"
done
mkdir -p "$1/etc/apt/sources.list.d" "$1/etc/apt/preferences.d"
printf '%s' "$GILD_SOURCES" >"$1/etc/apt/sources.list"

configuration=$1/etc/initramfs-tools/update-initramfs.conf
if [ -n "$GILD_KEEP_INITRAMFS" ] && [ -e "$configuration" ]; then
    mv "$configuration" "$aside/update-initramfs.conf"
    echo update_initramfs=no >"$configuration"
fi
