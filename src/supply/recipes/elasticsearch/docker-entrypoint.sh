#!/bin/sh
# Honours the official image's environment: ES_JAVA_OPTS, and every variable with a dot in its name is a setting
# (discovery.type=single-node). The shell itself drops such variables, so they are read from the kernel.
set -eu
home=/usr/share/elasticsearch
settings=$(tr '\0' '\n' < /proc/$$/environ | grep -E '^[a-z0-9_]+(\.[a-z0-9_]+)+=' || true)
while IFS= read -r setting; do
  [ -z "$setting" ] || set -- "$@" "-E$setting"
done <<END
$settings
END
# This image runs on laptops, where a small footprint and a quick start count for more than peak throughput.
: "${ES_JAVA_OPTS:=-Xms384m -Xmx384m}"
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}" LIBFFI_TMPDIR=/tmp
cd "$home"
# shellcheck disable=SC2086  # ES_JAVA_OPTS is a list of words, as in the official image
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k $ES_JAVA_OPTS \
  ${CLASS_ARCHIVE:--XX:SharedArchiveFile=$home/elasticsearch.jsa -Xlog:cds=off -Xlog:cds+dynamic=off} \
  -XX:+ExitOnOutOfMemoryError -Djava.security.manager=allow -Djava.io.tmpdir=/tmp -Djna.tmpdir=/tmp -Djna.nosys=true \
  -Des.networkaddress.cache.ttl=60 -Des.networkaddress.cache.negative.ttl=10 \
  -Dio.netty.noUnsafe=true -Dio.netty.noKeySetOptimization=true -Dio.netty.recycler.maxCapacityPerThread=0 \
  -Dio.netty.allocator.numDirectArenas=0 -Dlog4j.shutdownHookEnabled=false -Dlog4j2.disable.jmx=true \
  -Dlog4j2.formatMsgNoLookups=true -Djava.locale.providers=SPI,COMPAT --add-opens=java.base/java.io=ALL-UNNAMED \
  -Des.path.home="$home" -Des.path.conf="$home/config" \
  -Des.distribution.flavor=default -Des.distribution.type=docker -Des.bundled_jdk=false \
  -cp "$(printf '%s:' "$home"/lib/*.jar)" org.elasticsearch.bootstrap.Elasticsearch "$@"
