"""What statuses an answer may have. Loaded by the hooks of run.py."""

import schemathesis

# Of requests that are too long to be read.
OF_ALL = {"413", "414", "431"}


@schemathesis.check
def status_is_documented(ctx, response, case):
    """By number: its own `status_code_conformance` takes whatever comes where a `default` is documented."""
    if case.method.lower() != case.operation.method.lower():
        return
    documented = set(case.operation.definition.raw["responses"]) - {"default"}
    status = str(response.status_code)
    if status not in documented | OF_ALL:
        raise AssertionError(f"{status} is none of {sorted(documented)}")
