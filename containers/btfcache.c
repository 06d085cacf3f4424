/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands in the place of pahole for kbuild (make PAHOLE=...) and remembers the BTF of modules by content.
 *
 *	pahole -J FLAGS --btf_base VMLINUX MODULE	(cmd_btf_ko, scripts/Makefile.modfinal)
 *	pahole -J FLAGS --btf_base VMLINUX --btf_encode_detached=FILE MODULE	(scripts/gen-btf.sh, from 7.0 on)
 *
 * is answered from the cache where the module's debug information, VMLINUX's BTF, pahole and FLAGS are all as
 * they were; the section is then written the way pahole itself writes it, or FILE. Every other call, and every
 * doubt, goes to the real pahole. In C, since it runs once a module: an interpreter takes longer to start than
 * all of this.
 *
 *	KBTF_CI_PAHOLE		the real pahole ("pahole")
 *	KBTF_CI_PAHOLE_ID	what tells it from any other; without it nothing is cached
 *	KBTF_CI_BTF_CACHE	the cache's folder; without it nothing is cached
 *	KBTF_CI_BTF_CACHE_MAX	bytes that it may hold (1 GiB)
 *	KBTF_CI_BTF_SERVER	a folder for the sockets of servers (btfserver/), which then run pahole for every
 *				module that is not answered from the cache; without it, or where it is empty,
 *				pahole is started for each. Made with SERVES=y (Makefile), it has a folder of
 *				its own where the variable is not set (btfserver/folder.c)
 *	KBTF_CI_BTF_SERVER_IDLE	seconds without a call after which a server ends (30)
 *
 * It keeps accounts (accounts.h) of the kinds hit, miss, off (a module, not cached) and base (any other file).
 * With a server, miss and off have "+served" behind them, or "+fallback" where pahole itself had to do it; what
 * the server spent on it is of the kind serve, and on its own start of the kind server.
 */
#define _GNU_SOURCE
/* The cost of libcrypto's present interface is its start, once a module. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <dirent.h>
#include <gelf.h>
#include <libelf.h>
#include <openssl/sha.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include "accounts.h"
#include "btfserver/client.h"
#include "btfserver/folder.h"
#include "process.h"

#define BTF ".BTF"
#define BTF_BASE ".BTF.base"
#define DETACHED "--btf_encode_detached="
#define MAGIC "kbtf-ci BTF 1\n\0" /* 16 bytes with the terminator */
#define SHARDS 256 /* each holds an equal share: only one is looked through */
#define MEMOS_BYTES (64 * 4096L)
#define CACHE_BYTES (1L << 30)
#define OBJCOPY_WORDS 16
#define SERVER_IDLE_S 30
#define HEX (2 * SHA256_DIGEST_LENGTH)

struct blob {
	unsigned char *data;
	size_t size;
};

/* What an entry holds; base is empty where there is no such section. They may lie in one file. */
struct sections {
	struct blob btf, base, file;
};

struct header {
	char magic[16];
	uint64_t btf_size, base_size;
	unsigned char digest[SHA256_DIGEST_LENGTH]; /* of key and both sections */
};

/* A call that a server ran: what it spent, and whether it said nothing. */
struct served {
	struct response response;
	bool silent;
};

/* detached is the file that the BTF goes to, NULL where it goes into the module. */
struct call {
	char **argv;
	const char *base, *module, *detached;
};

static void hash_bytes(SHA256_CTX *hash, const void *data, size_t size)
{
	uint64_t length = size;

	SHA256_Update(hash, &length, sizeof(length));
	if (size)
		SHA256_Update(hash, data, size);
}

static void hash_text(SHA256_CTX *hash, const char *text)
{
	hash_bytes(hash, text, strlen(text));
}

static void finish_hex(SHA256_CTX *hash, char hex[HEX + 1])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256_Final(digest, hash);
	for (size_t i = 0; i < sizeof(digest); i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
}

/* ---- files ---- */

