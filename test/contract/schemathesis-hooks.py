import itertools
import json

import schemathesis

calls = itertools.count()


@schemathesis.deserializer("application/ejson")
def deserialize_ejson(ctx, response):
    # Plain JSON, in which MongoDB's extended types are objects.
    return json.loads(response.content)


@schemathesis.hook
def before_call(context, case, kwargs):
    # The same few keys and versions come with every body, and are answered 409 and 412 before anything else is looked at.
    if next(calls) % 5 > 0:
        for name in ("Idempotency-Key", "if-match"):
            case.headers.pop(name, None)
