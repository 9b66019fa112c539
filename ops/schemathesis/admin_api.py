"""Changes what schemathesis asks before it is sent, and keeps it logged in. Loaded by run.py."""

import base64
import itertools
import json
import os
import time
import urllib.error
import uuid

import schemathesis
import status  # noqa: F401
from schemathesis.generation.meta import CoverageScenario
from schemathesis.specs.openapi.checks import ensure_resource_availability
from logging_in import post

COUNT = itertools.count(1)
# A token lives ten minutes.
RENEW_AFTER_S = 300

# What ends sessions is asked for by somebody else, who logs in no more often than this.
ENDS_SESSIONS = {"logout", "revoke_session"}
END_EVERY_S = 15


def login(person="ADMIN"):
    """An access token of that person in the environment."""
    who = {"email": os.environ[f"CHATBUS_{person}_EMAIL"], "password": os.environ[f"CHATBUS_{person}_PASSWORD"]}
    return post(f"{os.environ['CHATBUS_ADMIN_URL']}/v1/auth/login", who)["access_token"]


@schemathesis.auth(refresh_interval=RENEW_AFTER_S)
class Admin:
    """A session that is begun anew before its token ends, however long it all takes."""

    tokens = set()

    def get(self, case, context):
        token = login()
        self.tokens.add(f"Bearer {token}")
        return token

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


class Agent:
    """Sessions that are there to be ended; between two of them there is the last one, which is over (401)."""

    def __init__(self):
        self.token, self.until = login("AGENT"), time.monotonic() + END_EVERY_S

    def session(self):
        """The token, and the id of its session."""
        if time.monotonic() > self.until:
            self.until = time.monotonic() + END_EVERY_S
            try:
                self.token = login("AGENT")
            except urllib.error.HTTPError as refused:
                # Whoever deletes agents, as all of this does, may have deleted this one: the last session must do.
                if refused.code != 401:
                    raise
        claims = self.token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return self.token, claims["sid"]


AGENT = Agent()


def end_anothers_session(case):
    """Keeps the session under which all of this runs. A token that is meant to be none stays as it is."""
    name = case.operation.definition.raw["operationId"]
    if name not in ENDS_SESSIONS or (case.headers or {}).get("Authorization") not in Admin.tokens:
        return
    token, session = AGENT.session()
    case.headers["Authorization"] = f"Bearer {token}"
    if name == "revoke_session" and is_uuid(case.path_parameters.get("id")):
        case.path_parameters["id"] = session


def is_uuid(text):
    try:
        return str(uuid.UUID(text)) == text
    except (AttributeError, TypeError, ValueError):
        return False


@schemathesis.check
def what_was_made_is_there(ctx, response, case):
    """What was not deleted is nothing to restore (404), also if it was made a moment ago."""
    if case.operation.definition.raw["operationId"].startswith("restore_"):
        return None
    return ensure_resource_availability(ctx, response, case)


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key that was used for the same request before gets the answer of then, about what may be deleted since."""
    end_anothers_session(case)
    for name in list(case.headers or {}):
        if name.lower() == "idempotency-key" and case.headers[name]:
            case.headers[name] = f"{case.headers[name]}{next(COUNT)}"
    # Of a method that is not there the method alone is asked about: it came with headers that are no HTTP, which is
    # answered before anybody looks at the method.
    data = case.meta.phase.data if case.meta else None
    if getattr(data, "scenario", None) == CoverageScenario.UNSPECIFIED_HTTP_METHOD:
        for name in [name for name in case.headers if name.lower() != "authorization"]:
            del case.headers[name]
