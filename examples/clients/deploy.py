#!/usr/bin/env python3
"""Sets the version of a service by GraphQL, and waits for the end of that deployment: deploy.py STACK SERVICE=TAG

SKEP_SERVER and SKEP_TOKEN say where and who. Nothing but Python is needed.
"""

import json
import os
import sys
import time
import urllib.request
import uuid


def ask(query, variables):
    request = urllib.request.Request(
        os.environ["SKEP_SERVER"] + "/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Authorization": "Bearer " + os.environ["SKEP_TOKEN"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)
    if found.get("errors"):
        sys.exit("error: " + found["errors"][0]["message"])
    return found["data"]


DEPLOY = """
mutation($input: DeployStackInput!) {
  deployStack(input: $input) { deployment { id } userErrors { message hint } }
}
"""
FOLLOW = "query($id: ID!) { deployment(id: $id) { phase message finishedAt failure { class node error } } }"

stack, image = sys.argv[1:]
service, _, version = image.partition("=")
# Under one key a request works once, however often it is sent.
deploy = {
    "stack": {"name": stack},
    "images": [{"service": service, "version": version}],
    "reason": "deploy.py",
    "idempotencyKey": str(uuid.uuid4()),
}
answer = ask(DEPLOY, {"input": deploy})["deployStack"]
for error in answer["userErrors"]:
    sys.exit(f"error: {error['message']}\nhint: {error['hint']}")

while True:
    deployment = ask(FOLLOW, {"id": answer["deployment"]["id"]})["deployment"]
    if deployment["finishedAt"]:
        break
    time.sleep(0.5)
print(answer["deployment"]["id"], deployment["phase"], deployment["message"] or "")
if deployment["failure"]:
    print(json.dumps(deployment["failure"]), file=sys.stderr)
sys.exit(deployment["phase"] != "Converged")
