#!/bin/sh
# Honours the official image's environment: CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, CLICKHOUSE_DB.
set -eu
[ $# -eq 0 ] || exec "$@"
: "${CLICKHOUSE_USER:=default}" "${CLICKHOUSE_PASSWORD:=}" "${CLICKHOUSE_DB:=}"
case "$CLICKHOUSE_USER$CLICKHOUSE_DB" in
  *[!a-zA-Z0-9_]*)
    echo "CLICKHOUSE_USER and CLICKHOUSE_DB may hold letters, digits and underscores only" >&2
    exit 1
    ;;
esac
# The password itself stays out of the file; the server reads it from the environment.
export CLICKHOUSE_PASSWORD
umask 0077
cat > /tmp/clickhouse-users.xml <<XML
<?xml version="1.0"?>
<yandex>
  <profiles><default><max_memory_usage>200000000</max_memory_usage><load_balancing>random</load_balancing></default></profiles>
  <quotas><default></default></quotas>
  <users>
    <$CLICKHOUSE_USER>
      <password from_env="CLICKHOUSE_PASSWORD"></password>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </$CLICKHOUSE_USER>
  </users>
</yandex>
XML
# An empty folder is an empty database.
if [ -n "$CLICKHOUSE_DB" ]; then
  mkdir -p "/var/lib/clickhouse/data/$CLICKHOUSE_DB" "/var/lib/clickhouse/metadata/$CLICKHOUSE_DB"
fi
exec clickhouse-server --config-file=/etc/clickhouse-server/config.xml
