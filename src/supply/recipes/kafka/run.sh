#!/bin/sh
# KAFKA_HEAP_OPTS, KAFKA_OPTS and KAFKA_JVM_PERFORMANCE_OPTS as in the official image; the rest of KAFKA_* is for the launcher.
set -eu
# This image runs on laptops, where a small footprint and a quick start count for more than peak throughput.
: "${KAFKA_HEAP_OPTS:=-Xmx256m}" "${KAFKA_JVM_PERFORMANCE_OPTS:=-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss512k}"
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}"
# shellcheck disable=SC2086  # the options are lists of words, as in the official image
exec java $KAFKA_HEAP_OPTS $KAFKA_JVM_PERFORMANCE_OPTS ${KAFKA_OPTS:-} \
  ${CLASS_ARCHIVE:--XX:SharedArchiveFile=/opt/kafka/kafka.jsa -Xlog:cds=off -Xlog:cds+dynamic=off} \
  -Dlog4j2.configurationFile=/opt/kafka/config/log4j2.xml -jar /opt/kafka/kafka.jar
