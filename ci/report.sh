#!/usr/bin/env bash
# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later
# Put the run beside the baseline, and end with the verdict. The run's own summary kbtf-ci has written itself.
# shellcheck source=ci/common.sh
source "$(dirname "$0")/common.sh"

code=$RUN_EXIT_CODE
if [ -n "$INPUT_BASELINE" ]; then
  words=("$RUN_DIRECTORY" "--baseline=$INPUT_BASELINE")
  [ -z "$INPUT_MAX_BTF_BYTES" ] || words+=("--max-btf-bytes=$INPUT_MAX_BTF_BYTES")
  [ -z "$INPUT_MAX_GROWTH" ] || words+=("--max-growth=$INPUT_MAX_GROWTH")
  [ -z "$INPUT_MAX_LOST_FUNCTIONS" ] || words+=("--max-lost-functions=$INPUT_MAX_LOST_FUNCTIONS")
  [ -z "$INPUT_MAX_LOST_MODULES" ] || words+=("--max-lost-modules=$INPUT_MAX_LOST_MODULES")
  compared=0
  kbtf-ci report "${words[@]}" || compared=$?
  if [ "$compared" -le 1 ]; then
    kbtf-ci report "${words[@]}" --markdown > "$RUN_DIRECTORY/comparison.md" || [ $? = 1 ]
    # A summary above 1 MiB is refused as a whole.
    head -c 1000000 "$RUN_DIRECTORY/comparison.md" >> "${GITHUB_STEP_SUMMARY:-/dev/null}"
  fi
  [ "$code" != 0 ] || code=$compared
fi
output exit-code "$code"
exit "$code"
