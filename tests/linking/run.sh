#!/usr/bin/env bash
# The registry in a static library that a C program links, and in a wasm module. Explicit registration must find every allocator in
# both; what linking alone finds is printed, and is what docs/plugins.md says.
set -euo pipefail
cd "$(dirname "$0")"
target="${CARGO_TARGET_DIR:-$PWD/target}/linking"
export CARGO_TARGET_DIR="$target"
all=$(grep -l 'register_allocator!' ../../plugins/allocation/src/*.rs | wc -l)
failed=0

check() { # where, linked, registered
    printf '%s: %s allocators by linking, %s by register, of %s\n' "$1" "$2" "$3" "$all"
    [ "$3" -eq "$all" ] || { echo "error: register should find all of them"; failed=1; }
}

cargo build --locked --quiet
libs=$(cargo rustc --locked --quiet --crate-type staticlib -- --print native-static-libs 2>&1 | sed -n 's/.*native-static-libs: //p')
# shellcheck disable=SC2086
cc main.c "$target/debug/liblinking.a" ${libs:--lpthread -ldl -lm} -o "$target/main"
read -r linked registered < <("$target/main")
check 'static library' "$linked" "$registered"
[ "$linked" -eq "$all" ] || { echo "error: a static library should find them by linking too"; failed=1; }

rustup target add wasm32-unknown-unknown >/dev/null 2>&1 || true
cargo build --locked --quiet --target wasm32-unknown-unknown
read -r linked registered < <(node -e '
const bytes = require("fs").readFileSync(process.argv[1]);
WebAssembly.instantiate(bytes, {}).then(({ instance: { exports } }) => {
    if (exports.__wasm_call_ctors) exports.__wasm_call_ctors();
    console.log(exports.allocators_linked(), exports.allocators_registered());
});' "$target/wasm32-unknown-unknown/debug/linking.wasm")
check 'wasm32-unknown-unknown' "$linked" "$registered"
exit "$failed"
