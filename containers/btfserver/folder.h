/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef KBTF_CI_BTFSERVER_FOLDER_H
#define KBTF_CI_BTFSERVER_FOLDER_H

/*
 * The folder for the sockets of servers: KBTF_CI_BTF_SERVER; where that is not set and this program is made with
 * SERVES=y, one of this user's. NULL where there is to be no server. It need not be there yet.
 */
const char *server_folder(void);

/* Removes what servers of long ago have left in it: each vmlinux has a socket and a lock of its own name. */
void tidy_folder(int folder);

#endif
