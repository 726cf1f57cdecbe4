#!/bin/sh
# The main job, with the client's own commands: a VM through Vagrant, a real MariaDB in a container inside it.
# Keeps its machine below WHERRY_DEMO_HOME (default: the user's cache), so that a second run starts faster.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
boxes=$(python -c 'from wherry.paths import paths; print(paths().boxes)')
WHERRY_CACHE=$(dirname "$boxes")
WHERRY_HOME=${WHERRY_DEMO_HOME:-$WHERRY_CACHE/demo}
export PATH WHERRY_CACHE WHERRY_HOME
unset WHERRY_HOST DOCKER_HOST || true

show() {
  printf '\n\033[1m$ %s\033[0m\n' "$*"
  "$@"
}

# Whatever happens, no container and no running machine stays behind; the machine itself is kept.
finish() {
  status=$?
  trap - EXIT INT TERM
  if [ "$status" -ne 0 ]; then
    echo "demo: failed; the machine's logs: WHERRY_HOME=$WHERRY_HOME wherry machine logs" >&2
    wherry rm -f db >/dev/null 2>&1 || true
    wherry machine stop >/dev/null 2>&1 || true
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

image=$(sh examples/mariadb/rootfs.sh)

# A machine of an earlier run serves again, unless the box has changed since: its data disk is kept then.
field() { sed -n "s/.*\"$1\": \"\([0-9a-f]*\)\".*/\1/p"; }
version=$(python -c 'from wherrywire import __version__; print(__version__)')
box=$(field sha256 <"$boxes/$version-amd64.json")
made_of=$(wherry machine inspect 2>/dev/null | field box_sha256)
if [ -z "$made_of" ]; then
  show wherry machine init
elif [ "$made_of" != "$box" ]; then
  echo "demo: the box has changed since the machine was made; its data disk is kept"
  show wherry machine rm --force --keep-data
  show wherry machine init
fi
show wherry machine start
show wherry version
wherry rm -f db >/dev/null 2>&1 || true
wherry rmi -f mysql:demo >/dev/null 2>&1 || true
show wherry import "$image" mysql:demo
show wherry images
show wherry run -d --name db -p 3306:3306 \
  -e MARIADB_DATABASE=demo -e MARIADB_USER=demo -e MARIADB_PASSWORD=demo mysql:demo mariadb-entrypoint
show wherry ps
show wherry inspect -f '{{.NetworkSettings.IPAddress}}' db

sql() { mariadb --protocol=tcp -h 127.0.0.1 -P 3306 -u demo -pdemo demo "$@"; }
show_sql() {
  printf '\n\033[1m$ mariadb --protocol=tcp -h 127.0.0.1 -P 3306 -u demo -pdemo demo %s\033[0m\n' "$*"
  sql "$@"
}
printf '\nwaiting for MariaDB on 127.0.0.1:3306'
tries=0
until sql -e 'SELECT 1' >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt 90 ]; then
    printf '\n'
    wherry logs db
    sql -e 'SELECT 1'
  fi
  printf .
  sleep 1
done
printf '\n'
show_sql -e 'CREATE OR REPLACE TABLE boats (name VARCHAR(40), oars INT)'
show_sql -e "INSERT INTO boats VALUES ('wherry', 2), ('eight', 8)"
show_sql -t -e 'SELECT * FROM boats ORDER BY oars'
[ "$(sql -N -e 'SELECT SUM(oars) FROM boats')" = 10 ] || { echo "demo: read back something else" >&2; exit 1; }

show wherry logs --tail 5 db
show wherry exec db mariadb -u root -e 'SELECT VERSION()'
show wherry stop db
show wherry rm db
# Its memory goes to disk, so that the next start takes two seconds; without --save it shuts down.
show wherry machine stop --save
printf '\ndemo: done\n'
