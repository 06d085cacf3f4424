/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The questions that prove.c hands on: each is answered with a line. */
#ifndef KBTF_CI_PROVE_H
#define KBTF_CI_PROVE_H

/* ``rest`` is what follows the first two words, for strtok_r(). */
void answer_load(const char *word, char **rest);
void answer_attach(const char *word, char **rest);
void answer_detach(const char *word, char **rest);
void answer_multi(const char *word, char **rest);
void answer_program(const char *word, char **rest);
void answer_call(const char *word, char **rest);
void answer_dead(const char *word, char **rest);
void answer_live(const char *word, char **rest);

#endif
