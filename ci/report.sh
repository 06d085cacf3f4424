#!/usr/bin/env bash
# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later
# Put the run beside the baseline, and end with the verdict. Annotations and summaries kbtf-ci writes itself.
# shellcheck source=ci/common.sh
source "$(dirname "$0")/common.sh"

code=$RUN_EXIT_CODE
if [ -n "$INPUT_BASELINE" ]; then
  words=("$RUN_DIRECTORY" "--baseline=$INPUT_BASELINE" "--html=$RUN_DIRECTORY/comparison.html")
  [ -z "$INPUT_MAX_BTF_BYTES" ] || words+=("--max-btf-bytes=$INPUT_MAX_BTF_BYTES")
  [ -z "$INPUT_MAX_GROWTH" ] || words+=("--max-growth=$INPUT_MAX_GROWTH")
  [ -z "$INPUT_MAX_LOST_FUNCTIONS" ] || words+=("--max-lost-functions=$INPUT_MAX_LOST_FUNCTIONS")
  [ -z "$INPUT_MAX_LOST_MODULES" ] || words+=("--max-lost-modules=$INPUT_MAX_LOST_MODULES")
  compared=0
  kbtf-ci report "${words[@]}" || compared=$?
  [ "$code" != 0 ] || code=$compared
fi
output exit-code "$code"
exit "$code"
