"""Logs in at the system of the environment, and runs schemathesis against it: schemathesis.py SECONDS SEED

The session that it uses must last, so what ends sessions is left out; everything else is asked for, in sequences too.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
# Methods that are not there are tried by admin-api's own tests: this asks for them with headers that are no HTTP.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
    "missing_required_header",
    "negative_data_rejection",
]
# They end the session under which all of this runs.
LEFT_OUT = ["logout", "revoke_session"]


def main() -> int:
    seconds, seed = sys.argv[1:]
    url = os.environ["CHATBUS_ADMIN_URL"]
    who = {"email": os.environ["CHATBUS_ADMIN_EMAIL"], "password": os.environ["CHATBUS_ADMIN_PASSWORD"]}
    login = urllib.request.Request(
        f"{url}/v1/auth/login", json.dumps(who).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(login, timeout=20) as answer:
        token = json.load(answer)["access_token"]
    print(f"schemathesis for {seconds} s with seed {seed}", flush=True)
    command = [
        os.path.join(os.path.dirname(sys.executable), "schemathesis"),
        "--config-file", os.path.join(HERE, "schemathesis.toml"),
        "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {token}",
        "--checks", ",".join(CHECKS),
        "--phases", "examples,coverage,fuzzing,stateful",
        "--max-time", seconds,
        "--seed", seed,
        # Several would take away from each other what they made.
        "--workers", "1",
        "--request-timeout", "25",
        "--max-failures", "25",
        "--warnings", "off",
    ]
    for name in LEFT_OUT:
        command += ["--exclude-operation-id", name]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": os.path.join(HERE, "schemathesis_hooks.py")}
    # It keeps notes where it runs.
    with tempfile.TemporaryDirectory() as notes:
        return subprocess.run(command, check=False, cwd=notes, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
