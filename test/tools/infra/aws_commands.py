"""Asks the AWS CLI whether it takes a command. A line in, {"arguments": ["sqs", …]}; a line out, {"call":
"sqs:ReceiveMessage"} or {"error": "…"}. The CLI reads the command and checks its parameters against AWS's models; where it would send a request, it is
stopped."""

import contextlib
import io
import json
import sys

from awscli.clidriver import create_clidriver


class Stopped(BaseException):
    """Not an Exception, which the CLI would take for an error of the call."""


def stop(model, **_):
    raise Stopped(f"{model.service_model.signing_name}:{model.name}")


def answer(arguments):
    driver = create_clidriver()
    driver.session.register("before-call.*", stop)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            driver.main(arguments)
    except Stopped as call:
        return {"call": str(call)}
    except SystemExit:
        pass
    return {"error": said.getvalue().strip()[-500:] or "it sends nothing"}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line)["arguments"])), flush=True)
