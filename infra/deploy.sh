#!/usr/bin/env bash
# Deploys one domain of an environment, or what its domains share and then each of them:
#
#   infra/deploy.sh ENV DOMAIN
#   infra/deploy.sh ENV --all
#
# What it is going to run is printed first, as commands of the AWS CLI; with DRY_RUN=1 nothing else happens, but that the AWS CLI,
# where there is one, is asked for the account and for the stacks' tags. Called by make deploy and make deploy-all, after make
# package.
#
#   AWS_REGION           the Region, and if it is not set AWS_DEFAULT_REGION's or that of the AWS CLI's profile
#   SUBSCRIPTIONS        the folder of manifests, instead of infra/subscriptions: who is in {env} is what is deployed
#   PARAMETERS           further parameters of domain.yaml, as "MemorySize=1024 Tracing=Active"
#   PLATFORM_PARAMETERS  further parameters of platform.yaml
#   TAGS                 tags of the stacks, which CloudFormation gives to all that is in them, as "cost-centre=4711 'owner=Payments
#                        Team'", instead of those they have
#   ARTIFACT_KEY         deploy this artifact of the bucket instead of uploading dist/broadcaster.zip: to roll back, or a signed one
#   CANARY_ARTIFACT_KEY  the same for dist/canary.zip; with ARTIFACT_KEY alone the canary stays as it is
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C # or a-z are more than 26

refuse() {
  echo "deploy: $1" >&2
  exit 2
}

