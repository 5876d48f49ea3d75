#!/usr/bin/env bash
# Sets the version of a service by GraphQL, and waits for the end of that deployment: deploy.sh STACK SERVICE=TAG
# SKEP_SERVER and SKEP_TOKEN say where and who. It needs curl and jq.
set -euo pipefail

ask() { # ask QUERY VARIABLES
  jq -n --arg query "$1" --argjson variables "$2" '{$query, $variables}' |
    curl -fsS "$SKEP_SERVER/graphql" -H "Authorization: Bearer $SKEP_TOKEN" -H 'Content-Type: application/json' -d @-
}

input=$(jq -n --arg stack "$1" --arg service "${2%%=*}" --arg version "${2#*=}" --arg key "$(date +%s%N)" \
  '{input: {stack: {name: $stack}, images: [{$service, $version}], reason: "deploy.sh", idempotencyKey: $key}}')
# shellcheck disable=SC2016
answer=$(ask 'mutation($input: DeployStackInput!) {
  deployStack(input: $input) { deployment { id } userErrors { message hint } }
}' "$input")
jq -r '.data.deployStack.userErrors[] | "error: \(.message)\nhint: \(.hint // "")"' <<<"$answer" >&2
id=$(jq -er .data.deployStack.deployment.id <<<"$answer")

while :; do
  # shellcheck disable=SC2016
  found=$(ask 'query($id: ID!) { deployment(id: $id) { phase message finishedAt } }' "$(jq -n --arg id "$id" '{$id}')")
  phase=$(jq -r .data.deployment.phase <<<"$found")
  if [ "$(jq -r .data.deployment.finishedAt <<<"$found")" != null ]; then
    break
  fi
  sleep 0.5
done
echo "$id $phase: $(jq -r '.data.deployment.message // ""' <<<"$found")"
[ "$phase" = Converged ]
