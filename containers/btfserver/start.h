/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef KBTF_CI_BTFSERVER_START_H
#define KBTF_CI_BTFSERVER_START_H

#include "client.h"

/* A connection to the server, which is started where there is none; or -1 with *why. */
int reach_server(const struct server *server, const char **why);

#endif