if [ $# -ne 2 ] || [ -z "$1" ] || [ -z "$2" ]; then
  echo "usage: make deploy ENV=prod DOMAIN=payments, or make deploy-all ENV=prod; DRY_RUN=1 only prints" >&2
  exit 2
fi
env=$1 dist=${DIST:-dist} # where make package wrote
manifests="${SUBSCRIPTIONS:-infra/subscriptions}/$env"
[[ $env =~ ^[a-z0-9]{1,12}$ ]] || refuse "$env is no environment: lower case letters and digits, at most 12"
[ -d "$manifests" ] || refuse "there is no environment $env: its domains are those with a manifest in $manifests"
domains=("$2")
if [ "$2" = --all ]; then
  shopt -s nullglob
  domains=("$manifests"/*.yaml)
  [ ${#domains[@]} -gt 0 ] || refuse "there is no manifest in $manifests, and so no domain to deploy"
  domains=("${domains[@]##*/}")
  domains=("${domains[@]%.yaml}")
fi
for domain in "${domains[@]}"; do
  [[ ${#domain} -le 22 && $domain =~ ^[a-z0-9]+(-[a-z0-9]+)*$ ]] || refuse "$domain is no domain: lower case letters, digits and single hyphens, at most 22"
  [ -f "$manifests/$domain.yaml" ] || refuse "$manifests/$domain.yaml is missing: a function does not start without its manifest"
done

# listed NAME reads the variable of this name into the array list: words, of which quotes keep one together.
listed() {
  local text=""
  list=()
  [ -z "${!1:-}" ] || text="$(xargs -n 1 printf '%s\n' <<<"${!1}")" || refuse "$1: a quote is not closed"
  [ -z "$text" ] || mapfile -t list <<<"$text"
  for word in "${list[@]}"; do
    [[ $word == ?*=* ]] || refuse "$1: $word is not name=value"
  done
}

# parameters NAME TEMPLATE OWN… does so for parameters. CloudFormation's deploy would leave one that a template does not have, a
# misspelt one, away without a word; those that are set here are nobody else's.
parameters() {
  listed "$1"
  local name known
  known="$(awk '/^[A-Za-z]/ { within = /^Parameters:/ } within && /^  [A-Za-z]+:$/ { gsub(/[ :]/, ""); print }' "$2")"
  for name in "${list[@]%%=*}"; do
    grep -qxF -- "$name" <<<"$known" || refuse "$1: $2 has no parameter $name. It has:"$'\n'"$known"
    [[ " ${*:3} " != *" $name "* ]] || refuse "$1: $name is set by this script: by ENV, DOMAIN, ARTIFACT_KEY or CANARY_ARTIFACT_KEY, and for tables' protection by itself"
  done
}
parameters PLATFORM_PARAMETERS infra/platform.yaml Env
platform_parameters=("${list[@]}")
parameters PARAMETERS infra/domain.yaml Env Domain ArtifactBucket ArtifactKey CanaryArtifactKey DeletionProtection
domain_parameters=("${list[@]}")
listed TAGS
tags=("${list[@]}")

run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [ "${DRY_RUN:-}" = 1 ] || "$@"
}

# One Region for every call: not each version of the AWS CLI reads AWS_REGION.
region="${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region 2>/dev/null || true)}}"
account=""
if [ -n "$region" ] && command -v aws >/dev/null; then
  account="$(aws --region "$region" sts get-caller-identity --query Account --output text)" || [ "${DRY_RUN:-}" = 1 ] || refuse "the AWS CLI has no credentials that work"
fi
if [ "${DRY_RUN:-}" != 1 ]; then
  [ -n "$region" ] || refuse "no Region is set: set AWS_REGION"
  [ -n "$account" ] || refuse "the AWS CLI is not installed"
fi
bucket="$env-secret-broadcaster-${account:-ACCOUNT}-${region:-REGION}"
aws=(aws --region "${region:-REGION}")
echo "deploying $env, ${domains[*]}, to account ${account:-ACCOUNT (not known)}, Region ${region:-REGION (not set)}"

# look STACK sets is to its status and has to its tags; is stays empty if there is no such stack.
look() {
  local found
  is=unknown has=()
  [ -n "$account" ] || return 0
  if found="$("${aws[@]}" cloudformation describe-stacks --stack-name "$1" --output text \
    --query "Stacks[0].[StackStatus, Tags[?!starts_with(Key, 'aws:')].join('=', [Key, Value])][]" 2>&1)"; then
    IFS=$'\t' read -ra has <<<"$found"
    is=${has[0]} has=("${has[@]:1}")
    [[ ${has[*]-} != None ]] || has=()
  elif [[ $found == *"does not exist"* ]]; then
    is=""
  else
    refuse "$found"
  fi
  [ "$is" != ROLLBACK_COMPLETE ] || refuse "$1 could not be made the last time. What was wrong is in its events; then remove it: ${aws[*]} cloudformation delete-stack --stack-name $1"
}

# stack NAME TEMPLATE PARAMETER… makes or changes the stack that was looked at. It keeps its tags, which CloudFormation would take away.
stack() {
  local tagged=("${tags[@]}") carried=()
  [ ${#tagged[@]} -gt 0 ] || tagged=("${has[@]}")
  [ ${#tagged[@]} -eq 0 ] || tagged=(--tags "${tagged[@]}")
  [ "$2" = infra/platform.yaml ] || carried=(--s3-bucket "$bucket" --s3-prefix templates) # as it stands, a template may have 51,200 bytes
  run "${aws[@]}" cloudformation deploy --stack-name "$1" --template-file "$2" "${carried[@]}" \
    --capabilities CAPABILITY_NAMED_IAM --no-fail-on-empty-changeset "${tagged[@]}" --parameter-overrides "${@:3}"
}

if [ "$2" = --all ]; then
  look "secret-broadcaster-$env"
  stack "secret-broadcaster-$env" infra/platform.yaml "Env=$env" "${platform_parameters[@]}"
fi
# upload NAME puts an artifact into the bucket under its SHA-256 and its bill of materials beside it, and sets key.
upload() {
  local digest
  digest="$(sha256sum "$dist/$1.zip" | cut -d ' ' -f 1)"
  key="artifacts/$digest.zip"
  run "${aws[@]}" s3api put-object --bucket "$bucket" --key "$key" --body "$dist/$1.zip"
  run "${aws[@]}" s3api put-object --bucket "$bucket" --key "artifacts/$digest.cdx.json" --body "$dist/$1.cdx.json"
}

key="${ARTIFACT_KEY:-}"
[ -n "$key" ] || upload broadcaster
artifacts=("ArtifactBucket=$bucket" "ArtifactKey=$key")
key="${CANARY_ARTIFACT_KEY:-}"
[ -n "$key${ARTIFACT_KEY:-}" ] || upload canary
[ -z "$key" ] || artifacts+=("CanaryArtifactKey=$key")
for domain in "${domains[@]}"; do
  name="secret-broadcaster-$env-$domain"
  with=("Env=$env" "Domain=$domain" "${artifacts[@]}" "${domain_parameters[@]}")
  look "$name"
  # Tables are protected once all is there: a first deployment that fails takes its tables away again.
  [[ -n $is && $is != REVIEW_IN_PROGRESS ]] || stack "$name" infra/domain.yaml "${with[@]}" DeletionProtection=false
  stack "$name" infra/domain.yaml "${with[@]}" DeletionProtection=true
  # From here on CloudFormation itself refuses to replace or remove a table.
  run "${aws[@]}" cloudformation set-stack-policy --stack-name "$name" --stack-policy-body file://infra/stack-policy.json
done
