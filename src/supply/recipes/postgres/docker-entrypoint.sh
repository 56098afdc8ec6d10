#!/bin/sh
# Honours the official image's environment, so that one manifest serves both:
# POSTGRES_USER, POSTGRES_PASSWORD[_FILE], POSTGRES_DB, POSTGRES_INITDB_ARGS, PGDATA and /docker-entrypoint-initdb.d.
set -eu

case "${1:-}" in
  '' | -*) set -- postgres "$@" ;;
esac
[ "$1" = postgres ] || exec "$@"

if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
  POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
fi
: "${POSTGRES_USER:=postgres}" "${POSTGRES_PASSWORD:=}" "${POSTGRES_INITDB_ARGS:=}"
: "${POSTGRES_DB:=$POSTGRES_USER}"

# The init scripts run once, over the socket alone: a probe over TCP sees nothing before they are done.
init_database() {
  PGPASSWORD=$POSTGRES_PASSWORD
  export POSTGRES_USER POSTGRES_DB PGPASSWORD
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w -s start
  if [ "$POSTGRES_DB" != postgres ]; then
    psql -v ON_ERROR_STOP=1 --no-psqlrc -q -U "$POSTGRES_USER" -d postgres -v db="$POSTGRES_DB" <<'SQL'
CREATE DATABASE :"db";
SQL
  fi
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc -q -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | psql -v ON_ERROR_STOP=1 --no-psqlrc -q -U "$POSTGRES_USER" -d "$POSTGRES_DB" ;;
      *.sh) sh "$file" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w -s stop
}

# The mark goes last: an initialisation that was interrupted starts afresh instead of staying half done.
if [ ! -s "$PGDATA/PG_VERSION" ] || [ -e "$PGDATA/.initialising" ]; then
  if [ -z "$POSTGRES_PASSWORD" ]; then
    echo "POSTGRES_PASSWORD is empty: set it, the superuser needs a password" >&2
    exit 1
  fi
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  if [ -e "$PGDATA/.initialising" ]; then
    find "$PGDATA" -mindepth 1 -delete
  fi
  secret=$(mktemp)
  printf '%s\n' "$POSTGRES_PASSWORD" > "$secret"
  # shellcheck disable=SC2086  # the arguments are a list of words, as in the official image
  initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$secret" --auth-local=trust --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
  rm -f "$secret"
  touch "$PGDATA/.initialising"
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  init_database
  rm -f "$PGDATA/.initialising"
fi

unset POSTGRES_PASSWORD PGPASSWORD
exec "$@"
