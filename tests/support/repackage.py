# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A distribution's kernel, repackaged by the tools that other distributions make their packages with.

rpmbuild and makepkg are Debian's own builds of them. Debian has no abuild; its package is put together by
tar and gzip as apk-tools' manual has it: three streams, the first two without an archive's end.
"""

from __future__ import annotations

from typing import Final

# Run as root in the toolchain image, with the network, /in/kernel.deb and /out. $1: the packages to make.
SCRIPT: Final = r"""
set -e
apt-get update -q > /dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
    rpm makepkg pacman-package-manager fakeroot libarchive-tools systemd-ukify systemd-boot-efi > /dev/null
mkdir /repack && cd /repack
dpkg-deb -x /in/kernel.deb tree
rm -rf tree/usr/share tree/usr/lib/modules/*/build tree/usr/lib/modules/*/source
release=$(cd tree/usr/lib/modules && echo *)

spec() {
    cat <<SPEC
Name: kernel-$1
Version: 6.12
Release: 1
Summary: a kernel
License: GPL-2.0
AutoReqProv: no
$3
%description
A kernel, repackaged.
%define _build_id_links none
%define __os_install_post %{nil}
%define _binary_payload $2
%install
cp -a /repack/rpmtree/$1/. %{buildroot}/
%files
/
SPEC
}
rpm_of() {
    spec "$1" "$2" "$4" > "$1.spec"
    rpmbuild -bb --quiet --target x86_64 --define "_topdir /repack/rpm" --define "_rpmdir /repack/rpms" \
        "$1.spec" 2> log || { cat log >&2; exit 1; }
    mv /repack/rpms/x86_64/kernel-"$1"-*.rpm "/out/$3"
}

# As Fedora splits it, image and configuration below /usr/lib/modules; each with another payload.
modules=usr/lib/modules/$release
for part in core modules-core modules modules-extra; do mkdir -p "rpmtree/$part/$modules"; done
cp tree/boot/vmlinuz-* "rpmtree/core/$modules/vmlinuz"
cp tree/boot/config-* "rpmtree/core/$modules/config"
cp tree/boot/System.map-* "rpmtree/core/$modules/System.map"
cp -a "tree/$modules"/modules.* "rpmtree/modules-core/$modules/"
cp -a "tree/$modules/kernel" "rpmtree/modules-core/$modules/"
mkdir -p "rpmtree/modules/$modules/kernel" "rpmtree/modules-extra/$modules/kernel"
mv "rpmtree/modules-core/$modules/kernel/drivers" "rpmtree/modules/$modules/kernel/"
mv "rpmtree/modules-core/$modules/kernel/sound" "rpmtree/modules-extra/$modules/kernel/" 2> /dev/null || true
mv "rpmtree/modules-core/$modules/kernel/fs" "rpmtree/modules-extra/$modules/kernel/"
rpm_of core w3.zstdio kernel-core.rpm "Requires: kernel-modules-core"
rpm_of modules-core w6.xzdio kernel-modules-core.rpm
rpm_of modules w9.gzdio kernel-modules.rpm
rpm_of modules-extra w3.zstdio kernel-modules-extra.rpm

# As SUSE has it: all in one, image below /usr/lib/modules and a link to it in /boot; with each payload.
mkdir -p rpmtree/default/boot rpmtree/default/usr/lib
cp -a tree/usr/lib/modules rpmtree/default/usr/lib/
cp tree/boot/vmlinuz-* "rpmtree/default/$modules/vmlinuz"
cp tree/boot/config-* "rpmtree/default/$modules/config"
ln -s "../$modules/vmlinuz" "rpmtree/default/boot/vmlinuz-$release"
rpm_of default w3.zstdio kernel-default-zstd.rpm
rpm_of default w6.xzdio kernel-default-xz.rpm
rpm_of default w6.gzdio kernel-default-gz.rpm

# Arch, by makepkg itself, which refuses root.
mkdir arch && cp -a rpmtree/default/usr arch/tree-usr
cat > arch/PKGBUILD <<'BUILD'
pkgname=linux
pkgver=6.12
pkgrel=1
arch=(x86_64)
options=(!strip !debug !zipman)
package() { mkdir -p "$pkgdir"; cp -a "$startdir/tree-usr" "$pkgdir/usr"; }
BUILD
chown -R nobody arch
cd arch
HOME=/tmp PKGEXT=.pkg.tar.zst setpriv --reuid nobody --regid nogroup --clear-groups \
    makepkg --nodeps --noconfirm > log 2>&1 || { cat log >&2; exit 1; }
cd ..
mv arch/linux-6.12-1-x86_64.pkg.tar.zst /out/linux.pkg.tar.zst

# Alpine.
mkdir -p apk/control apk/sign
printf 'pkgname = linux-lts\npkgver = 6.12-r0\narch = x86_64\ndatahash = 0\n' > apk/control/.PKGINFO
echo signature > apk/sign/.SIGN.RSA.test.rsa.pub
cut_tar() { tar -C "$1" --format=ustar -c "$2" -b 1 | head -c 1024 | gzip -9n; }
{
    cut_tar apk/sign .SIGN.RSA.test.rsa.pub
    cut_tar apk/control .PKGINFO
    tar -C tree -c boot usr | gzip -6n
} > /out/linux-lts.apk

# As "make tar-pkg" has it, and what tuxmake leaves.
mkdir -p tar/lib tux && cp -a tree/boot tar/ && cp -a tree/usr/lib/modules tar/lib/
tar -C tar -c --zstd -f /out/linux.tar.zst boot lib
tar -C tar -c -J -f /out/modules.tar.xz lib
cp tree/boot/vmlinuz-* /out/bzImage
cp tree/boot/config-* /out/config

# A unified kernel image, as systemd's own tool makes it.
ukify build --linux /out/bzImage --cmdline quiet --output /out/linux.efi > log 2>&1 ||
    { cat log >&2; exit 1; }

# Debian's with other members.
for packer in gzip zstd none; do
    dpkg-deb -R /in/kernel.deb deb-$packer > /dev/null
    dpkg-deb --root-owner-group -Z$packer -b deb-$packer /out/linux-image-$packer.deb > /dev/null
    rm -r deb-$packer
done

# An initramfs: microcode's early archive, padding, and the modules packed, one archive behind the other.
mkdir -p early/kernel/x86/microcode initramfs/usr/lib/modules
head -c 5000 /dev/urandom > early/kernel/x86/microcode/GenuineIntel.bin
cp -a "tree/$modules" initramfs/usr/lib/modules/
(cd early && find . | cpio --quiet -o -H newc) > /out/initrd.img
head -c 4096 /dev/zero >> /out/initrd.img
(cd initramfs && find . | cpio --quiet -o -H newc | zstd -q -3) >> /out/initrd.img
cp /in/kernel.deb /out/linux-image-xz.deb
chmod -R a+rX /out
"""

if __name__ == "__main__":
    print(SCRIPT)  # noqa: T201
