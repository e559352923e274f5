"""The demo's Python function: a team's code as it is written for AWS's Parameters and Secrets extension, with nothing
installed. Below it stands what Lambda's own Python runtime does."""

import hashlib
import hmac
import json
import os
import urllib.parse
import urllib.request

PORT = os.environ["PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"]
# No proxy of the machine stands between the function and its own address.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get_secret(name):
    request = urllib.request.Request(
        f"http://localhost:{PORT}/secretsmanager/get?secretId={urllib.parse.quote_plus(name)}",
        headers={"X-Aws-Parameters-Secrets-Token": os.environ["AWS_SESSION_TOKEN"]},
    )
    with http.open(request) as answer:
        return json.loads(answer.read())["SecretString"]


def use(name, challenge):
    """Proves which value is in use, as a login does, without showing it."""
    try:
        return {"name": name, "proof": hmac.new(get_secret(name).encode(), challenge.encode(), hashlib.sha256).hexdigest()}
    except Exception as error:
        return {"name": name, "error": repr(error)}


def handler(event):
    return {"pid": os.getpid(), "values": [use(name, event["challenge"]) for name in event["read"]]}


def run():
    """What stands in for Lambda's runtime: the next event, the handler, its answer."""
    api = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
    while True:
        with http.open(f"{api}/next") as answer:
            request_id, event = answer.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(answer.read())
        with http.open(f"{api}/{request_id}/response", data=json.dumps(handler(event)).encode()):
            pass


if __name__ == "__main__":
    run()