/* A path that would be cut is none: it would name another file than is meant. */
__attribute__((format(printf, 2, 3))) static bool make_path(char path[PATH_MAX], const char *format, ...)
{
	va_list values;
	int length;

	va_start(values, format);
	length = vsnprintf(path, PATH_MAX, format, values);
	va_end(values);
	return length >= 0 && length < PATH_MAX;
}

static void drop(struct blob *blob)
{
	free(blob->data);
	*blob = (struct blob){ 0 };
}

/* Room for size bytes; for none as well, so that empty is not taken for failed. */
static bool make_room(struct blob *blob, uintmax_t size)
{
	*blob = (struct blob){ 0 };
	if (size >= SIZE_MAX)
		return false;
	blob->data = malloc((size_t)size + 1);
	return blob->data != NULL;
}

/* Reads the whole file; on failure blob is empty. */
static bool read_all(const char *path, struct blob *blob)
{
	struct stat status;
	size_t size;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	*blob = (struct blob){ 0 };
	if (fd < 0)
		return false;
	if (fstat(fd, &status) || !S_ISREG(status.st_mode) || !make_room(blob, status.st_size)) {
		close(fd);
		return false;
	}
	size = status.st_size;
	while (blob->size < size) {
		ssize_t got = read(fd, blob->data + blob->size, size - blob->size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		blob->size += got;
	}
	close(fd);
	if (blob->size == size)
		return true;
	drop(blob);
	return false;
}

/* Whole or not at all: readers and other writers of the same name never see half a file. */
static bool replace_file(const char *path, const struct blob *parts, int count)
{
	char fresh[PATH_MAX];
	bool done = true;
	int fd;

	if (!make_path(fresh, "%s.XXXXXX", path))
		return false;
	fd = mkstemp(fresh);
	if (fd < 0)
		return false;
	for (int i = 0; i < count; i++)
		done = done && write_all(fd, parts[i].data, parts[i].size);
	done = fchmod(fd, 0644) == 0 && done;
	if (close(fd) || !done || rename(fresh, path)) {
		unlink(fresh);
		return false;
	}
	return true;
}

struct aged {
	char name[NAME_MAX + 1];
	struct timespec used;
	long bytes;
};

static int older_first(const void *left, const void *right)
{
	const struct aged *a = left, *b = right;

	if (a->used.tv_sec != b->used.tv_sec)
		return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
	return (a->used.tv_nsec > b->used.tv_nsec) - (a->used.tv_nsec < b->used.tv_nsec);
}

/* Keep a folder's files below limit bytes on disk; the one unused for longest goes first. */
static void bound(const char *folder, long limit)
{
	struct aged *files = NULL, *more;
	size_t count = 0, room = 0;
	long total = 0;
	struct dirent *entry;
	DIR *listing = opendir(folder);

	while (listing && (entry = readdir(listing))) {
		struct stat status;

		if (fstatat(dirfd(listing), entry->d_name, &status, 0) || !S_ISREG(status.st_mode) ||
		    strlen(entry->d_name) > NAME_MAX)
			continue;
		if (count == room) {
			room = room ? 2 * room : 64;
			more = realloc(files, room * sizeof(*files));
			if (!more)
				break;
			files = more;
		}
		strcpy(files[count].name, entry->d_name);
		files[count].used = status.st_mtim;
		files[count].bytes = status.st_blocks * 512L;
		total += files[count++].bytes;
	}
	if (total > limit) {
		qsort(files, count, sizeof(*files), older_first);
		for (size_t i = 0; i < count && total > limit; i++) {
			unlinkat(dirfd(listing), files[i].name, 0);
			total -= files[i].bytes;
		}
	}
	free(files);
	if (listing)
		closedir(listing);
}

/* ---- ELF ---- */

static Elf *open_elf(const char *path, int *fd)
{
	Elf *elf;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return NULL;
	elf = elf_begin(*fd, ELF_C_READ_MMAP, NULL);
	if (!elf || elf_kind(elf) != ELF_K_ELF) {
		elf_end(elf);
		close(*fd);
		return NULL;
	}
	return elf;
}

/* NULL where it cannot be read. */
static const char *section_name(Elf *elf, size_t names, Elf_Scn *section, GElf_Shdr *header)
{
	return gelf_getshdr(section, header) ? elf_strptr(elf, names, header->sh_name) : NULL;
}

/*
 * Finds a section by its name; false where the file cannot be read as far as that. An absent section is found
 * as NULL.
 */
static bool find_section(Elf *elf, const char *wanted, Elf_Scn **section)
{
	GElf_Shdr header;
	size_t names;

	*section = NULL;
	if (elf_getshdrstrndx(elf, &names))
		return false;
	while ((*section = elf_nextscn(elf, *section))) {
		const char *name = section_name(elf, names, *section, &header);

		if (!name)
			return false;
		if (strcmp(name, wanted) == 0)
			break;
	}
	return true;
}

/* Copies a section's bytes; an absent one leaves the blob empty. */
static bool copy_section(Elf *elf, const char *wanted, struct blob *blob)
{
	Elf_Scn *section;
	Elf_Data *data;

	*blob = (struct blob){ 0 };
	if (!find_section(elf, wanted, &section))
		return false;
	if (!section)
		return true;
	data = elf_rawdata(section, NULL);
	/* A section that says it has no bytes in the file has a size all the same. */
	if (!data || !data->d_buf || !make_room(blob, data->d_size))
		return false;
	blob->size = data->d_size;
	memcpy(blob->data, data->d_buf, data->d_size);
	return true;
}

/* pahole reads DWARF with its relocations, symbols, and .BTF_ids (for kfuncs) of a module. */
static bool content_counts(const char *name, const GElf_Shdr *header)
{
	return starts_with(name, ".debug_") || starts_with(name, ".rel.debug_") ||
	       starts_with(name, ".rela.debug_") || strstr(name, ".BTF_ids") ||
	       header->sh_type == SHT_SYMTAB || strcmp(name, ".strtab") == 0;
}

/*
 * Of all other sections it sees name, place and size (percpu variables). Their offsets in the file and their
 * links do not count: they move when .BTF itself is put in.
 */
static bool hash_section(SHA256_CTX *hash, const char *name, const GElf_Shdr *header, Elf_Scn *section)
{
	uint64_t facts[] = { header->sh_type, header->sh_flags, header->sh_addr, header->sh_size };
	Elf_Data *data;

	if (!*name || !strcmp(name, BTF) || !strcmp(name, BTF_BASE) || !strcmp(name, ".shstrtab"))
		return true;
	hash_text(hash, name);
	hash_bytes(hash, facts, sizeof(facts));
	if (!content_counts(name, header))
		return true;
	data = elf_rawdata(section, NULL);
	if (!data || (data->d_size && !data->d_buf))
		return false;
	hash_bytes(hash, data->d_buf, data->d_size);
	return true;
}

static bool hash_sections(SHA256_CTX *hash, Elf *elf)
{
	Elf_Scn *section = NULL;
	GElf_Ehdr ehdr;
	GElf_Shdr header;
	size_t names;

	if (!gelf_getehdr(elf, &ehdr) || elf_getshdrstrndx(elf, &names))
		return false;
	hash_bytes(hash, ehdr.e_ident, EI_NIDENT);
	hash_bytes(hash, &ehdr.e_machine, sizeof(ehdr.e_machine));
	while ((section = elf_nextscn(elf, section))) {
		const char *name = section_name(elf, names, section, &header);

		if (!name || !hash_section(hash, name, &header, section))
			return false;
	}
	return true;
}

static bool hash_module(SHA256_CTX *hash, const char *path)
{
	bool done;
	int fd;
	Elf *elf = open_elf(path, &fd);

	if (!elf)
		return false;
	done = hash_sections(hash, elf);
	elf_end(elf);
	close(fd);
	return done;
}

static bool hash_btf_of(SHA256_CTX *hash, const char *path)
{
	struct blob btf = { 0 };
	bool done;
	int fd;
	Elf *elf = open_elf(path, &fd);

	if (!elf)
		return false;
	done = copy_section(elf, BTF, &btf) && btf.size;
	elf_end(elf);
	close(fd);
	if (done)
		hash_bytes(hash, btf.data, btf.size);
	drop(&btf);
	return done;
}

/* ---- the key ---- */

/*
 * vmlinux holds megabytes of BTF, the same for every module: it is read once, and known again by what make
 * would know it by, its inode and its change time, which no one can set back. A memo is a file of that name with
 * the BTF's hash and a sum over both, so that one file's memo is never taken for another's.
 */
struct memo {
	char folder[PATH_MAX], path[PATH_MAX], name[HEX + 1];
};

static bool make_memo(struct memo *memo, const char *cache, const char *vmlinux)
{
	struct stat status;
	SHA256_CTX hash;

	if (stat(vmlinux, &status))
		return false;
	uint64_t facts[] = {
		status.st_dev,		status.st_ino,	       status.st_size,	       status.st_mtim.tv_sec,
		status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
	};
	SHA256_Init(&hash);
	hash_bytes(&hash, facts, sizeof(facts));
	finish_hex(&hash, memo->name);
	return make_path(memo->folder, "%s/base", cache) &&
	       make_path(memo->path, "%s/%s", memo->folder, memo->name);
}

static void sum_memo(const struct memo *memo, const void *hex, char sum[HEX + 1])
{
	SHA256_CTX hash;

	SHA256_Init(&hash);
	hash_text(&hash, memo->name);
	hash_bytes(&hash, hex, HEX);
	finish_hex(&hash, sum);
}

static bool recall(const struct memo *memo, char hex[HEX + 1])
{
	struct blob known;
	char sum[HEX + 1];
	bool sound = false;

	if (!read_all(memo->path, &known))
		return false;
	if (known.size == 2 * HEX) {
		sum_memo(memo, known.data, sum);
		sound = memcmp(sum, known.data + HEX, HEX) == 0;
	}
	if (sound)
		snprintf(hex, HEX + 1, "%.*s", HEX, (char *)known.data);
	drop(&known);
	return sound;
}

static void remember(const struct memo *memo, char hex[HEX + 1])
{
	char sum[HEX + 1];
	struct blob parts[] = { { (unsigned char *)hex, HEX }, { (unsigned char *)sum, HEX } };

	sum_memo(memo, hex, sum);
	mkdir(memo->folder, 0755);
	if (replace_file(memo->path, parts, 2))
		bound(memo->folder, MEMOS_BYTES);
}

static bool hash_base(SHA256_CTX *hash, const char *cache, const char *vmlinux)
{
	struct memo memo;
	SHA256_CTX inner;
	char hex[HEX + 1];

	if (!make_memo(&memo, cache, vmlinux))
		return false;
	if (!recall(&memo, hex)) {
		SHA256_Init(&inner);
		if (!hash_btf_of(&inner, vmlinux))
			return false;
		finish_hex(&inner, hex);
		remember(&memo, hex);
	}
	hash_bytes(hash, hex, HEX);
	return true;
}

static bool make_key(const struct call *call, const char *cache, char key[HEX + 1])
{
	const char *identity = variable("KBTF_CI_PAHOLE_ID");
	SHA256_CTX hash;

	if (!identity)
		return false;
	SHA256_Init(&hash);
	hash_text(&hash, MAGIC);
	hash_text(&hash, identity);
	for (char **word = call->argv + 1; *word; word++)
		if (starts_with(*word, DETACHED))
			hash_text(&hash, DETACHED);
		else if (*word != call->module && *word != call->base)
			hash_text(&hash, *word);
	if (!hash_base(&hash, cache, call->base) || !hash_module(&hash, call->module))
		return false;
	finish_hex(&hash, key);
	return true;
}

/* ---- entries ---- */

static void digest_entry(const char *key, const struct sections *held,
			 unsigned char digest[SHA256_DIGEST_LENGTH])
{
	SHA256_CTX hash;

	SHA256_Init(&hash);
	hash_text(&hash, key);
	hash_bytes(&hash, held->btf.data, held->btf.size);
	hash_bytes(&hash, held->base.data, held->base.size);
	SHA256_Final(digest, &hash);
}

static void drop_sections(struct sections *held)
{
	if (!held->file.data) {
		drop(&held->btf);
		drop(&held->base);
	}
	drop(&held->file);
	*held = (struct sections){ 0 };
}

/* Points held's sections into its file; false where that is no entry of this key, whole. */
static bool divide_entry(const char *key, struct sections *held)
{
	unsigned char digest[SHA256_DIGEST_LENGTH], *data = held->file.data;
	struct header header;
	uint64_t rest;

	if (held->file.size < sizeof(header))
		return false;
	memcpy(&header, data, sizeof(header));
	rest = held->file.size - sizeof(header);
	if (memcmp(header.magic, MAGIC, sizeof(header.magic)) || header.btf_size > rest ||
	    header.base_size != rest - header.btf_size || !header.btf_size)
		return false;
	held->btf = (struct blob){ data + sizeof(header), header.btf_size };
	held->base = (struct blob){ held->btf.data + header.btf_size, header.base_size };
	digest_entry(key, held, digest);
	return memcmp(digest, header.digest, sizeof(digest)) == 0;
}

static bool load_entry(const char *path, const char *key, struct sections *held)
{
	return read_all(path, &held->file) && divide_entry(key, held);
}

/* What a shard may hold. What is no number of bytes is a mistake, by which no cache shall be lost. */
static long shard_bytes(void)
{
	const char *text = variable("KBTF_CI_BTF_CACHE_MAX");
	long bytes = CACHE_BYTES;
	char *end = NULL;

	errno = 0;
	if (text)
		bytes = strtol(text, &end, 10);
	if (errno || (text && *end) || bytes < 0)
		bytes = CACHE_BYTES;
	return bytes / SHARDS;
}

static void store_entry(const char *cache, const char *path, const char *key, struct sections *held)
{
	struct header header = { MAGIC, held->btf.size, held->base.size, { 0 } };
	char shard[PATH_MAX];

	digest_entry(key, held, header.digest);
	if (!make_path(shard, "%s/%.2s", cache, key))
		return;
	mkdir(shard, 0755);
	struct blob parts[] = { { (unsigned char *)&header, sizeof(header) }, held->btf, held->base };
	if (replace_file(path, parts, 3))
		bound(shard, shard_bytes());
}

/* ---- writing a section as pahole does (btf_encoder__write_elf of dwarves' btf_encoder.c) ---- */

static bool write_section(Elf *elf, Elf_Scn *section, const struct blob *blob)
{
	Elf_Data *data = elf_getdata(section, NULL);

	if (!data)
		return false;
	data->d_buf = blob->data;
	data->d_size = blob->size;
	return elf_flagelf(elf, ELF_C_SET, ELF_F_DIRTY) && elf_flagdata(data, ELF_C_SET, ELF_F_DIRTY) &&
	       elf_update(elf, ELF_C_NULL) >= 0 && elf_update(elf, ELF_C_WRITE) >= 0;
}

/* 1 when it is written, 0 when there is no such section, -1 on failure. */
static int overwrite_section(const char *path, const char *wanted, const struct blob *blob)
{
	Elf_Scn *section;
	int done = -1;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	Elf *elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_RDWR, NULL);

	if (elf && find_section(elf, wanted, &section))
		done = !section ? 0 : write_section(elf, section, blob) ? 1 : -1;
	elf_end(elf);
	if (fd >= 0 && close(fd))
		done = -1;
	return done;
}

