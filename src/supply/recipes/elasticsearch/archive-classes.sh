#!/bin/sh
# Starts Elasticsearch without a network, waits until it serves, stops it; the JVM writes the archive as it exits.
# The same run leaves the empty keystore behind that each start would otherwise have to write beside the settings.
set -eu
home=/usr/share/elasticsearch
export CLASS_ARCHIVE="-XX:ArchiveClassesAtExit=/tmp/elasticsearch.jsa -Xlog:cds=error -Xlog:cds+dynamic=error"
"$home/bin/docker-entrypoint.sh" -Ediscovery.type=single-node -Expack.security.enabled=false -Enetwork.host=127.0.0.1 > /tmp/trial.log 2>&1 &
server=$!
deadline=$(($(date +%s) + 240))
until grep -q 'Node.*started$' /tmp/trial.log; do
  if ! kill -0 "$server" 2>/dev/null || [ "$(date +%s)" -gt "$deadline" ]; then
    tail -n 60 /tmp/trial.log >&2
    echo "the trial run of Elasticsearch did not become ready" >&2
    exit 1
  fi
  sleep 1
done
kill "$server"
wait "$server" || [ $? -eq 143 ]
mv /tmp/elasticsearch.jsa "$home/"
rm -rf "$home"/data/* "$home"/logs/*
