#!/bin/sh
# Copies the packet-filter tools, the extensions that they load and their libraries to /collected, so that
# the image holds these and nothing else of Debian.
set -eu
extensions=$(find /usr/lib -type d -name xtables)
tools="/usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi /usr/sbin/nft /usr/sbin/conntrack /usr/bin/kmod"
mkdir -p /collected/usr/sbin /collected/usr/bin /collected/usr/lib /collected/tmp /collected/run
# The library folder of a merged /usr is reached as /lib too; the loader's path names it so.
for folder in bin sbin lib lib64; do ln -s usr/$folder /collected/$folder; done
mkdir -p /collected/usr/lib64
cp -a --parents $tools "$extensions" /collected
{ ldd $tools; find "$extensions" -name '*.so' -exec ldd {} +; } \
  | sed -n 's|^.*[[:space:]]\(/lib[^ ]*\) (0x.*|\1|p' | sort -u \
  | while read -r library; do
      mkdir -p "/collected/usr$(dirname "$library")"
      cp -L "$library" "/collected/usr$library"
    done
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  ln -s xtables-nft-multi "/collected/usr/sbin/$name"
  ln -s xtables-nft-multi "/collected/usr/sbin/$(echo $name | sed 's/tables/tables-nft/')"
  ln -s xtables-legacy-multi "/collected/usr/sbin/$(echo $name | sed 's/tables/tables-legacy/')"
done
ln -s ../bin/kmod /collected/usr/sbin/modprobe
