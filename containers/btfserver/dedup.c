/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libbpf's btf__dedup() of a split BTF begins with all of the base: it hashes each type into a table, which for
 * a distribution's kernel is half of what is left of a module's encoding. What it does is the same for every
 * module, so it is done once, by an unmodified libbpf:
 *
 *	The server has it dedup an empty split BTF, on a stack of its own. btf_dedup_new() allocates two arrays
 *	by the number of types, btf_dedup_prep() an entry for each type of the base that is hashed. In the
 *	allocation of the last of these entries the call is left standing.
 *
 *	A child gets that very split BTF when pahole asks for an empty one. When pahole has filled it and asks
 *	for its dedup, the two arrays are filled up for its types as btf_dedup_new() would have done, and the
 *	call goes on.
 *
 * All of that hangs on how libbpf goes about it, and none of it is believed: the number and the sizes of the
 * allocations have to be these, and a server's first dedup is done both ways and compared. Otherwise each child
 * calls btf__dedup() as always.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "dedup.h"

#define KIND(info) (((info) >> 24) & 0x1f) /* include/uapi/linux/btf.h */
#define KIND_VAR 14
#define KIND_DATASEC 15
#define UNPROCESSED UINT32_MAX /* BTF_UNPROCESSED_ID of libbpf's btf.c */
#define ENTRY_BYTES (3 * sizeof(long)) /* struct hashmap_entry of libbpf's hashmap.h */
#define MAPS 2 /* btf_dedup's map and hypot_map */
#define MORE_TYPES (16 << 20) /* of a module */
#define STACK_BYTES (64 << 20) /* structs within structs are compared by recursion */
#define ALIGNED(size) (((size) + 15) & ~(size_t)15)

struct btf_type {
	uint32_t name, info, size;
};

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

/* Memory that is taken from the front and never given back; pages that nothing touched cost nothing. */
struct region {
	char *start, *at, *end;
};

static struct {
	enum { ABSENT, TRACED, STANDING, DONE } state;
	struct btf *base, *split;
	size_t types, hashed; /* of the base */
	struct region entries, others;
	size_t entry_count, map_count;
	uint32_t *maps[MAPS];
	void *buckets; /* of the table, as it stands */
	size_t bucket_bytes;
	bool odd; /* some allocation was not as described */
	ucontext_t caller, dedup;
	int result;
} prepared;

/* Shared by the server and its children: what one of them found out holds for all. */
static struct {
	bool compared, wrong;
} *verdict;

static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* ---- memory ---- */

static bool reserve(struct region *region, size_t bytes)
{
	char *start =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		return false;
	madvise(start, bytes, MADV_HUGEPAGE);
	*region = (struct region){ start, start, start + bytes };
	return true;
}

static void *take(struct region *region, size_t bytes)
{
	char *taken = region->at;

	if (bytes > (size_t)(region->end - taken))
		return NULL;
	region->at += ALIGNED(bytes);
	return taken;
}

static bool within(const struct region *region, const void *address)
{
	return (const char *)address >= region->start && (const char *)address < region->end;
}

/* The call stands still here, in the server; it goes on in a child, whose allocation this then is. */
static void stand(void)
{
	prepared.state = STANDING;
	swapcontext(&prepared.dedup, &prepared.caller);
	prepared.state = DONE;
}

static bool is_last_entry(void)
{
	return prepared.map_count == MAPS && prepared.entry_count + 1 == prepared.hashed;
}

static void *traced_malloc(size_t size)
{
	if (prepared.map_count < MAPS && size == prepared.types * sizeof(uint32_t)) {
		uint32_t *map = take(&prepared.others, size + MORE_TYPES * sizeof(uint32_t));

		prepared.maps[prepared.map_count++] = map;
		return map;
	}
	if (prepared.map_count < MAPS)
		return take(&prepared.others, size);
	prepared.odd |= size != ENTRY_BYTES;
	prepared.entry_count++;
	return take(&prepared.entries, size);
}

static void *traced_calloc(size_t size)
{
	void *zeros = take(&prepared.others, size);

	/* The first is struct btf_dedup, all others are the table's, by which its capacity doubles. */
	prepared.odd |= prepared.buckets && size & (size - 1);
	prepared.buckets = zeros;
	prepared.bucket_bytes = size;
	return zeros;
}

void *malloc(size_t size)
{
	if (prepared.state == TRACED) {
		if (!is_last_entry())
			return traced_malloc(size);
		prepared.odd |= size != ENTRY_BYTES;
		stand();
	}
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return prepared.state == TRACED ? traced_calloc(count * size) : __libc_calloc(count, size);
}

/* Nothing of the table is ever made larger in place: its arrays are replaced. */
void *realloc(void *old, size_t size)
{
	if (within(&prepared.others, old) || within(&prepared.entries, old))
		abort();
	prepared.odd |= prepared.state == TRACED;
	return __libc_realloc(old, size);
}

/*
 * The first entry of the base that is freed says that the dedup is done, and that the whole table goes: it is
 * emptied at once, instead of a hundred thousand entries being touched.
 */
void free(void *old)
{
	if (within(&prepared.entries, old)) {
		if (prepared.buckets)
			memset(prepared.buckets, 0, prepared.bucket_bytes);
		prepared.buckets = NULL;
	} else if (!within(&prepared.others, old)) {
		__libc_free(old);
	}
}

/* ---- in the server ---- */