/*
 * $LLVM_OBJCOPY as words, NULL behind them: kbuild's OBJCOPY, which may be "ccache aarch64-linux-gnu-objcopy".
 * pahole has a shell read it; what only a shell understands is left to pahole.
 */
static bool objcopy_words(char *text, char *words[OBJCOPY_WORDS])
{
	size_t count = 0;

	if (strpbrk(text, "\\'\"`$&|;<>()[]{}*?!#~=\n"))
		return false;
	for (char *word = strtok(text, " \t"); word; word = strtok(NULL, " \t")) {
		if (count == OBJCOPY_WORDS - 1)
			return false;
		words[count++] = word;
	}
	words[count] = NULL;
	return count > 0;
}

/* Has objcopy put the file scratch into path as a section. */
static bool run_objcopy(const char *path, const char *name, const char *scratch)
{
	const char *objcopy = getenv("LLVM_OBJCOPY");
	char *text = strdup(objcopy ? objcopy : "llvm-objcopy"), *argv[OBJCOPY_WORDS + 3], *added = NULL;
	size_t count = 0;
	pid_t child;
	bool done = false;

	if (text && objcopy_words(text, argv) && asprintf(&added, "%s=%s", name, scratch) >= 0) {
		while (argv[count])
			count++;
		argv[count++] = "--add-section";
		argv[count++] = added;
		argv[count++] = (char *)path;
		argv[count] = NULL;
		done = !posix_spawnp(&child, argv[0], NULL, NULL, argv, environ) && wait_for(child) == 0;
		free(added);
	}
	free(text);
	return done;
}

