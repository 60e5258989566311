#!/usr/bin/env bash
# Packs what a GPU host without network needs into one folder, and runs a suite there.
#   scripts/gpu-host.sh pack FOLDER     here: Node, the addon as built, the bundled suites, the golden models
#   FOLDER/gpu-host.sh SUITE [ARGS...]  there: test:gpu | bench:engine
# The addon must have been built with nvcc; the host needs an NVIDIA driver and the C++ runtime library, nothing else.
set -euo pipefail

pack() {
  local root folder
  root=$(cd "$(dirname "$0")/.." && pwd)
  folder=$1
  mkdir -p "$folder"
  cp "$root/native/dist/kvant.node" "$0" "$folder/"
  cp -r "$root/packages/models/test/golden-models" "$folder/"
  [ -e "$folder/node.xz" ] || xz -T0 -3 -c "$(node -p process.execPath)" > "$folder/node.xz"
  local suite
  for suite in test-gpu bench-engine; do
    "$root/node_modules/.bin/esbuild" "$root/scripts/gpu/$suite.ts" --bundle --platform=node --format=esm \
      --conditions=@kvant/source --log-level=warning --outfile="$folder/$suite.mjs" \
      --banner:js='import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);'
  done
  du -sh "$folder"
}

run() {
  local folder suite node
  folder=$(cd "$(dirname "$0")" && pwd)
  suite=$1
  shift
  node=${TMPDIR:-/tmp}/kvant-node
  [ -x "$node" ] || { xz -dc "$folder/node.xz" > "$node" && chmod +x "$node"; }
  export KVANT_NATIVE="$folder/kvant.node"
  case "$suite" in
    test:gpu) exec ${KVANT_GPU_WRAPPER:-} "$node" "$folder/test-gpu.mjs" --golden "$folder/golden-models" "$@" ;;
    bench:engine) exec ${KVANT_GPU_WRAPPER:-} "$node" "$folder/bench-engine.mjs" "$@" ;;
    *) echo "there is no suite $suite; there are test:gpu and bench:engine" >&2; exit 2 ;;
  esac
}

case "${1:-}" in
  pack) pack "${2:?name the folder to pack into}" ;;
  "") sed -n '2,5s/^# //p' "$0"; exit 2 ;;
  *) run "$@" ;;
esac