static const struct btf_type *type_of(const struct btf *btf, uint32_t id)
{
	static const struct btf_type *(*by_id)(const struct btf *, uint32_t);

	if (!by_id)
		by_id = next("btf__type_by_id");
	return by_id(btf, id);
}

static bool is_hashed(const struct btf *btf, uint32_t id)
{
	uint32_t kind = KIND(type_of(btf, id)->info);

	return kind != KIND_VAR && kind != KIND_DATASEC;
}

static int real_dedup(struct btf *btf, const void *options)
{
	int (*real)(struct btf *, const void *) = next("btf__dedup");

	return real(btf, options);
}

static void run_dedup(void)
{
	prepared.state = TRACED;
	prepared.result = real_dedup(prepared.split, NULL);
	if (prepared.state == TRACED)
		prepared.state = ABSENT;
}

static bool prepare_stack(void)
{
	void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (stack == MAP_FAILED || getcontext(&prepared.dedup))
		return false;
	prepared.dedup.uc_stack.ss_sp = stack;
	prepared.dedup.uc_stack.ss_size = STACK_BYTES;
	prepared.dedup.uc_link = &prepared.caller;
	makecontext(&prepared.dedup, run_dedup, 0);
	return true;
}

static bool prepare_memory(void)
{
	size_t table = (prepared.hashed + 16) * (ENTRY_BYTES + 16);
	size_t maps = MAPS * (prepared.types + MORE_TYPES) * sizeof(uint32_t);

	verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return verdict != MAP_FAILED && reserve(&prepared.entries, table) &&
	       reserve(&prepared.others, 2 * table + maps + (1 << 20));
}

void prepare_dedup(struct btf *base)
{
	uint32_t (*count)(const struct btf *) = next("btf__type_cnt");
	struct btf *(*empty_split)(struct btf *) = next("btf__new_empty_split");
	int (*find)(struct btf *, const char *) = next("btf__find_str");

	if (!count || !empty_split || !find || !next("btf__type_by_id") || !next("btf__dedup"))
		return;
	prepared.base = base;
	prepared.types = count(base);
	for (size_t id = 1; id < prepared.types; id++)
		prepared.hashed += is_hashed(base, id);
	prepared.split = prepared.hashed ? empty_split(base) : NULL;
	if (!prepared.split || !prepare_memory() || !prepare_stack())
		return;
	find(prepared.split, "\1"); /* makes it one that can be written to, which the dedup would do */
	swapcontext(&prepared.caller, &prepared.dedup);
	if (prepared.odd && prepared.state == STANDING)
		prepared.state = DONE;
}

bool dedup_is_prepared(void)
{
	return prepared.state == STANDING && !verdict->wrong;
}

/* ---- in a child ---- */

struct btf *btf__new_empty_split(struct btf *base)
{
	static bool given;
	struct btf *(*real)(struct btf *) = next("btf__new_empty_split");

	if (given || base != prepared.base || !dedup_is_prepared())
		return real(base);
	given = true;
	return prepared.split;
}

/* As btf_dedup_new() fills them. */
static bool fill_maps(void)
{
	uint32_t (*count)(const struct btf *) = next("btf__type_cnt");
	size_t types = count(prepared.split);

	if (types > prepared.types + MORE_TYPES)
		return false;
	for (size_t id = prepared.types; id < types; id++) {
		prepared.maps[0][id] = is_hashed(prepared.split, id) ? UNPROCESSED : id;
		prepared.maps[1][id] = UNPROCESSED;
	}
	return true;
}

struct digest {
	uint64_t sum;
	uint32_t size;
	int result;
};

static struct digest digest_of(struct btf *btf, int result)
{
	const void *(*raw)(const struct btf *, uint32_t *) = next("btf__raw_data");
	struct digest digest = { 0xcbf29ce484222325, 0, result };
	const unsigned char *data = raw(btf, &digest.size);

	for (uint32_t i = 0; data && i < digest.size; i++)
		digest.sum = (digest.sum ^ data[i]) * 0x100000001b3;
	return digest;
}

/* What libbpf makes of it without any of this, in a process of its own. */
static bool dedup_elsewhere(struct digest *digest)
{
	int ends[2];
	pid_t child;
	bool done;

	if (pipe(ends))
		return false;
	child = fork();
	if (child == 0) {
		*digest = digest_of(prepared.split, real_dedup(prepared.split, NULL));
		_exit(write(ends[1], digest, sizeof(*digest)) != sizeof(*digest));
	}
	close(ends[1]);
	done = child > 0 && read(ends[0], digest, sizeof(*digest)) == sizeof(*digest);
	close(ends[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
	return done;
}

static int go_on(void)
{
	swapcontext(&prepared.caller, &prepared.dedup);
	return prepared.result;
}

/* Does it both ways; a child that finds them different is no good for anything. */
static int go_on_compared(void)
{
	struct digest expected = { 0 }, found = { 0 };

	if (!dedup_elsewhere(&expected))
		return real_dedup(prepared.split, NULL);
	found = digest_of(prepared.split, go_on());
	if (memcmp(&expected, &found, sizeof(found))) {
		verdict->wrong = true;
		abort();
	}
	verdict->compared = true;
	return found.result;
}

int btf__dedup(struct btf *btf, const void *options)
{
	if (btf != prepared.split || options || !dedup_is_prepared() || !fill_maps())
		return real_dedup(btf, options);
	return verdict->compared ? go_on() : go_on_compared();
}
