/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256: by libcrypto where that is quick in an emulated guest, else by ourselves. */
#ifndef KBTF_CI_SHA256_H
#define KBTF_CI_SHA256_H

#include <stddef.h>

#ifdef __x86_64__
/* With the processor's own instructions, which QEMU does in a few calls a block.
 * libcrypto's present interface would bring all its ciphers into a static program, eight times its size. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#define SHA256_BYTES SHA256_DIGEST_LENGTH
typedef SHA256_CTX sha256;

static inline void sha256_begin(sha256 *sha)
{
	SHA256_Init(sha);
}

static inline void sha256_add(sha256 *sha, const void *data, size_t size)
{
	SHA256_Update(sha, data, size);
}

static inline void sha256_end(sha256 *sha, unsigned char digest[SHA256_BYTES])
{
	SHA256_Final(digest, sha);
}
#else
#include <stdint.h>

#define SHA256_BYTES 32
typedef struct {
	uint32_t state[8];
	uint64_t bytes;
	unsigned char rest[64]; /* of bytes % 64 */
} sha256;

void sha256_begin(sha256 *sha);
void sha256_add(sha256 *sha, const void *data, size_t size);
void sha256_end(sha256 *sha, unsigned char digest[SHA256_BYTES]);
#endif

#endif
