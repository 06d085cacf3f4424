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
 *
 * It keeps accounts (accounts.h) of the kinds hit, miss, off (a module, not cached) and base (any other file).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <gelf.h>
#include <libelf.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <sys/stat.h>

#include "accounts.h"

#define BTF ".BTF"
#define BTF_BASE ".BTF.base"
#define DETACHED "--btf_encode_detached="
#define MAGIC "kbtf-ci BTF 1\n\0"		/* 16 bytes with the terminator */
#define SHARDS 256				/* each holds an equal share: only one is looked through */
#define MEMOS_BYTES (64 * 4096L)
#define HEX (2 * SHA256_DIGEST_LENGTH)

struct blob {
	unsigned char *data;
	size_t size;
};

/* What an entry holds; base is empty where there is no such section. */
struct sections {
	struct blob btf, base;
};

struct header {
	char magic[16];
	uint64_t btf_size, base_size;
	unsigned char digest[SHA256_DIGEST_LENGTH];	/* of key and both sections */
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

static bool read_all(const char *path, struct blob *blob)
{
	struct stat status;
	size_t done = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	blob->data = NULL;
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		blob->data = malloc(status.st_size + 1);
	while (blob->data && done < (size_t)status.st_size) {
		got = read(fd, blob->data + done, status.st_size - done);
		if (got <= 0)
			break;
		done += got;
	}
	close(fd);
	blob->size = done;
	return blob->data && done == (size_t)status.st_size;
}

/* Whole or not at all: readers and other writers of the same name never see half a file. */
static bool replace_file(const char *path, const struct blob *parts, int count)
{
	char fresh[PATH_MAX];
	bool done = true;
	int fd;

	if (snprintf(fresh, sizeof(fresh), "%s.XXXXXX", path) >= (int)sizeof(fresh))
		return false;
	fd = mkstemp(fresh);
	if (fd < 0)
		return false;
	for (int i = 0; i < count; i++)
		done = done && write_all(fd, parts[i].data, parts[i].size);
	fchmod(fd, 0644);
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

		if (fstatat(dirfd(listing), entry->d_name, &status, 0) || !S_ISREG(status.st_mode))
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

static const char *section_name(Elf *elf, size_t names, Elf_Scn *section, GElf_Shdr *header)
{
	const char *name = NULL;

	if (gelf_getshdr(section, header))
		name = elf_strptr(elf, names, header->sh_name);
	return name ? name : "";
}

/* Copy a section's bytes; an absent one leaves the blob empty. */
static bool copy_section(Elf *elf, const char *wanted, struct blob *blob)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	size_t names;

	if (elf_getshdrstrndx(elf, &names))
		return false;
	while ((section = elf_nextscn(elf, section))) {
		Elf_Data *data;

		if (strcmp(section_name(elf, names, section, &header), wanted))
			continue;
		data = elf_rawdata(section, NULL);
		/* A section that says it has no bytes in the file has a size all the same. */
		blob->data = data && data->d_buf ? malloc(data->d_size + 1) : NULL;
		if (!blob->data)
			return false;
		blob->size = data->d_size;
		memcpy(blob->data, data->d_buf, data->d_size);
		return true;
	}
	return true;
}

/* pahole reads DWARF with its relocations, symbols, and .BTF_ids (for kfuncs) of a module. */
static bool content_counts(const char *name, const GElf_Shdr *header)
{
	return starts_with(name, ".debug_") || starts_with(name, ".rel.debug_") ||
	       starts_with(name, ".rela.debug_") || strstr(name, ".BTF_ids") || header->sh_type == SHT_SYMTAB ||
	       strcmp(name, ".strtab") == 0;
}

/*
 * Of all other sections it sees name, place and size (percpu variables). Their offsets in the file and their
 * links do not count: they move when .BTF itself is put in.
 */
static bool hash_module(SHA256_CTX *hash, const char *path)
{
	Elf_Scn *section = NULL;
	GElf_Ehdr ehdr;
	GElf_Shdr header;
	size_t names;
	bool done = false;
	int fd;
	Elf *elf = open_elf(path, &fd);

	if (!elf)
		return false;
	if (!gelf_getehdr(elf, &ehdr) || elf_getshdrstrndx(elf, &names))
		goto out;
	hash_bytes(hash, ehdr.e_ident, EI_NIDENT);
	hash_bytes(hash, &ehdr.e_machine, sizeof(ehdr.e_machine));
	while ((section = elf_nextscn(elf, section))) {
		const char *name = section_name(elf, names, section, &header);
		uint64_t facts[] = { header.sh_type, header.sh_flags, header.sh_addr, header.sh_size };

		if (!*name || !strcmp(name, BTF) || !strcmp(name, BTF_BASE) || !strcmp(name, ".shstrtab"))
			continue;
		hash_text(hash, name);
		hash_bytes(hash, facts, sizeof(facts));
		if (content_counts(name, &header)) {
			Elf_Data *data = elf_rawdata(section, NULL);

			if (!data || (data->d_size && !data->d_buf))
				goto out;
			hash_bytes(hash, data->d_buf, data->d_size);
		}
	}
	done = true;
out:
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
	free(btf.data);
	return done;
}

/* ---- the key ---- */

/*
 * vmlinux holds megabytes of BTF, the same for every module: it is read once, and known again by what make
 * would know it by, its inode and its change time, which no one can set back.
 */
static bool hash_base(SHA256_CTX *hash, const char *cache, const char *path)
{
	char memo[PATH_MAX], name[HEX + 1], hex[HEX + 1];
	struct blob known;
	struct stat status;
	SHA256_CTX inner;

	if (stat(path, &status))
		return false;
	uint64_t facts[] = { status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
			     status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec };
	SHA256_Init(&inner);
	hash_bytes(&inner, facts, sizeof(facts));
	finish_hex(&inner, name);
	snprintf(memo, sizeof(memo), "%s/base", cache);
	mkdir(memo, 0755);
	snprintf(memo, sizeof(memo), "%s/base/%s", cache, name);
	/* The name is in it, so that one file's memo is never taken for another's. */
	if (read_all(memo, &known)) {
		SHA256_CTX check;
		char sum[HEX + 1];

		if (known.size == 2 * HEX) {
			SHA256_Init(&check);
			hash_text(&check, name);
			hash_bytes(&check, known.data, HEX);
			finish_hex(&check, sum);
			if (memcmp(sum, known.data + HEX, HEX) == 0) {
				hash_bytes(hash, known.data, HEX);
				free(known.data);
				return true;
			}
		}
		free(known.data);
	}
	SHA256_Init(&inner);
	if (!hash_btf_of(&inner, path))
		return false;
	finish_hex(&inner, hex);
	hash_bytes(hash, hex, HEX);
	SHA256_Init(&inner);
	hash_text(&inner, name);
	hash_bytes(&inner, hex, HEX);
	finish_hex(&inner, name);
	struct blob parts[] = { { (unsigned char *)hex, HEX }, { (unsigned char *)name, HEX } };
	if (replace_file(memo, parts, 2)) {
		snprintf(memo, sizeof(memo), "%s/base", cache);
		bound(memo, MEMOS_BYTES);
	}
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

static void digest_entry(const char *key, const struct sections *held, unsigned char digest[SHA256_DIGEST_LENGTH])
{
	SHA256_CTX hash;

	SHA256_Init(&hash);
	hash_text(&hash, key);
	hash_bytes(&hash, held->btf.data, held->btf.size);
	hash_bytes(&hash, held->base.data, held->base.size);
	SHA256_Final(digest, &hash);
}

static bool load_entry(const char *path, const char *key, struct sections *held)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	struct header header;
	struct blob file;
	uint64_t rest;

	if (!read_all(path, &file) || file.size < sizeof(header))
		return false;
	memcpy(&header, file.data, sizeof(header));
	rest = file.size - sizeof(header);
	if (memcmp(header.magic, MAGIC, sizeof(header.magic)) || header.btf_size > rest ||
	    header.base_size != rest - header.btf_size || !header.btf_size)
		return false;
	held->btf = (struct blob){ file.data + sizeof(header), header.btf_size };
	held->base = (struct blob){ held->btf.data + header.btf_size, header.base_size };
	digest_entry(key, held, digest);
	return memcmp(digest, header.digest, sizeof(digest)) == 0;
}

static void store_entry(const char *cache, const char *path, const char *key, struct sections *held)
{
	const char *limit = variable("KBTF_CI_BTF_CACHE_MAX");
	struct header header = { MAGIC, held->btf.size, held->base.size, { 0 } };
	char shard[PATH_MAX];

	digest_entry(key, held, header.digest);
	snprintf(shard, sizeof(shard), "%s/%.2s", cache, key);
	mkdir(shard, 0755);
	struct blob parts[] = { { (unsigned char *)&header, sizeof(header) }, held->btf, held->base };
	if (replace_file(path, parts, 3))
		bound(shard, (limit ? atol(limit) : 1L << 30) / SHARDS);
}

/* ---- writing a section as pahole does (btf_encoder__write_elf of dwarves' btf_encoder.c) ---- */

/* 1 when it is written, 0 when there is no such section, -1 on failure. */
static int overwrite_section(const char *path, const char *wanted, const struct blob *blob)
{
	Elf_Scn *section = NULL;
	Elf_Data *data = NULL;
	GElf_Shdr header;
	size_t names;
	int done = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	Elf *elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_RDWR, NULL);

