#!/usr/bin/env bash
# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later
# What the caches are kept under; without keys the steps that restore them are passed over.
# shellcheck source=ci/common.sh
source "$(dirname "$0")/common.sh"

either cache "$INPUT_CACHE"
if [ "$INPUT_CACHE" = false ] || [ -n "$INPUT_KERNEL" ]; then
  exit 0 # nothing is built of a kernel that others built
fi
words=(cache-key --github)
[ -z "$INPUT_CONFIG" ] || words+=("--config=$INPUT_CONFIG")
[ -z "$INPUT_DIRECTORY" ] || words+=("--directory=$INPUT_DIRECTORY")
[ -z "$INPUT_SHA256" ] || words+=("--sha256=$INPUT_SHA256")
[ -z "$INPUT_SUITE" ] || words+=("--suite=$INPUT_SUITE")
kbtf-ci "${words[@]}" >> "$GITHUB_OUTPUT"
