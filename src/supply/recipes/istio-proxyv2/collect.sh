#!/bin/sh
# Copies Envoy, Istio's agent, the packet-filter tools and the libraries of all of them to /collected.
set -eu
extensions=$(find /usr/lib -type d -name xtables)
programs="/usr/local/bin/envoy /usr/local/bin/pilot-agent /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi /usr/bin/ip"
mkdir -p /collected/usr/lib /collected/usr/lib64 /collected/usr/bin /collected/usr/sbin
mkdir -p /collected/tmp /collected/run /collected/etc/istio/proxy /collected/var/lib/istio/data /collected/etc/ssl/certs
for folder in bin sbin lib lib64; do ln -s usr/$folder /collected/$folder; done
[ -e /usr/bin/ip ] || ln -s /usr/sbin/ip /usr/bin/ip
cp -a --parents $programs "$extensions" /collected
{ ldd $programs 2>/dev/null || true; find "$extensions" -name '*.so' -exec ldd {} +; } \
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
cp /etc/ssl/certs/ca-certificates.crt /collected/etc/ssl/certs/
cp /etc/nsswitch.conf /collected/etc/
printf 'root:x:0:0::/:/usr/sbin/nologin\nistio-proxy:x:1337:1337::/:/usr/sbin/nologin\n' > /collected/etc/passwd
printf 'root:x:0:\nistio-proxy:x:1337:\n' > /collected/etc/group
chown -R 1337:1337 /collected/etc/istio /collected/var/lib/istio
chmod 1777 /collected/tmp
