#!/usr/bin/env bash
# Deploys one domain of an environment, or what its domains share and then each of them:
#
#   infra/deploy.sh ENV DOMAIN
#   infra/deploy.sh ENV --all
#
# What it is going to run is printed first, as commands of the AWS CLI; with DRY_RUN=1 nothing else happens. The account and
# the Region are those of the AWS CLI. Called by make deploy and make deploy-all, after make package.
#
#   PARAMETERS           further parameters of domain.yaml, as "MemorySize=1024 Tracing=Active"
#   PLATFORM_PARAMETERS  further parameters of platform.yaml
#   TAGS                 tags of the stacks, which CloudFormation gives to all that is in them, as "cost-centre=4711"
#   ARTIFACT_KEY         deploy this artifact of the bucket instead of uploading dist/broadcaster.zip: to roll back, or a signed one
#   CANARY_ARTIFACT_KEY  the same for dist/canary.zip; with ARTIFACT_KEY alone the canary stays as it is
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -ne 2 ] || [ -z "$1" ] || [ -z "$2" ]; then
  echo "usage: make deploy ENV=prod DOMAIN=payments, or make deploy-all ENV=prod; DRY_RUN=1 only prints" >&2
  exit 2
fi
env=$1
manifests="infra/subscriptions/$env"
if [ ! -d "$manifests" ]; then
  echo "deploy: there is no environment $env: its domains are those with a manifest in $manifests" >&2
  exit 2
fi
if [ "$2" = --all ]; then
  domains=()
  for manifest in "$manifests"/*.yaml; do
    domains+=("$(basename "$manifest" .yaml)")
  done
else
  domains=("$2")
  if [ ! -f "$manifests/$2.yaml" ]; then
    echo "deploy: $manifests/$2.yaml is missing: a function does not start without its manifest" >&2
    exit 2
  fi
fi
read -ra parameters <<<"${PARAMETERS:-}"
read -ra platform_parameters <<<"${PLATFORM_PARAMETERS:-}"
read -ra tags <<<"${TAGS:-}"
[ "${#tags[@]}" -eq 0 ] || tags=(--tags "${tags[@]}")

run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [ "${DRY_RUN:-}" = 1 ] || "$@"
}

# Without AWS the account and the Region are not known.
account=ACCOUNT region=REGION
if [ "${DRY_RUN:-}" != 1 ]; then
  account="$(aws sts get-caller-identity --query Account --output text)"
  region="${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region)}}"
fi
bucket="$env-secret-broadcaster-$account-$region"
echo "deploying $env, ${domains[*]}, to account $account, Region $region"

if [ "$2" = --all ]; then
  run aws cloudformation deploy --stack-name "secret-broadcaster-$env" --template-file infra/platform.yaml \
    --capabilities CAPABILITY_NAMED_IAM --no-fail-on-empty-changeset "${tags[@]}" \
    --parameter-overrides "Env=$env" "${platform_parameters[@]}"
fi
# upload NAME puts an artifact into the bucket under its SHA-256 and its bill of materials beside it, and sets key.
upload() {
  local digest
  digest="$(sha256sum "dist/$1.zip" | cut -d ' ' -f 1)"
  key="artifacts/$digest.zip"
  run aws s3api put-object --bucket "$bucket" --key "$key" --body "dist/$1.zip"
  run aws s3api put-object --bucket "$bucket" --key "artifacts/$digest.cdx.json" --body "dist/$1.cdx.json"
}

key="${ARTIFACT_KEY:-}"
[ -n "$key" ] || upload broadcaster
artifacts=("ArtifactBucket=$bucket" "ArtifactKey=$key")
key="${CANARY_ARTIFACT_KEY:-}"
[ -n "$key${ARTIFACT_KEY:-}" ] || upload canary
[ -z "$key" ] || artifacts+=("CanaryArtifactKey=$key")
for domain in "${domains[@]}"; do
  stack="secret-broadcaster-$env-$domain"
  run aws cloudformation deploy --stack-name "$stack" --template-file infra/domain.yaml \
    --capabilities CAPABILITY_NAMED_IAM --no-fail-on-empty-changeset "${tags[@]}" \
    --parameter-overrides "Env=$env" "Domain=$domain" "${artifacts[@]}" "${parameters[@]}"
  # From here on CloudFormation itself refuses to replace or remove a table.
  run aws cloudformation set-stack-policy --stack-name "$stack" --stack-policy-body file://infra/stack-policy.json
done
