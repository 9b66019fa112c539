#!/bin/sh
# Runs all tests against real servers: sh ops/test.sh [--long] [--faults N] [--seed S] [arguments of `cargo test`]
# --faults: of the network, instead of 500, or of 10,000 with --long; --seed: repeats what a failed test printed.
set -eu
cd "$(dirname "$0")/.."

number() {
    case ${2:-} in
    '' | *[!0-9]*) echo "$1 needs a number" >&2 && exit 2 ;;
    esac
}
while :; do
    case ${1:-} in
    --long) export CHATBUS_LONG=1 ;;
    --faults) number "$@" && export CHATBUS_FAULTS="$2" && shift ;;
    --seed) number "$@" && export CHATBUS_SEED="$2" && shift ;;
    *) break ;;
    esac
    shift
done

# shellcheck source=ops/prepare.sh
. ops/prepare.sh
need_fetcher
need_node
need_browser
need_s3
want_oidc

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
