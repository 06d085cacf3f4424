/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef KBTF_CI_BTFSERVER_DEDUP_H
#define KBTF_CI_BTFSERVER_DEDUP_H

#include <stdbool.h>

struct btf;

/* Has libbpf hash the types of the base once, for all children; without that, each child has it done again. */
void prepare_dedup(struct btf *base);

/* Whether it is prepared, and was not found to be wrong by any child. */
bool dedup_is_prepared(void);

#endif
