"""Reads secrets in the ways of Python functions, with the packages as they are. Each line it is given is a way and a
secret's name; each line it answers is what came of it."""

import json
import os
import sys
import urllib.parse
import urllib.request

import boto3
from aws_lambda_powertools.utilities import parameters
from aws_secretsmanager_caching import SecretCache, SecretCacheConfig

client = boto3.client("secretsmanager")
provider = parameters.SecretsProvider()
# Its hour is the time that it would serve a value without asking: turned down, it asks each time which version is current.
cache = SecretCache(SecretCacheConfig(secret_refresh_interval=0), client)


def over_http(name):
    """As code written for AWS's Parameters and Secrets extension."""
    port = os.environ["PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"]
    request = urllib.request.Request(
        f"http://localhost:{port}/secretsmanager/get?secretId={urllib.parse.quote_plus(name)}",
        headers={"X-Aws-Parameters-Secrets-Token": os.environ["AWS_SESSION_TOKEN"]},
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())["SecretString"]


ways = {
    "sdk": lambda name: client.get_secret_value(SecretId=name)["SecretString"],
    "sdk-batch": lambda name: client.batch_get_secret_value(SecretIdList=[name])["SecretValues"][0]["SecretString"],
    "powertools": lambda name: parameters.get_secret(name),
    "powertools-provider": lambda name: provider.get(name),
    "caching": cache.get_secret_string,
    "http": over_http,
}

for line in sys.stdin:
    way, name = line.split()
    try:
        print(json.dumps({"value": ways[way](name)}), flush=True)
    except Exception as error:  # noqa: BLE001 - the test judges it
        print(json.dumps({"error": repr(error)}), flush=True)
