#!/bin/sh
# Runs all tests against real servers: sh ops/test.sh [--long] [arguments of `cargo test`]
set -eu
cd "$(dirname "$0")/.."

# shellcheck source=ops/prepare.sh
. ops/prepare.sh
need_fetcher
need_node
need_browser
need_s3
want_oidc

if [ "${1:-}" = --long ]; then
    shift
    CHATBUS_LONG=1
    export CHATBUS_LONG
fi

# Tests run the services' binaries as well; built together, nothing is compiled twice.
cargo build --workspace --bins --tests

log=$(mktemp)
trap 'rm -f "$log" "$log.code"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
{
    code=0
    node --test edge/web/test/*.test.js || code=$?
    cargo test --workspace --no-fail-fast "$@" || code=$?
    echo "$code" >"$log.code"
} 2>&1 | tee "$log"

awk '
    /^test result:/ { runs++; passed += $4; failed += $6; ignored += $8 }
    /^(#|ℹ) pass / { runs++; passed += $3 }
    /^(#|ℹ) fail / { failed += $3 }
    END { printf "total: %d passed; %d failed; %d ignored; %d test programs\n", passed, failed, ignored, runs }
' "$log"
exit "$(cat "$log.code")"
