"""Makes schemathesis a visitor with a conversation of their own. Loaded by schemathesis.py."""

import base64
import itertools
import json
import os
import time
import urllib.error
import urllib.request

import schemathesis

EDGE = os.environ["CHATBUS_EDGE_URLS"].split(",")[0]
COUNT = itertools.count(1)
# Sessions are what schemathesis asks for, too: those of this address run out, and come back within a minute.
SESSION_WITHIN_S = 120


def session():
    """A visitor's token, and the id of their conversation."""
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    wish = {"widget_key": os.environ["CHATBUS_WIDGET_KEY"], "visitor_key": key, "initial_message": "Hello"}
    request = urllib.request.Request(
        f"{EDGE}/v1/widget/session", json.dumps(wish).encode(), {"content-type": "application/json"}
    )
    until = time.monotonic() + SESSION_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                opened = json.load(answer)
                return opened["token"], opened["conversation"]["id"]
        except urllib.error.HTTPError as refused:
            if refused.code != 429 or time.monotonic() > until:
                raise
            time.sleep(int(refused.headers.get("retry-after", 1)))


TOKEN, CONVERSATION = session()


@schemathesis.auth()
class Visitor:
    """One for all of it: a visitor's token outlives the run."""

    def get(self, case, context):
        return TOKEN

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context, case, kwargs):
    """Every other request is about the visitor's own conversation: chance would never name it."""
    if "/conversations/{id}" in case.path and next(COUNT) % 2 == 0:
        case.path_parameters["id"] = CONVERSATION
