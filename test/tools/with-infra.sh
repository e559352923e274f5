#!/usr/bin/env bash
# Runs a command beside the third parties' tools that templates and pages are checked with, and the clients that functions read
# secrets with, and returns the command's exit code:
#
#   bash test/tools/with-infra.sh go test ./test/infra
#
# LINT_PYTHON is a Python with cfn-lint and checkov, AWS_PYTHON one with the AWS CLI, IAM_SIMULATE a folder in which Node
# finds the evaluator of IAM policies, RULER_CLASSES a class path of AWS's matcher of event patterns, BROWSER a folder in
# which Node finds a headless Chromium and what drives it; CLIENTS_PYTHON and CLIENTS_CLASSES have the clients of Python and
# Java. Each is installed once, with pinned hashes, under ${CACHE_DIR:-.cache}/infra. Needs python3, node with npm, and a
# JDK 17 with mvn.
set -euo pipefail

if [ $# -eq 0 ]; then
  echo "usage: with-infra.sh command [argument...]" >&2
  exit 2
fi

need() {
  if ! eval "$1" >/dev/null 2>&1; then
    echo "with-infra.sh: $2 is needed" >&2
    exit 1
  fi
}
need "python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'" "python3, version 3.10 or later, to run the linters of the templates,"
need "npm --version && node -e 'process.exit(process.versions.node.split(\".\")[0] < 20 ? 1 : 0)'" "node, version 20 or later, with npm, to evaluate IAM policies,"
need "javac --version && [ \"\$(javac --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')\" -ge 17 ] && mvn --version" "a JDK, version 17 or later, with mvn, to match event patterns,"

pins="$(cd "$(dirname "$0")/infra" && pwd)"
mkdir -p "${CACHE_DIR:-.cache}/infra"
cache="$(cd "${CACHE_DIR:-.cache}/infra" && pwd)"
scratch="$(mktemp -d "$cache/run.XXXXXX")"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What is installed is named for what it was made from, so that a change makes another, and moved into place when whole,
# so that two runs at once do no harm.
installed() { # a name, how to make it, what it is made from
  local key
  key="$cache/$1-$( (python3 --version; node --version; javac --version; cat "${@:3}") | sha256sum | cut -c 1-16)"
  if [ ! -d "$key" ]; then
    echo "with-infra.sh: installing $1 into $key" >&2
    "$2" "$scratch/$1" "$key" "${@:3}" >&2
    mv "$scratch/$1" "$key" 2>/dev/null || [ -d "$key" ]
  fi
  echo "$key"
}

venv() {
  python3 -m venv "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --only-binary :all: --requirement "$3"
}
node_modules() {
  mkdir "$1"
  cp "$3" "$4" "$1"
  npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error
}
classes() {
  mkdir -p "$1/lib"
  cp "$3" "$1/pom.xml"
  mvn --quiet --batch-mode --file "$1/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies "-DoutputDirectory=$1/lib"
  (cd "$1/lib" && sha256sum --quiet --strict --check "$4" && [ "$(ls | wc -l)" -eq "$(wc -l <"$4")" ])
  javac -cp "$1/lib/*" -d "$1" "$5"
}

lint="$(installed lint venv "$pins/lint-requirements.txt")"
aws="$(installed aws venv "$pins/aws-requirements.txt")"
simulate="$(installed iam-simulate node_modules "$pins/package.json" "$pins/package-lock.json")"
browser="$(installed browser node_modules "$pins/../browser/package.json" "$pins/../browser/package-lock.json")"
ruler="$(installed event-ruler classes "$pins/pom.xml" "$pins/jars.sha256" "$pins/RulerOracle.java")"
clients_python="$(installed clients-python venv "$pins/../clients/requirements.txt")"
clients_java="$(installed clients-java classes "$pins/../clients/pom.xml" "$pins/../clients/jars.sha256" "$pins/../../extension/clients/Client.java")"

status=0
LINT_PYTHON="$lint/bin/python" AWS_PYTHON="$aws/bin/python" IAM_SIMULATE="$simulate" BROWSER="$browser" RULER_CLASSES="$ruler:$ruler/lib/*" \
  CLIENTS_PYTHON="$clients_python/bin/python" CLIENTS_CLASSES="$clients_java:$clients_java/lib/*" \
  "$@" || status=$?
exit "$status"
