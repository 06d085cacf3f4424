/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's half of kbtf-ci: puts modules before the kernel one by one and says what came of each.
 *
 *   probe [OPTIONS]               reads lines "MODE NAME PATH" and answers each with one line of JSON
 *   probe --inert PATH            writes the module PATH as mode "inert" hands it to the kernel
 *
 * Modes are real, inert and carrier, and look: the module is there already, as init loaded it for the network.
 * "settle - -" loads nothing: it is answered once every CPU has given the probe a turn, so that what a kernel
 * thread of the last module kept a CPU for stands in the log that comes with it.
 *
 * It never judges: errno, the SHA-256 of /sys/kernel/btf/NAME and the kernel's own records go to the host
 * as they are. With --once a module that loaded is unloaded behind its answer's facts, so that any number of
 * them goes through one guest. For tests, --root DIR puts DIR before /dev/kmsg and /sys/kernel/btf.
 *
 * The first line of output is {"boot_kmsg":[...]}, the kernel's log before the first load.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sha256.h"

#define HEX (2 * SHA256_BYTES)

/* A kernel's modules are of its own word size and byte order, and so is this program. */
#define OWN_CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)
#define OWN_DATA (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB)

typedef ElfW(Ehdr) elf_header;
typedef ElfW(Shdr) elf_section;

static const char *root = "";
static bool once;

/* ---- this program's own errors ------------------------------------------------------------------- */

/* Says what errno is about, and ends: the host takes the guest for lost, and no silence for an answer. */
__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* A new string, as long as it needs to be: a name that is cut would be another module's. */
__attribute__((format(printf, 1, 2))) static char *text_of(const char *format, ...)
{
	va_list values;
	char *text;
	int size;

	va_start(values, format);
	size = vasprintf(&text, format, values);
	va_end(values);
	if (size < 0)
		die("memory");
	return text;
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

/* Bytes outside ASCII are written as the code points of the same number: the line stays valid JSON. */
static void json_bytes(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = text[i];

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
}

static void json_string(const char *text)
{
	putchar('"');
	json_bytes(text, strlen(text));
	putchar('"');
}

/* ---- the kernel's log ---------------------------------------------------------------------------- */

struct records {
	char *text; /* one record after the other, each as read and ended by '\n' */
	size_t size;
};

static int kmsg_fd = -1;

static void records_add(struct records *records, const char *text, size_t size)
{
	records->text = realloc(records->text, records->size + size);
	if (!records->text)
		die("records");
	memcpy(records->text + records->size, text, size);
	records->size += size;
}

/* Reads what the kernel has printed since the last call. */
static struct records kmsg_drain(void)
{
	static const char lost[] =
		"4,0,0,-;kbtf-ci: the kernel overwrote log records before they were read\n";
	struct records records = { 0 };
	char buffer[16384];

	for (;;) {
		ssize_t n = read(kmsg_fd, buffer, sizeof(buffer));

		if (n > 0) {
			records_add(&records, buffer, n);
			/* A record that is escaped to more than PRINTK_MESSAGE_MAX bytes comes cut. */
			if (buffer[n - 1] != '\n')
				records_add(&records, "\n", 1);
		} else if (n < 0 && errno == EPIPE)
			records_add(&records, lost, sizeof(lost) - 1);
		else if (n == 0 || errno == EAGAIN)
			break;
		else if (errno != EINTR)
			die("/dev/kmsg");
	}
	return records;
}

/* A line that starts with a blank continues its record (Documentation/ABI/testing/dev-kmsg). */
static void json_records(const char *key, struct records records)
{
	const char *end = records.text + records.size, *line = records.text;
	bool first = true;

	printf("\"%s\":[", key);
	while (line < end) {
		const char *stop = memchr(line, '\n', end - line);

		stop = stop ? stop : end;
		while (stop + 1 < end && stop[1] == ' ') {
			const char *next = memchr(stop + 1, '\n', end - stop - 1);

			stop = next ? next : end;
		}
		fputs(first ? "\"" : ",\"", stdout);
		json_bytes(line, stop - line);
		putchar('"');
		first = false;
		line = stop + 1;
	}
	putchar(']');
	free(records.text);
}

/* Level 4: it is on the serial console before the load, and names the culprit if the kernel dies of it. */
static void kmsg_mark(const char *mode, const char *name)
{
	char *marker = text_of("<4>kbtf-ci: load %s %s\n", mode, name);

	if (write(kmsg_fd, marker, strlen(marker)) < 0)
		perror("probe: /dev/kmsg");
	free(marker);
}

static void kmsg_open(void)
{
	char *path = text_of("%s/dev/kmsg", root);

	kmsg_fd = open(path, O_RDWR | O_APPEND | O_NONBLOCK | O_CLOEXEC);
	if (kmsg_fd < 0)
		die(path);
	free(path);
}

/* ---- load modes ---------------------------------------------------------------------------------- */

struct image {
	unsigned char *data;
	size_t size;
};

/* Maps a private, writable copy of the file; false with errno set. */
static bool image_map(const char *path, struct image *image)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), saved;
	struct stat st;

	if (fd < 0)
		return false;
	image->data = MAP_FAILED;
	errno = ENOEXEC;
	if (!fstat(fd, &st) && st.st_size > 0 && (uint64_t)st.st_size <= SIZE_MAX) {
		image->size = st.st_size;
		image->data = mmap(NULL, image->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	}
	saved = errno;
	close(fd);
	errno = saved;
	return image->data != MAP_FAILED;
}

