#!/bin/sh
# Honours the official image's environment: MODE, JVM_XMS, JVM_XMX, JVM_XMN, JAVA_OPT, NACOS_AUTH_* (see conf/application.properties).
set -eu
for name in NACOS_AUTH_TOKEN NACOS_AUTH_IDENTITY_KEY NACOS_AUTH_IDENTITY_VALUE; do
  eval "value=\${$name:-}"
  if [ -z "$value" ]; then
    echo "$name is empty: Nacos 3 needs it to sign and recognise its own requests" >&2
    exit 1
  fi
done
if [ "${MODE:-standalone}" != standalone ]; then
  echo "MODE=$MODE: this image carries the standalone mode alone; use docker.io/nacos/nacos-server for a cluster" >&2
  exit 1
fi
# This image runs on laptops, where a small footprint and a quick start count for more than peak throughput.
: "${JAVA_OPT:=-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k}"
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}"
# shellcheck disable=SC2086  # JAVA_OPT is a list of words, as in the official image
exec java ${JVM_XMS:+-Xms$JVM_XMS} ${JVM_XMX:+-Xmx$JVM_XMX} ${JVM_XMN:+-Xmn$JVM_XMN} $JAVA_OPT \
  ${CLASS_ARCHIVE:--XX:SharedArchiveFile=/home/nacos/nacos.jsa -Xlog:cds=off -Xlog:cds+dynamic=off} \
  -Dnacos.standalone=true -Dnacos.deployment.type=merged -Dnacos.home=/home/nacos \
  --add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.lang.reflect=ALL-UNNAMED \
  --add-opens=java.base/java.util=ALL-UNNAMED \
  ${NACOS_SERVER_IP:+-Dnacos.server.ip=$NACOS_SERVER_IP} -Dderby.stream.error.field=java.lang.System.err -Dnacos.logs.path=/home/nacos/logs \
  -jar /home/nacos/nacos.jar --spring.config.additional-location=file:/home/nacos/conf/ \
  --logging.config=/home/nacos/conf/nacos-logback.xml --spring.main.banner-mode=off "$@"
