# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What the steps of action.yml share. Their inputs come as variables alone (INPUT_...), never as text of a script.
set -euo pipefail

# End the step with 2 and one line, whatever stands in it ("Workflow commands", escaping of data).
fail() {
  local text=$1
  text=${text//'%'/'%25'}
  text=${text//$'\r'/'%0D'}
  text=${text//$'\n'/'%0A'}
  printf '::error title=kbtf-ci::%s\n' "$text"
  output exit-code 2
  exit 2
}

# Set an output between lines that its value cannot hold.
output() {
  local line
  line=kbtf-ci-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s<<%s\n%s\n%s\n' "$1" "$line" "$2" "$line" >> "$GITHUB_OUTPUT"
}

# Hold an input to true or false.
either() {
  case $2 in
    true | false) ;;
    *) fail "$1: '$2' is neither true nor false" ;;
  esac
}