static bool inside(const struct image *image, uint64_t offset, uint64_t size)
{
	return offset <= image->size && size <= image->size - offset;
}

/* Section headers are copied out: nothing in the file need be aligned. */
static elf_section section_at(const struct image *image, const elf_header *header, unsigned int index)
{
	elf_section section;

	memcpy(&section, image->data + header->e_shoff + index * sizeof(section), sizeof(section));
	return section;
}

/* Reads the ELF header; false where the section headers, or their names, are not inside the file. */
static bool image_header(const struct image *image, elf_header *header)
{
	elf_section names;

	if (!inside(image, 0, sizeof(*header)))
		return false;
	memcpy(header, image->data, sizeof(*header));
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_ident[EI_CLASS] != OWN_CLASS ||
	    header->e_ident[EI_DATA] != OWN_DATA || header->e_shentsize != sizeof(names) ||
	    header->e_shstrndx >= header->e_shnum ||
	    !inside(image, header->e_shoff, (uint64_t)header->e_shnum * sizeof(names)))
		return false;
	names = section_at(image, header, header->e_shstrndx);
	return inside(image, names.sh_offset, names.sh_size);
}

static bool section_is(const struct image *image, const elf_section *names, const elf_section *section,
		       const char *name)
{
	size_t size = strlen(name) + 1;

	return section->sh_name <= names->sh_size && size <= names->sh_size - section->sh_name &&
	       !memcmp(image->data + names->sh_offset + section->sh_name, name, size);
}

static bool relocates_module(const struct image *image, const elf_section *names, const elf_section *section)
{
	return (section->sh_type == SHT_RELA &&
		section_is(image, names, section, ".rela.gnu.linkonce.this_module")) ||
	       (section->sh_type == SHT_REL &&
		section_is(image, names, section, ".rel.gnu.linkonce.this_module"));
}

/*
 * A signature is of the file as it was: one that does not fit any more is a reason to refuse, one that is not
 * there mostly none. Behind it lie struct module_signature, 12 bytes whose last four are its length, big-endian
 * (include/linux/module_signature.h), and a mark.
 */
static void image_cut_signature(struct image *image)
{
	static const char mark[] = "~Module signature appended~\n";
	enum { MARK = sizeof(mark) - 1, DESCRIPTION = 12 };
	const unsigned char *end;
	uint64_t size;

	if (image->size < MARK + DESCRIPTION || memcmp(image->data + image->size - MARK, mark, MARK))
		return;
	end = image->data + image->size - MARK - sizeof(uint32_t);
	size = (uint64_t)end[0] << 24 | end[1] << 16 | end[2] << 8 | end[3];
	if (inside(image, 0, MARK + DESCRIPTION + size))
		image->size -= MARK + DESCRIPTION + size;
}

