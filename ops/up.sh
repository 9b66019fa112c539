#!/bin/sh
# Runs the whole system on this machine until Ctrl-C: sh ops/up.sh [options of `ops up`]
set -eu
cd "$(dirname "$0")/.."

# shellcheck source=ops/prepare.sh
. ops/prepare.sh
need_fetcher

cargo build --workspace --bins
exec "${CARGO_TARGET_DIR:-target}/debug/ops" up "$@"
