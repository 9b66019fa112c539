"""Makes schemathesis a visitor with a conversation of their own. Loaded by run.py."""

import base64
import itertools
import os

import schemathesis
import status  # noqa: F401
from logging_in import post

EDGE = os.environ["CHATBUS_EDGE_URLS"].split(",")[0]
COUNT = itertools.count(1)


def session():
    """A visitor's token, and the id of their conversation."""
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    wish = {"widget_key": os.environ["CHATBUS_WIDGET_KEY"], "visitor_key": key, "initial_message": "Hello"}
    opened = post(f"{EDGE}/v1/widget/session", wish)
    return opened["token"], opened["conversation"]["id"]


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
