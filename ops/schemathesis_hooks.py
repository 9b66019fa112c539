"""Changes what schemathesis asks before it is sent, and keeps it logged in. Loaded by schemathesis.py."""

import itertools
import json
import os
import time
import urllib.error
import urllib.request

import schemathesis
from schemathesis.generation.meta import CoverageScenario
from schemathesis.specs.openapi.checks import ensure_resource_availability

COUNT = itertools.count(1)
# A token lives ten minutes.
RENEW_AFTER_S = 300
# Logins are what schemathesis asks for, too: those of this address run out, and come back within a minute.
LOGIN_WITHIN_S = 120


def login():
    """An access token of the admin in the environment."""
    who = {"email": os.environ["CHATBUS_ADMIN_EMAIL"], "password": os.environ["CHATBUS_ADMIN_PASSWORD"]}
    request = urllib.request.Request(
        f"{os.environ['CHATBUS_ADMIN_URL']}/v1/auth/login",
        json.dumps(who).encode(),
        {"content-type": "application/json"},
    )
    until = time.monotonic() + LOGIN_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)["access_token"]
        except urllib.error.HTTPError as refused:
            if refused.code != 429 or time.monotonic() > until:
                raise
            time.sleep(int(refused.headers.get("retry-after", 1)))


@schemathesis.auth(refresh_interval=RENEW_AFTER_S)
class Admin:
    """A session that is begun anew before its token ends, however long it all takes."""

    def get(self, case, context):
        return login()

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.check
def what_was_made_is_there(ctx, response, case):
    """What was not deleted is nothing to restore (404), also if it was made a moment ago."""
    if case.operation.definition.raw["operationId"].startswith("restore_"):
        return None
    return ensure_resource_availability(ctx, response, case)


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key that was used for the same request before gets the answer of then, about what may be deleted since."""
    for name in list(case.headers or {}):
        if name.lower() == "idempotency-key" and case.headers[name]:
            case.headers[name] = f"{case.headers[name]}{next(COUNT)}"
    # Of a method that is not there the method alone is asked about: it came with headers that are no HTTP, which is
    # answered before anybody looks at the method.
    data = case.meta.phase.data if case.meta else None
    if getattr(data, "scenario", None) == CoverageScenario.UNSPECIFIED_HTTP_METHOD:
        for name in [name for name in case.headers if name.lower() != "authorization"]:
            del case.headers[name]
