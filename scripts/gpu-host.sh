#!/usr/bin/env bash
# Packs what a GPU host without network needs into one folder, and runs a suite there.
#   scripts/gpu-host.sh pack FOLDER     here: Node, the addon as built, the command line, the suites, the models that they use
#   FOLDER/gpu-host.sh SUITE [ARGS...]  there, SUITE being one of
#     test:gpu       conformance and golden models, deterministic and default; --only TEXT, --mode MODE, --subset racecheck,
#                    --worst, --processes N
#     test:ptx       the same on the portable code alone, compiled by the driver; for folders packed after build:ptx
#     test:quantize  statistics and quantization methods against those of the CPU; --only TEXT
#     test:native    the addon's own CUDA tests, for folders packed after node build.mjs --test; test:native TEXT runs those of that name
#     test:faults    refused memory, a lost device context and a killed engine behind the real server; --only TEXT
#     bench:kernels  kvant bench kernels: each kernel beside the device's probes
#     bench:engine   kvant bench engine: decode and prefill beside the same probes
#     bench:quantize kvant bench quantize: a layer's quantization by phase beside the same probes
#     bench:serve    kvant bench serve: streams over HTTP; flags of kvant serve come after --
#     kvant          any command of the command line; serve needs --no-grpc there
# The addon must have been built with nvcc; the host needs an NVIDIA driver and the C++ runtime library, nothing else.
# KVANT_GPU_WRAPPER names a program that runs Node or a native test, such as "compute-sanitizer --tool memcheck". KVANT_PACK_TINY=0
# leaves out the built-in model's 16 MB of weights, which no suite needs. KVANT_PACK_PTX names the addon of build:ptx where the build
# tree is not native/build-ptx.
set -euo pipefail

pack() {
  local root folder suite ptx
  root=$(cd "$(dirname "$0")/.." && pwd)
  ptx=${KVANT_PACK_PTX:-$root/native/build-ptx/kvant.node}
  folder=$1
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  cp "$root/native/dist/kvant.node" "$0" "$folder/"
  [ ! -e "$ptx" ] || cp "$ptx" "$folder/kvant-ptx.node"
  mkdir -p "$folder/native"
  [ ! -d "$root/native/build" ] || find "$root/native/build" -maxdepth 1 -name 'cuda_*_test' -exec cp {} "$folder/native/" \;
  cp -r "$root/packages/models/test/golden-models" "$folder/"
  [ -e "$folder/node.xz" ] || xz -T0 -6 -c "$(node -p process.execPath)" > "$folder/node.xz"
  for suite in test-gpu test-quantize test-faults; do
    "$root/node_modules/.bin/esbuild" "$root/scripts/gpu/$suite.ts" --bundle --platform=node --format=esm \
      --conditions=@kvant/source --log-level=warning --outfile="$folder/$suite.mjs" \
      --banner:js='import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);'
  done
  pack_kvant "$root" "$folder/kvant"
  du -sh "$folder"
}

# The command line and the engine process as bundles, beside the packages that find files of their own.
pack_kvant() {
  local root=$1 folder=$2 package
  mkdir -p "$folder/bin" "$folder/node_modules/@kvant"
  cp "$root/apps/cli/package.json" "$folder/"
  cp "$root/apps/cli/bin/kvant.js" "$folder/bin/"
  (cd "$root/apps/cli" && "$root/node_modules/.bin/tsx" bundle.ts "$folder/dist")
  for package in packages/tiny-model proto; do
    local target=$folder/node_modules/@kvant/$(basename "$package")
    mkdir -p "$target"
    (cd "$root/$package" && cp -r package.json $(ls -d dist model kvant inference 2> /dev/null) "$target/")
  done
  [ "${KVANT_PACK_TINY:-1}" = 1 ] || rm -f "$folder"/node_modules/@kvant/tiny-model/model/*.safetensors
}

run() {
  local folder suite node kvant
  folder=$(cd "$(dirname "$0")" && pwd)
  suite=$1
  shift
  node=${TMPDIR:-/tmp}/kvant-node
  [ -x "$node" ] || { xz -dc "$folder/node.xz" > "$node.$$" && chmod +x "$node.$$" && mv "$node.$$" "$node"; }
  kvant=$folder/kvant/bin/kvant.js
  export KVANT_NATIVE="$folder/kvant.node"
  case "$suite" in
    test:gpu) test_gpu "$@" ;;
    test:ptx)
      [ -e "$folder/kvant-ptx.node" ] || { echo "this folder was packed without the addon of build:ptx" >&2; exit 2; }
      export KVANT_NATIVE="$folder/kvant-ptx.node" CUDA_FORCE_PTX_JIT=1
      test_gpu "$@"
      ;;
    test:native) test_native "${1:-}" ;;
    test:quantize) start "$node" "$folder/test-quantize.mjs" --golden "$folder/golden-models" "$@" ;;
    test:faults) start "$node" "$folder/test-faults.mjs" --kvant "$kvant" --model "$folder/golden-models/llama" "$@" ;;
    bench:kernels) start "$node" "$kvant" bench kernels --device cuda --json "$@" ;;
    bench:engine) start "$node" "$kvant" bench engine --device cuda --json "$@" ;;
    bench:quantize) start "$node" "$kvant" bench quantize --device cuda --json "$@" ;;
    bench:serve) start "$node" "$kvant" bench serve --device cuda --json "$@" ;;
    kvant) start "$node" "$kvant" "$@" ;;
    *) echo "there is no suite $suite:" >&2; usage >&2; exit 2 ;;
  esac
}

# With --processes the suite starts the wrapper for each of them.
test_gpu() {
  local wrapper=${KVANT_GPU_WRAPPER:-}
  case " $* " in *" --processes "*) wrapper= ;; esac
  exec $wrapper "$node" "$folder/test-gpu.mjs" --golden "$folder/golden-models" "$@"
}

test_native() {
  local test output failures=0 count=0
  for test in "$folder/native/"*"$1"*; do
    [ -e "$test" ] || { echo "this folder has no native test with \"$1\" in its name: node build.mjs --test, then pack" >&2; exit 2; }
    output=$(${KVANT_GPU_WRAPPER:-} "$test" 2>&1) && ! grep -q '^SKIPPED' <<< "$output" || failures=$((failures + 1))
    echo "$output"
    count=$((count + 1))
  done
  echo "$((count - failures)) passed, $failures failed"
  [ "$failures" = 0 ]
}

start() { exec ${KVANT_GPU_WRAPPER:-} "$@"; }

usage() { sed -n '2,19s/^# //p' "$0"; }

case "${1:-}" in
  pack) pack "${2:?name the folder to pack into}" ;;
  "") usage; exit 2 ;;
  *) run "$@" ;;
esac
