"""Runs schemathesis against a service of the environment's system: run.py admin-api|edge SECONDS SEED

Everything is asked for, in sequences too; what ends sessions ends those of somebody else, for this one must last.
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# All there are but four. `positive_data_acceptance`: what a schema allows may still be refused (422) for what it says, such
# as an e-mail address that is none or a group of another tenant, and no schema can say all of that.
# `object_level_authorization` needs somebody else of the same tenant: admin-api's matrix of roles and tenants is more.
# `ensure_resource_availability` is there as `what_was_made_is_there`, but for what was never deleted.
# `status_code_conformance` takes whatever comes where a `default` is documented: `status_is_documented` does not.
CHECKS = [
    "not_a_server_error",
    "status_is_documented",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "use_after_free",
    "ignored_auth",
    "missing_required_header",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
]


def main() -> int:
    service, seconds, seed = sys.argv[1:]
    url, hooks, more = {
        "admin-api": (os.environ["CHATBUS_ADMIN_URL"], "admin_api.py", ["what_was_made_is_there"]),
        "edge": (os.environ["CHATBUS_EDGE_URLS"].split(",")[0], "edge.py", []),
    }[service]
    print(f"schemathesis on {service} for {seconds} s with seed {seed}", flush=True)
    command = [
        os.path.join(os.path.dirname(sys.executable), "schemathesis"),
        "--config-file", os.path.join(HERE, "schemathesis.toml"),
        "run", f"{url}/openapi.json",
        "--checks", ",".join(CHECKS + more),
        "--phases", "examples,coverage,fuzzing,stateful",
        "--max-time", seconds,
        "--seed", seed,
        # Several would take away from each other what they made.
        "--workers", "1",
        "--request-timeout", "25",
        "--max-failures", "25",
        "--warnings", "off",
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": os.path.join(HERE, hooks),
        "PYTHONPATH": HERE,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # It keeps notes where it runs.
    with tempfile.TemporaryDirectory() as notes:
        return subprocess.run(command, check=False, cwd=notes, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
