#!/usr/bin/env bash
# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later
# The kbtf-ci that this action comes with, in an environment of its own; of that only kbtf-ci gets into PATH.
# Python is called isolated (-I): it would otherwise take modules from the checked out tree.
# shellcheck source=ci/common.sh
source "$(dirname "$0")/common.sh"

either install "$INPUT_INSTALL"
if [ "$INPUT_INSTALL" = false ]; then
  kbtf-ci --version || fail "install: it is false, and PATH has no kbtf-ci that runs"
  exit
fi
python3 -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "kbtf-ci needs Python 3.11 or newer: put actions/setup-python before it"
root=$(cd "$(dirname "$0")/.." && pwd)
own=$RUNNER_TEMP/kbtf-ci
python3 -I -m venv "$own/venv" || fail "python3 -m venv does not work here: install python3-venv"
"$own/venv/bin/python" -I -m pip install --quiet --disable-pip-version-check \
  --constraint "$root/constraints.txt" "$root"
mkdir -p "$own/bin"
ln -sf ../venv/bin/kbtf-ci "$own/bin/kbtf-ci"
"$own/bin/kbtf-ci" --version
printf '%s\n' "$own/bin" >> "$GITHUB_PATH"