/*
 * struct module of the .ko gets its init and exit functions by relocation. Without any (R_*_NONE in their place
 * is refused by powerpc64) they stay NULL: do_init_module() calls no function, while prepare_coming_module() has
 * already had btf_module_notify() validate and register the BTF (kernel/module/main.c, kernel/bpf/btf.c).
 * Where relocations are of the kind that has its addend in place, that is 0: the functions are symbols of
 * their own (include/linux/module.h, module_init()).
 */
static bool image_make_inert(struct image *image)
{
	elf_header header;
	elf_section names;

	if (!image_header(image, &header))
		return false;
	names = section_at(image, &header, header.e_shstrndx);
	for (unsigned int i = 0; i < header.e_shnum; i++) {
		elf_section section = section_at(image, &header, i);

		if (relocates_module(image, &names, &section))
			memset(image->data + header.e_shoff + i * sizeof(section) +
				       offsetof(elf_section, sh_size),
			       0, sizeof(section.sh_size));
	}
	image_cut_signature(image);
	return true;
}

/* A way to put a module before the kernel: 0, or the errno; *error says what is not the kernel's answer. */
typedef int load_fn(const char *path, const char **error);

/* A file as it is: a module as built, or a carrier. */
static int load_file(const char *path, const char **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), result;

	if (fd < 0) {
		*error = "cannot read the module";
		return errno;
	}
	result = syscall(SYS_finit_module, fd, "", 0) ? errno : 0;
	close(fd);
	return result;
}

static int load_inert(const char *path, const char **error)
{
	struct image image;
	size_t mapped;
	int result;

	if (!image_map(path, &image)) {
		*error = "cannot read the module";
		return errno;
	}
	mapped = image.size;
	if (!image_make_inert(&image)) {
		*error = "not an ELF object of this machine";
		result = ENOEXEC;
	} else {
		result = syscall(SYS_init_module, image.data, image.size, "") ? errno : 0;
	}
	munmap(image.data, mapped);
	return result;
}

static int load_nothing(const char *path, const char **error)
{
	(void)path;
	(void)error;
	return 0;
}

/* Moves to each CPU in turn: one that is locked up takes us when it is free again, and has been reported by then. */
static int settle(const char *path, const char **error)
{
	enum { BITS = 8 * sizeof(long) };
	unsigned long all[8192 / BITS] = { 0 }; /* NR_CPUS is no more than that on any architecture */
	long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(all), all);

	(void)path;
	(void)error;
	for (long cpu = 0; cpu < bytes * 8; cpu++) {
		unsigned long one[sizeof(all) / sizeof(*all)] = { 0 };

		one[cpu / BITS] = all[cpu / BITS] & 1UL << cpu % BITS;
		if (one[cpu / BITS])
			syscall(SYS_sched_setaffinity, 0, bytes, one);
	}
	if (bytes > 0)
		syscall(SYS_sched_setaffinity, 0, bytes, all);
	return 0;
}

static const struct mode {
	const char *name;
	load_fn *load;
} modes[] = {
	{ "real", load_file }, /* as it was built */
	{ "inert", load_inert }, /* none of its code runs */
	{ "carrier", load_file }, /* it has none */
	{ "look", load_nothing }, /* it is there already */
	{ "settle", settle }, /* and no module at all */
};

static const struct mode *mode_find(const char *name)
{
	for (size_t i = 0; name && i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(modes[i].name, name))
			return modes + i;
	return NULL;
}

/* ---- one module ---------------------------------------------------------------------------------- */

