# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Build a kernel, boot it, and prove that the BTF of every module still loads."""

__version__ = "0.1.0"
