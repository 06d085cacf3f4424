#!/bin/sh
# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots this bundle's kernel in QEMU, lets it load the module, and compares what it says with what was recorded.
# Needs @PROGRAM@ alone; ACCEL=kvm where that works. Exit status: 0 the same, 1 not, 2 no answer.
cd "$(dirname "$0")" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 2' INT TERM
accel=${ACCEL:-@ACCEL@}
case $accel in
kvm) cpu=host ;;
*) cpu=@CPU@ ;;
esac

@QEMU@ </dev/null >"$work/console" 2>&1

# Lines on the module's BTF, and what came of the load.
tr -d '\r' <"$work/console" | sed -n 's/^.*kbtf-ci: bundle //p' >"$work/said"
if ! grep -qx end "$work/said"; then
    echo "the guest did not come to the end; its console ends with:"
    tail -n 20 "$work/console"
    exit 2
fi
grep -E '^(errno|sysfs) |^log (@ON_BTF@)' "$work/said" >"$work/seen"
cat "$work/seen"
if cmp -s expected.txt "$work/seen"; then
    echo "the same as recorded"
else
    echo "NOT the same as recorded in expected.txt:"
    diff expected.txt "$work/seen"
    exit 1
fi
