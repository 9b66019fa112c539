"""Changes what schemathesis asks before it is sent. Loaded by schemathesis.py."""

import itertools

import schemathesis

COUNT = itertools.count(1)


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key that was used for the same request before gets the answer of then, about what may be deleted since."""
    for name in list(case.headers or {}):
        if name.lower() == "idempotency-key" and case.headers[name]:
            case.headers[name] = f"{case.headers[name]}{next(COUNT)}"
