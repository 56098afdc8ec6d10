#!/bin/sh
# Starts Kafka without a network, waits until it serves, stops it; the JVM writes the archive as it exits.
set -eu
export KAFKA_LOG_DIRS=/tmp/trial KAFKA_LISTENERS=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
export CLASS_ARCHIVE="-XX:ArchiveClassesAtExit=/opt/kafka/kafka.jsa -Xlog:cds=error -Xlog:cds+dynamic=error"
/etc/kafka/docker/run > /tmp/trial.log 2>&1 &
server=$!
deadline=$(($(date +%s) + 240))
until grep -q 'Kafka Server started' /tmp/trial.log; do
  if ! kill -0 "$server" 2>/dev/null || [ "$(date +%s)" -gt "$deadline" ]; then
    tail -n 40 /tmp/trial.log >&2
    echo "the trial run of Kafka did not become ready" >&2
    exit 1
  fi
  sleep 1
done
kill "$server"
wait "$server" || [ $? -eq 143 ]
test -s /opt/kafka/kafka.jsa
