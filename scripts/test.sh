#!/bin/sh
# All tests, those that boot virtual machines beside the others: they mostly wait for one emulated processor.
# What they say comes last, so that the two do not mix.
set -eu
cd "$(dirname "$0")/.."

said=$(mktemp)
.venv/bin/pytest -q -m vm >"$said" 2>&1 &
machines=$!
trap 'kill -INT "$machines" 2>/dev/null && wait "$machines"; rm -f "$said"' EXIT

others=0
.venv/bin/pytest -q -m "not vm" || others=$?
echo "Tests with virtual machines:"
status=0
wait "$machines" || status=$?
cat "$said"
[ "$others" -eq 0 ] && [ "$status" -eq 0 ]
