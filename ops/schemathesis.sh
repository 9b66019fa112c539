#!/bin/sh
# Throws generated requests at a running system of its own, and judges the answers by its OpenAPI documents, for a tenth
# of the time that of the edge: sh ops/schemathesis.sh [--seconds N] [--seed N]
# The seed is printed; the same seed asks the same again. A long run is one of --seconds 3600: it stays logged in.
set -eu
cd "$(dirname "$0")/.."

# shellcheck source=ops/prepare.sh
. ops/prepare.sh
need_fetcher
need_schemathesis

seconds=300
seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=$2 ;;
    --seed) seed=$2 ;;
    *) fail "$1 is no option" "sh ops/schemathesis.sh [--seconds N] [--seed N]" ;;
    esac
    shift 2
done

cargo build --workspace --bins
bins=${CARGO_TARGET_DIR:-target}/debug
data=$(mktemp -d)
"$bins/ops" up --data "$data" --ports auto --edges 1 >"$data.log" 2>&1 &
up=$!
end() {
    kill -INT "$up" 2>/dev/null || :
    wait "$up" 2>/dev/null || :
    rm -rf "$data" "$data.log"
}
trap 'end' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

waited=0
until [ -f "$data/up.env" ]; do
    kill -0 "$up" 2>/dev/null || {
        cat "$data.log" >&2
        fail "the system did not start" "sh ops/up.sh"
    }
    waited=$((waited + 1))
    [ "$waited" -le 180 ] || fail "the system was not up in three minutes" "sh ops/up.sh"
    sleep 1
done
set -a
# shellcheck disable=SC1091
. "$data/up.env"
set +a

pids() { sed -n 's/^CHATBUS_PIDS=//p' "$data/up.env"; }
pids_before=$(pids)

# What dies is started again under another id, and answers as if nothing had been; what panics answers 500 or hangs up.
nothing_broke() {
    [ "$(pids)" = "$pids_before" ] ||
        fail "a service died: $pids_before became $(pids)" "read what is above"
    for one in $(pids | tr ',' ' '); do
        kill -0 "${one#*:}" 2>/dev/null || fail "${one%:*} died" "read what is above"
    done
    if grep -h 'panicked' "$data"/logs/*.log; then
        fail "a service panicked" "read what is above"
    fi
}

# First the edge, then admin-api, who deletes what the other needs.
ask() {
    "$schemathesis_python" ops/schemathesis/run.py "$@" && status=0 || status=$?
    if [ "$status" != 0 ]; then
        printf '\n== what %s said of it\n' "$1"
        grep '"level":"ERROR"' "$data/logs/$1"*.log | tail -n 20
    fi
    nothing_broke
    [ "$status" = 0 ] || exit "$status"
}
ask edge $((seconds / 10)) "$seed"
ask admin-api "$seconds" "$seed"