	if (!elf) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	elf_flagelf(elf, ELF_C_SET, ELF_F_DIRTY);
	elf_getshdrstrndx(elf, &names);
	while (!data && (section = elf_nextscn(elf, section)))
		if (!strcmp(section_name(elf, names, section, &header), wanted))
			data = elf_getdata(section, NULL);
	if (data) {
		data->d_buf = blob->data;
		data->d_size = blob->size;
		elf_flagdata(data, ELF_C_SET, ELF_F_DIRTY);
		done = elf_update(elf, ELF_C_NULL) >= 0 && elf_update(elf, ELF_C_WRITE) >= 0 ? 1 : -1;
	}
	close(fd);
	elf_end(elf);
	return done;
}

static bool add_section(const char *path, const char *name, const struct blob *blob)
{
	const char *objcopy = getenv("LLVM_OBJCOPY");
	char scratch[PATH_MAX], command[2 * PATH_MAX];
	bool done;
	int fd;

	if (!objcopy)
		objcopy = "llvm-objcopy";
	snprintf(scratch, sizeof(scratch), "%s.btf", path);
	fd = creat(scratch, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return false;
	done = write_all(fd, blob->data, blob->size);
	close(fd);
	snprintf(command, sizeof(command), "%s --add-section %s=%s %s", objcopy, name, scratch, path);
	done = done && system(command) == 0;
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
	execvp(real_pahole(), argv);
	fprintf(stderr, "%s: %s\n", real_pahole(), strerror(errno));
	return 127;
}

/* Run it; *silent says whether it said nothing at all. What it says is passed on. */
static int run_pahole(char **argv, bool *silent)
{
	char piece[4096];
	ssize_t got;
	int words[2], status;
	pid_t child;

	if (pipe2(words, O_CLOEXEC))
		return become_pahole(argv);
	fflush(NULL);
	child = fork();
	if (child < 0)
		return become_pahole(argv);
	if (child == 0) {
		dup2(words[1], 1);
		dup2(words[1], 2);
		_exit(become_pahole(argv));
	}
	close(words[1]);
	*silent = true;
	while ((got = read(words[0], piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR)) {
		*silent = false;
		if (got > 0)
			write_all(2, piece, got);
	}
	close(words[0]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return shell_status(status);
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

static int encode_module(const struct call *call, const char *cache, struct timespec began)
{
	char key[HEX + 1], path[PATH_MAX];
	struct sections held = { 0 };
	bool silent, keyed = cache && make_key(call, cache, key);
	int status;

	if (keyed) {
		snprintf(path, sizeof(path), "%s/%.2s/%s", cache, key, key);
		if (load_entry(path, key, &held) && put_sections(call, &held)) {
			utimensat(AT_FDCWD, path, NULL, 0);
			tell("hit", call->module, began);
			return 0;
		}
		held = (struct sections){ 0 };
	}
	status = run_pahole(call->argv, &silent);
	/* What it complained of it shall complain of again. */
	if (keyed && status == 0 && silent && read_sections(call, &held))
		store_entry(cache, path, key, &held);
	tell(keyed ? "miss" : "off", call->module, began);
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
	elf_version(EV_CURRENT);
	if (parse(argv, &call) && (cache || variable("KBTF_CI_ACCOUNTS")))
		return encode_module(&call, cache, began);
	if (argc < 2 || !variable("KBTF_CI_ACCOUNTS") || strcmp(argv[1], "-J"))
		return become_pahole(argv);
	status = run_pahole(argv, &silent);
	tell("base", argv[argc - 1], began);
	return status;
}
