#!/usr/bin/env bash
# Runs a command beside ministack, a third party's emulator of AWS, and returns
# the command's exit code:
#
#   bash test/tools/with-ministack.sh go test ./internal/local/...
#
# The command finds the emulator's address in MINISTACK_ENDPOINT, and in
# MINISTACK_PYTHON the interpreter for those who need another one, run as
# -m ministack: one that checks signatures, say. The emulator
# is installed once, with pinned hashes, under ${CACHE_DIR:-.cache}/ministack;
# it listens on 127.0.0.1 only, on a free port, and ends with the command.
set -euo pipefail

if [ $# -eq 0 ]; then
  echo "usage: with-ministack.sh command [argument...]" >&2
  exit 2
fi

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  echo "with-ministack.sh: python3, version 3.10 or later, is needed to run the AWS emulator; found: $(python3 --version 2>&1 || true)" >&2
  exit 1
fi

tools="$(cd "$(dirname "$0")" && pwd)"
requirements="$tools/requirements.txt"
mkdir -p "${CACHE_DIR:-.cache}/ministack"
cache="$(cd "${CACHE_DIR:-.cache}/ministack" && pwd)"

# The venv is named for what it was made from, so that a change makes another,
# and is moved into place when whole, so that two runs at once do no harm.
key="$(python3 - "$requirements" <<'PYTHON'
import hashlib, sys
with open(sys.argv[1], "rb") as f:
    print(hashlib.sha256(f.read() + sys.version.encode()).hexdigest()[:16])
PYTHON
)"
venv="$cache/$key"
scratch="$(mktemp -d "$cache/run.XXXXXX")"
emulator=""

finish() {
  if [ -n "$emulator" ]; then
    kill "$emulator" 2>/dev/null || true
    wait "$emulator" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ ! -d "$venv" ]; then
  echo "with-ministack.sh: installing the AWS emulator into $venv" >&2
  python3 -m venv "$scratch/venv"
  "$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --require-hashes --only-binary :all: --requirement "$requirements" >&2
  mv "$scratch/venv" "$venv" 2>/dev/null || [ -d "$venv" ]
fi

# Python is on the way already, so it also finds the port and asks for health.
free_port() {
  "$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

healthy() {
  "$venv/bin/python" - "$1" 2>/dev/null <<'PYTHON'
import sys, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
direct.open(sys.argv[1] + "/_ministack/health", timeout=2).read()
PYTHON
}

# start sets emulator and endpoint, or fails: the free port may be taken by
# somebody else before the emulator has it.
start() {
  local port
  port="$(free_port)"
  endpoint="http://127.0.0.1:$port"
  env BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" TMPDIR="$scratch" PERSIST_STATE=0 AUTH=false \
    "$venv/bin/python" -B "$tools/emulator.py" >"$scratch/log" 2>&1 &
  emulator=$!
  for _ in $(seq 1 150); do
    if healthy "$endpoint"; then
      return 0
    fi
    if ! kill -0 "$emulator" 2>/dev/null; then
      break
    fi
    sleep 0.1
  done
  kill "$emulator" 2>/dev/null || true
  wait "$emulator" 2>/dev/null || true
  emulator=""
  return 1
}

start || start || start || {
  echo "with-ministack.sh: the AWS emulator does not start; its last words:" >&2
  tail -n 20 "$scratch/log" >&2
  exit 1
}

status=0
MINISTACK_ENDPOINT="$endpoint" MINISTACK_PYTHON="$venv/bin/python" "$@" || status=$?
if ! kill -0 "$emulator" 2>/dev/null; then
  echo "with-ministack.sh: the AWS emulator ended before the command did; its last words:" >&2
  tail -n 20 "$scratch/log" >&2
  [ "$status" -ne 0 ] || status=1
fi
exit "$status"
