#!/usr/bin/env bash
# What `make demo` runs: the Fibonacci task on backend local, with a recorded
# model, so that it needs neither an engine nor a key. Python is the host's, seen
# read-only from inside; where there is none the model of the other recording
# writes a shell script.
set -euo pipefail
cd "$(dirname "$0")/.."

recording=examples/replay/fibonacci.json
if ! bin/deep exec --backend local --shell 'command -v python3' >/dev/null; then
  echo 'No python3 on this host: the demo uses sh instead.'
  recording=examples/replay/fibonacci-sh.json
fi

exec bin/deep run --backend local --model "replay:$recording" --approve execute \
  'Create a program that prints the first 10 Fibonacci numbers, save it in /workspace, run it and show the output.'
