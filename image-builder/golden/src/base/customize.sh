#!/bin/sh
# The last step of mmdebstrap, run on the host with the new root as its argument: what is left to do once all packages
# are installed. Programs of the root run in it (chroot), nothing is started.
set -eu
root=$1

# Nothing of this machine stays.
rm -f "$root/etc/hostname" "$root/etc/.resolv.conf.systemd-resolved.bak"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
rm -f "$root"/etc/ssh/ssh_host_*

# What was laid in still has the owner that it has on this machine.
chown -R 0:0 "$root/etc/initramfs-tools" "$root/var/cache/apt/archives"

# A name by which disks on the network know this host, made when the package was installed.
rm -f "$root/etc/nvme/hostnqn" "$root/etc/nvme/hostid"

# The initramfs gets a copy of it: every node would be the same iSCSI initiator, and no two builds the same.
[ ! -e "$root/etc/iscsi/initiatorname.iscsi" ] || echo GenerateName=yes >"$root/etc/iscsi/initiatorname.iscsi"

rm -f "$root"/etc/apt/apt.conf.d/9?mmdebstrap* "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"

# The boot partition holds the kernel: /boot would hold it a second time, and these links point to it.
rm -f "$root"/boot/vmlinuz-* "$root"/boot/System.map-* "$root"/boot/initrd.img* "$root"/vmlinuz* "$root"/initrd.img*

for directory in "$root"/usr/lib/modules/*; do
    [ -e "$directory/vmlinuz" ] || continue
    # The only run: each takes minutes where programs of another processor are emulated.
    chroot "$root" update-initramfs -c -k "${directory##*/}"
done

# A new kernel comes with a new image: the boot partition would not get it from a package.
# dpkg-query fills in the name; apt-mark gets one word for each package.
# shellcheck disable=SC2016
packages=$(chroot "$root" dpkg-query --show --showformat '${Package}\n' |
    grep -E '^linux-(image|base|binary|modules)-' || true)
# shellcheck disable=SC2086
[ -z "$packages" ] || chroot "$root" apt-mark hold $packages
