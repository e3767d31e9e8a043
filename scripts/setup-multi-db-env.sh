#!/usr/bin/env bash
# Sets the variables of this server, and of Studio beside it, in the Railway project this folder is linked to.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/setup-multi-db-env.sh [--dry-run] [--rotate] [options]

  --dry-run              print what would be set, secrets as ****, and change nothing
  --rotate               make new keys; those of now stay valid as *_PREVIOUS. Without it, keys that are there stay
  --service NAME         this server (bun-api)
  --studio NAME          Supabase Studio (studio); '' leaves it out
  --postgres NAME        the service that holds the registry (Postgres)
  --redis NAME           registered once as "redis" (Redis); '' leaves it out
  --mongodb NAME         registered once as "mongodb" (MongoDB); '' leaves it out
  --environment NAME     an environment other than the linked one

Needs the Railway CLI, logged in and linked (railway login, railway link), openssl and grep. Deploys nothing.
TEXT
}

fail() {
  printf 'setup-multi-db-env: %s\n' "$1" >&2
  exit "${2:-1}"
}

dry_run=false
rotate=false
service=bun-api
studio=studio
postgres=Postgres
redis=Redis
mongodb=MongoDB
environment=()

while (($# > 0)); do
  case $1 in
    --dry-run) dry_run=true ;;
    --rotate) rotate=true ;;
    --service | --studio | --postgres | --redis | --mongodb | --environment)
      (($# > 1)) || fail "$1 takes a value" 2
      case $1 in
        --service) service=$2 ;;
        --studio) studio=$2 ;;
        --postgres) postgres=$2 ;;
        --redis) redis=$2 ;;
        --mongodb) mongodb=$2 ;;
        --environment) environment=(--environment "$2") ;;
      esac
      shift
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
  shift
done

[[ -n $service && -n $postgres ]] || fail '--service and --postgres must not be empty' 2
for command in railway openssl grep; do
  command -v "$command" >/dev/null || fail "$command is not installed"
done

# What the service has, KEY=VALUE a line. In a variable alone: it holds secrets.
existing=$(railway variable list --service "$service" ${environment[@]+"${environment[@]}"} --kv) ||
  fail "the variables of $service can't be read: is this folder linked, and is that the name of the service?"

# value_of NAME: the value that is there, or nothing.
value_of() {
  local line
  line=$(grep -m 1 "^$1=" <<<"$existing") || return 0
  printf '%s' "${line#*=}"
}

# put SERVICE NAME VALUE [secret]: through standard input, as arguments are seen by every process of this machine.
put() {
  local shown=$3
  [[ ${4:-} != secret ]] || shown='****'
  printf '%s: %s=%s\n' "$1" "$2" "$shown"
  [[ $dry_run == false ]] || return 0
  printf '%s' "$3" | railway variable set "$2" --stdin --service "$1" ${environment[@]+"${environment[@]}"} --skip-deploys >/dev/null ||
    fail "$2 of $1 could not be set; run this again with the same options"
}

# put_key NAME [several]: a new key where there is none, or for --rotate, which keeps the old one as NAME_PREVIOUS: alone, or first of several.
put_key() {
  local old previous
  old=$(value_of "$1")
  if [[ -n $old && $rotate == false ]]; then
    printf '%s: %s is kept\n' "$service" "$1"
    return
  fi
  if [[ -n $old ]]; then
    previous=$(value_of "${1}_PREVIOUS")
    # What was sealed under the keys before may not have been rewrapped. A run that broke off here has added the old one already.
    if [[ ${2:-} != several || -z $previous ]]; then
      previous=$old
    elif [[ ,$previous, != *",$old,"* ]]; then
      previous=$old,$previous
    fi
    put "$service" "${1}_PREVIOUS" "$previous" secret
  fi
  put "$service" "$1" "$(openssl rand -hex 32)" secret
}

# put_default NAME VALUE: what somebody has set stays.
put_default() {
  if [[ -n $(value_of "$1") ]]; then
    printf '%s: %s is kept\n' "$service" "$1"
  else
    put "$service" "$1" "$2"
  fi
}

put_key MULTI_DB_CRYPTO_KEY several
put_key BUN_API_KEY

# Railway fills ${{…}} in when it deploys. PORT has to be a variable of the service for others to refer to it.
put_default PORT 3000
put_default DATABASE_URL "\${{${postgres}.DATABASE_URL}}"
if [[ -n $redis ]]; then
  put_default REDIS_URL "\${{${redis}.REDIS_URL}}"
fi
if [[ -n $mongodb ]]; then
  put_default MONGODB_URL "\${{${mongodb}.MONGO_URL}}"
fi
put_default ENABLE_REDIS_MANAGEMENT true
put_default ENABLE_MONGODB_MANAGEMENT true
put_default ENABLE_BUN_API_MANAGEMENT true

if [[ -n $studio ]]; then
  put "$studio" BUN_API_URL "http://\${{${service}.RAILWAY_PRIVATE_DOMAIN}}:\${{${service}.PORT}}"
  put "$studio" BUN_API_KEY "\${{${service}.BUN_API_KEY}}"
fi

if [[ $dry_run == true ]]; then
  printf 'Nothing was changed.\n'
else
  printf 'Done. Deploy %s%s for it to take effect.\n' "$service" "${studio:+, then $studio,}"
fi