static bool add_section(const char *path, const char *name, const struct blob *blob)
{
	char scratch[PATH_MAX];
	bool done;
	int fd;

	if (!make_path(scratch, "%s.btf", path))
		return false;
	fd = open(scratch, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return false;
	done = write_all(fd, blob->data, blob->size);
	done = close(fd) == 0 && done && run_objcopy(path, name, scratch);
	unlink(scratch);
	return done;
}

static bool put_section(const char *path, const char *name, const struct blob *blob)
{
	int done = overwrite_section(path, name, blob);

	return done ? done > 0 : add_section(path, name, blob);
}

static bool put_sections(const struct call *call, const struct sections *held)
{
	if (call->detached)
		return replace_file(call->detached, &held->btf, 1);
	return put_section(call->module, BTF, &held->btf) &&
	       (!held->base.size || put_section(call->module, BTF_BASE, &held->base));
}

/* ---- the real pahole ---- */

static const char *real_pahole(void)
{
	const char *program = variable("KBTF_CI_PAHOLE");

	return program ? program : "pahole";
}

static int become_pahole(char **argv)
{
	return become(real_pahole(), argv);
}

/* Passes on what comes from words to the error stream, until its end; whether that is nothing at all. */
static bool pass_on(int words)
{
	char piece[4096];
	ssize_t got;
	bool silent = true;

	while ((got = read(words, piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR)) {
		silent = false;
		if (got > 0)
			write_all(2, piece, got);
	}
	close(words);
	return silent;
}

/* Run it; *silent says whether it said nothing at all. What it says is passed on. */
static int run_pahole(char **argv, bool *silent)
{
	int words[2];
	pid_t child;

	*silent = false;
	if (pipe2(words, O_CLOEXEC))
		return become_pahole(argv);
	fflush(NULL);
	child = fork();
	if (child < 0)
		return become_pahole(argv);
	if (child == 0) {
		if (dup2(words[1], 1) < 0 || dup2(words[1], 2) < 0)
			_exit(not_run("dup2"));
		_exit(become_pahole(argv));
	}
	close(words[1]);
	*silent = pass_on(words[0]);
	return wait_for(child);
}

/* Has a server run it; false with *why where it is still to be run. */
static bool run_served(const struct call *call, const char *folder, struct served *served, const char **why)
{
	const char *idle = variable("KBTF_CI_BTF_SERVER_IDLE");
	char *pahole = find_other(real_pahole());
	struct server server = { folder, pahole, call->base, SERVER_IDLE_S };
	int words[2], asked = -1;

	if (idle && atol(idle) > 0)
		server.idle_s = atol(idle);
	if (!pahole || pipe2(words, O_CLOEXEC)) {
		free(pahole);
		*why = "no pipe to it";
		return false;
	}
	asked = begin_call(&server, call->argv, words[1], why);
	free(pahole);
	close(words[1]);
	served->silent = pass_on(words[0]);
	return asked >= 0 && finish_call(asked, &served->response, why);
}

static bool read_sections(const struct call *call, struct sections *held)
{
	bool done;
	int fd;
	Elf *elf;

	if (call->detached)
		return read_all(call->detached, &held->btf) && held->btf.size;
	elf = open_elf(call->module, &fd);
	if (!elf)
		return false;
	done = copy_section(elf, BTF, &held->btf) && copy_section(elf, BTF_BASE, &held->base);
	elf_end(elf);
	close(fd);
	return done && held->btf.size;
}

/* ---- the calls ---- */

/* Take kbuild's call for a module apart; false for any other, such as the one for vmlinux. */
static bool parse(char **argv, struct call *call)
{
	bool encode = false, distilled = false;
	int files = 0;

	*call = (struct call){ .argv = argv };
	for (char **word = argv + 1; *word; word++) {
		if (strcmp(*word, "--btf_base") == 0 && word[1])
			call->base = *++word;
		else if (starts_with(*word, DETACHED))
			call->detached = *word + strlen(DETACHED);
		else if (strcmp(*word, "-J") == 0)
			encode = true;
		else if (**word != '-' && ++files)
			call->module = *word;
		distilled |= strstr(*word, "distilled_base") != NULL;
	}
	/* Where a distilled base would go besides a file is not known. */
	return encode && call->base && files == 1 && !(call->detached && distilled);
}

/* Answers from the cache; false for every doubt. */
static bool answer(const struct call *call, const char *path, const char *key)
{
	struct sections held = { 0 };
	bool done = load_entry(path, key, &held) && put_sections(call, &held);

	drop_sections(&held);
	if (done)
		utimensat(AT_FDCWD, path, NULL, 0);
	return done;
}

static void keep(const struct call *call, const char *cache, const char *path, const char *key)
{
	struct sections held = { 0 };

	if (read_sections(call, &held))
		store_entry(cache, path, key, &held);
	drop_sections(&held);
}

/* Has the module encoded, by a server where one is to be asked. */
static int encode(const struct call *call, struct served *served, const char **route)
{
	const char *why = NULL, *folder = server_folder();
	struct timespec began;

	*route = "";
	if (folder) {
		*route = "+served";
		clock_gettime(CLOCK_MONOTONIC, &began);
		if (run_served(call, folder, served, &why)) {
			/* The server is no child of make's: what it spends is nowhere else. */
			tell_spent("serve", call->module, began, served->response.spent);
			return WEXITSTATUS(served->response.status);
		}
		*route = "+fallback";
		fprintf(stderr, "kbtf-ci-pahole: %s: written by pahole itself, not by a server: %s\n",
			call->module, why);
	}
	return run_pahole(call->argv, &served->silent);
}

static int encode_module(const struct call *call, const char *cache, struct timespec began)
{
	struct served served = { 0 };
	char key[HEX + 1], path[PATH_MAX], kind[16];
	bool keyed = cache && make_key(call, cache, key);
	const char *route;
	int status;

	keyed = keyed && make_path(path, "%s/%.2s/%s", cache, key, key);
	if (keyed && answer(call, path, key)) {
		tell("hit", call->module, began);
		return 0;
	}
	status = encode(call, &served, &route);
	/* What it complained of it shall complain of again. */
	if (keyed && status == 0 && served.silent)
		keep(call, cache, path, key);
	snprintf(kind, sizeof(kind), "%s%s", keyed ? "miss" : "off", route);
	tell(kind, call->module, began);
	return status;
}

int main(int argc, char **argv)
{
	const char *cache = variable("KBTF_CI_BTF_CACHE");
	struct timespec began;
	struct call call;
	bool silent;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &began);
	keep_children();
	elf_version(EV_CURRENT);
	if (parse(argv, &call) && (cache || server_folder() || variable("KBTF_CI_ACCOUNTS")))
		return encode_module(&call, cache, began);
	if (argc < 2 || !variable("KBTF_CI_ACCOUNTS") || strcmp(argv[1], "-J"))
		return become_pahole(argv);
	status = run_pahole(argv, &silent);
	tell("base", argv[argc - 1], began);
	return status;
}
