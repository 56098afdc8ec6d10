#!/bin/sh
# The official image's convention: options or a configuration file alone mean redis-server with them.
# Protected mode is off, as there: in a container every client comes from outside; a password guards instead.
set -eu
case "${1:-}" in
  '' | -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ]; then
  umask 0077
  exec "$@" --protected-mode no
fi
exec "$@"