static void sha256_hex(sha256 *sha, char hex[HEX + 1])
{
	unsigned char digest[SHA256_BYTES];

	sha256_end(sha, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
}

/* Hashes /sys/kernel/btf/NAME; false with errno set where it cannot be read. */
static bool btf_digest(const char *name, unsigned long long *bytes, char hex[HEX + 1])
{
	char *path = text_of("%s/sys/kernel/btf/%s", root, name), buffer[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC), saved = errno;
	sha256 sha;
	ssize_t n;

	free(path);
	errno = saved;
	if (fd < 0)
		return false;
	*bytes = 0;
	sha256_begin(&sha);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		sha256_add(&sha, buffer, n);
		*bytes += n;
	}
	saved = errno;
	close(fd);
	errno = saved;
	sha256_hex(&sha, hex);
	return n == 0;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void json_btf(const char *name, const char **error)
{
	unsigned long long bytes;
	char hex[HEX + 1];

	if (btf_digest(name, &bytes, hex)) {
		printf("\"btf\":{\"bytes\":%llu,\"sha256\":\"%s\"}", bytes, hex);
		return;
	}
	if (errno != ENOENT)
		*error = "cannot read /sys/kernel/btf";
	fputs("\"btf\":null", stdout);
}

static void answer(const struct mode *mode, const char *name, const char *path)
{
	const char *error = NULL;
	struct records before;
	uint64_t start, end;
	int result;

	kmsg_mark(mode->name, name);
	before = kmsg_drain();
	start = now_us();
	result = mode->load(path, &error);
	end = now_us();
	printf("{\"name\":");
	json_string(name);
	printf(",\"mode\":\"%s\",\"errno\":%d,\"load_us\":%llu,", mode->name, result,
	       (unsigned long long)(end - start));
	json_btf(name, &error);
	putchar(',');
	json_records("kmsg_before", before);
	putchar(',');
	json_records("kmsg", kmsg_drain());
	if (once && !result && mode->load != load_nothing && mode->load != settle &&
	    syscall(SYS_delete_module, name, O_NONBLOCK))
		error = "cannot unload the module";
	if (error) {
		fputs(",\"error\":", stdout);
		json_string(error);
	}
	puts("}");
}

static void refuse(const char *line, const char *why)
{
	fputs("{\"line\":", stdout);
	json_string(line);
	fputs(",\"error\":", stdout);
	json_string(why);
	puts("}");
}

/*
 * Sends what was answered, some together: a packet for every answer costs an emulated guest half as much as
 * all its loads. Should the kernel die meanwhile, what it still owed is asked again of the next guest.
 */
static void answers_send(void)
{
	static uint64_t sent;
	uint64_t now = now_us();

	if (now - sent < 100000)
		return;
	fflush(stdout);
	sent = now;
}

static void handle(const char *line)
{
	char *copy = text_of("%s", line), *rest = copy;
	const struct mode *mode = mode_find(strsep(&rest, " "));
	const char *name = strsep(&rest, " ");

	if (!mode)
		refuse(line, "unknown load mode");
	else if (!name || !*name || strchr(name, '/') || !rest || !*rest)
		refuse(line, "not MODE NAME PATH");
	else
		answer(mode, name, rest);
	answers_send();
	free(copy);
}

/* The next line of standard input, NULL at its end. One that is longer than any request comes in pieces. */
static const char *next_line(void)
{
	static char buffer[65536];
	static size_t held, taken; /* bytes in the buffer, and how many of them were lines already */
	char *line, *end;
	ssize_t n;

	for (;;) {
		line = buffer + taken;
		end = memchr(line, '\n', held - taken);
		if (end)
			break;
		held -= taken;
		taken = 0;
		memmove(buffer, line, held);
		fflush(stdout); /* whoever asks for one thing at a time waits for the answer */
		n = read(STDIN_FILENO, buffer + held, sizeof(buffer) - 1 - held);
		if (n < 0 && errno != EINTR)
			die("standard input");
		if (n != 0) {
			held += n > 0 ? n : 0;
			continue;
		}
		if (!held)
			return NULL;
		line = buffer;
		end = buffer + held++;
		break;
	}
	*end = '\0';
	taken = end + 1 - buffer;
	return line;
}

static int write_inert(const char *path)
{
	struct image image; /* mapped until the end */

	if (!image_map(path, &image) || !image_make_inert(&image)) {
		fprintf(stderr, "probe: %s: %s\n", path, strerror(errno));
		return 1;
	}
	return fwrite(image.data, 1, image.size, stdout) != image.size || fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *line;

	if (argc == 3 && !strcmp(argv[1], "--inert"))
		return write_inert(argv[2]);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--once")) {
			once = true;
		} else if (!strcmp(argv[i], "--root") && i + 1 < argc) {
			root = argv[++i];
		} else {
			fputs("usage: probe [--once] [--root DIR] | --inert PATH\n", stderr);
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	kmsg_open();
	putchar('{');
	json_records("boot_kmsg", kmsg_drain());
	puts("}");
	while ((line = next_line()))
		handle(line);
	return fflush(stdout) || ferror(stdout);
}
