#!/usr/bin/env bash
# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later
# Build, boot and verify, or verify what others built. All inputs are looked at first: a run may take an hour.
# 0 and 1 are verdicts, which report.sh ends with; anything else ends here.
# shellcheck source=ci/common.sh
source "$(dirname "$0")/common.sh"

number() {
  [[ -z $2 || $2 =~ ^[0-9]+$ ]] || fail "$1: '$2' is no number"
}
# Add the files that a pattern names.
kernels() {
  local IFS='' path found
  # Unquoted: file names shall come of it, and nothing else can; an empty IFS splits no words.
  # shellcheck disable=SC2206
  found=($1)
  for path in "${found[@]}"; do
    [ "$path" = running ] || [ -e "$path" ] || fail "kernel: '$path' is not there"
    words+=("--kernel=$path")
  done
}

number max-btf-bytes "$INPUT_MAX_BTF_BYTES"
number max-lost-functions "$INPUT_MAX_LOST_FUNCTIONS"
number max-lost-modules "$INPUT_MAX_LOST_MODULES"
[[ -z $INPUT_MAX_GROWTH || $INPUT_MAX_GROWTH =~ ^[0-9]+(\.[0-9]+)?%?$ ]] ||
  fail "max-growth: '$INPUT_MAX_GROWTH' is not a percentage, as 2% is"
if [ -n "$INPUT_BASELINE" ]; then
  [ -e "$INPUT_BASELINE" ] || fail "baseline: '$INPUT_BASELINE' is not there"
elif [ -n "$INPUT_MAX_BTF_BYTES$INPUT_MAX_GROWTH$INPUT_MAX_LOST_FUNCTIONS$INPUT_MAX_LOST_MODULES" ]; then
  printf '::notice title=kbtf-ci::no baseline is named, so no budget is held\n'
fi

if [ -n "$INPUT_KERNEL" ]; then
  [ -z "$INPUT_CONFIG$INPUT_DIRECTORY$INPUT_SHA256" ] ||
    fail "kernel is one that others built, config, directory and sha256 say what to build: one of both"
  words=(verify)
  while IFS= read -r pattern; do
    [ -z "$pattern" ] || kernels "$pattern"
  done <<< "$INPUT_KERNEL"
else
  words=(run)
  [ -z "$INPUT_CONFIG" ] || words+=("--config=$INPUT_CONFIG")
  [ -z "$INPUT_DIRECTORY" ] || words+=("--directory=$INPUT_DIRECTORY")
  [ -z "$INPUT_SHA256" ] || words+=("--sha256=$INPUT_SHA256")
fi
[ -z "$INPUT_SUITE" ] || words+=("--suite=$INPUT_SUITE")
[ -z "$INPUT_FAIL_ON" ] || words+=("--fail-on=$INPUT_FAIL_ON")

scratch=$(mktemp -d "$RUNNER_TEMP/kbtf-ci-run.XXXXXX")
# Words as a shell has them, with quotes and backslashes, but for what a shell would expand or run.
# Isolated (-I): it would otherwise take modules from the checked out tree.
python3 -I -S -c '
import os, shlex, sys
for word in shlex.split(os.environ["INPUT_ARGS"]):
    sys.stdout.buffer.write(os.fsencode(word) + b"\0")
' > "$scratch/args" 2> /dev/null || fail "args: a quote is not closed, or nothing follows a backslash"
mapfile -d '' -t args < "$scratch/args"

run=$scratch/run
status=0
kbtf-ci "${words[@]}" "${args[@]}" "--output-dir=$run" || status=$?
output exit-code "$status"
[ ! -e "$run/run.json" ] || output run-directory "$run"
if [ -e "$run/results.json" ]; then
  read -r verified modules < <(python3 -I -S -c '
import json, sys
totals = json.load(open(sys.argv[1]))["totals"]
print(int(totals["verified"]), int(totals["modules"]))
' "$run/results.json")
  output verified "$verified"
  output modules "$modules"
fi
[ "$status" -le 1 ] || exit "$status"
