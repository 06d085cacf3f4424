# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``python -m kbtf_ci``: the command line, where its script is not in PATH."""

from kbtf_ci.commands.main import main

main()
