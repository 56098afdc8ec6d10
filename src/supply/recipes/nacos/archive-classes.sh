#!/bin/sh
# Starts Nacos without a network, waits until its console is up, stops it; the JVM writes the archive as it exits.
set -eu
export NACOS_AUTH_TOKEN=dGhpcyBrZXkgc2VydmVzIHRoZSB0cmlhbCBydW4gb25seSE= NACOS_AUTH_IDENTITY_KEY=trial NACOS_AUTH_IDENTITY_VALUE=trial
export JVM_XMX=512m NACOS_SERVER_IP=127.0.0.1
export CLASS_ARCHIVE="-XX:ArchiveClassesAtExit=/home/nacos/nacos.jsa -Xlog:cds=error -Xlog:cds+dynamic=error"
bin/docker-entrypoint.sh > /tmp/trial.log 2>&1 &
server=$!
deadline=$(($(date +%s) + 240))
until grep -q 'Nacos Console started successfully' /tmp/trial.log; do
  if ! kill -0 "$server" 2>/dev/null || [ "$(date +%s)" -gt "$deadline" ]; then
    tail -n 40 /tmp/trial.log >&2
    echo "the trial run of Nacos did not become ready" >&2
    exit 1
  fi
  sleep 1
done
kill "$server"
wait "$server" || [ $? -eq 143 ]
test -s /home/nacos/nacos.jsa
