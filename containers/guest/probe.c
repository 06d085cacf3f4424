/* SPDX-FileCopyrightText: The kbtf-ci authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's half of kbtf-ci: puts modules before the kernel one by one and says what came of each.
 *
 *   probe [OPTIONS]               reads lines "MODE NAME PATH" and answers each with one line of JSON
 *   probe --inert PATH            writes the module PATH as mode "inert" hands it to the kernel
 *
 * Modes are real, inert and carrier, and look: the module is there already, as init loaded it for the network.
 *
 * It never judges: errno, the SHA-256 of /sys/kernel/btf/NAME and the kernel's own records go to the host
 * as they are. With --once a module that loaded is unloaded behind its answer's facts, so that any number of
 * them goes through one guest. For tests, --root DIR puts DIR before /dev/kmsg and /sys/kernel/btf, and
 * --portable hashes without the CPU's own instructions for it.
 *
 * The first line of output is {"boot_kmsg":[...]}, the kernel's log before the first load.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
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

static const char *root = "";
static bool once;

/* ---- SHA-256, FIPS 180-4 ------------------------------------------------------------------------- */

struct sha256 {
	uint32_t state[8];
	uint64_t length;
	unsigned char block[64];
};

static const uint32_t sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotr(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void sha256_compress(uint32_t *state, const unsigned char *p)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++, p += 4)
		w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	for (int i = 16; i < 64; i++) {
		uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
		uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;

		w[i] = w[i - 16] + s0 + w[i - 7] + s1;
	}
	memcpy(s, state, sizeof(s));
	for (int i = 0; i < 64; i++) {
		uint32_t s1 = rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25);
		uint32_t s0 = rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22);
		uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
		uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
		uint32_t t1 = s[7] + s1 + choice + sha256_k[i] + w[i];

		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += t1;
		s[0] = t1 + s0 + majority;
	}
	for (int i = 0; i < 8; i++)
		state[i] += s[i];
}

/*
 * The same in the CPU's SHA instructions. Emulated, they hash BTF ten times as fast as the loops above, which
 * would take longer than all loads together. Intel SDM volume 2, SHA256RNDS2, SHA256MSG1 and SHA256MSG2.
 */
__attribute__((target("sha,sse4.1")))
static void sha256_compress_ni(uint32_t *state, const unsigned char *p)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i low = _mm_loadu_si128((const __m128i *)state), high = _mm_loadu_si128((const __m128i *)(state + 4));
	__m128i abef, cdgh, abef_before, cdgh_before, w[4];

	low = _mm_shuffle_epi32(low, 0xb1); /* c d a b */
	high = _mm_shuffle_epi32(high, 0x1b); /* e f g h */
	abef = abef_before = _mm_alignr_epi8(low, high, 8);
	cdgh = cdgh_before = _mm_blend_epi16(high, low, 0xf0);
	for (int i = 0; i < 16; i++) {
		__m128i k = _mm_loadu_si128((const __m128i *)(sha256_k + 4 * i)), *now = w + i % 4;

		if (i < 4) {
			*now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), swap);
		} else {
			__m128i last = w[(i + 3) % 4], sum = _mm_sha256msg1_epu32(*now, w[(i + 1) % 4]);

			sum = _mm_add_epi32(sum, _mm_alignr_epi8(last, w[(i + 2) % 4], 4));
			*now = _mm_sha256msg2_epu32(sum, last);
		}
		k = _mm_add_epi32(k, *now);
		cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k);
		abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0e));
	}
	abef = _mm_shuffle_epi32(_mm_add_epi32(abef, abef_before), 0x1b); /* f e b a */
	cdgh = _mm_shuffle_epi32(_mm_add_epi32(cdgh, cdgh_before), 0xb1); /* d c h g */
	_mm_storeu_si128((__m128i *)state, _mm_blend_epi16(abef, cdgh, 0xf0));
	_mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(cdgh, abef, 8));
}

static void (*sha256_block)(uint32_t *state, const unsigned char *p) = sha256_compress;

static void sha256_accelerate(void)
{
	unsigned int a, b, c, d;

	if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_SHA)
		sha256_block = sha256_compress_ni;
}

static void sha256_init(struct sha256 *sha)
{
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	};

	memcpy(sha->state, start, sizeof(start));
	sha->length = 0;
}

static void sha256_update(struct sha256 *sha, const void *data, size_t size)
{
	const unsigned char *p = data;

	while (size) {
		size_t used = sha->length % 64, room = 64 - used, n = size < room ? size : room;
		const unsigned char *block = p;

		if (n < 64) {
			memcpy(sha->block + used, p, n);
			block = sha->block;
		}
		sha->length += n;
		p += n;
		size -= n;
		if (n == room)
			sha256_block(sha->state, block);
	}
}

static void sha256_hex(struct sha256 *sha, char hex[65])
{
	uint64_t bits = sha->length * 8;
	unsigned char tail[8];

	for (int i = 0; i < 8; i++)
		tail[i] = bits >> (56 - 8 * i);
	sha256_update(sha, "\x80", 1);
	while (sha->length % 64 != 56)
		sha256_update(sha, "", 1);
	sha256_update(sha, tail, sizeof(tail));
	for (int i = 0; i < 8; i++)
		snprintf(hex + 8 * i, 9, "%08x", sha->state[i]);
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
	if (!records->text) {
		perror("probe: records");
		exit(1);
	}
	memcpy(records->text + records->size, text, size);
	records->size += size;
}

/* Reads what the kernel has printed since the last call. */
static struct records kmsg_drain(void)
{
	static const char lost[] = "4,0,0,-;kbtf-ci: the kernel overwrote log records before they were read\n";
	struct records records = { 0 };
	char buffer[16384];

	while (kmsg_fd >= 0) {
		ssize_t n = read(kmsg_fd, buffer, sizeof(buffer));

		if (n > 0) {
			records_add(&records, buffer, n);
			/* A record that is escaped to more than PRINTK_MESSAGE_MAX bytes comes cut. */
			if (buffer[n - 1] != '\n')
				records_add(&records, "\n", 1);
		} else if (n < 0 && errno == EPIPE)
			records_add(&records, lost, sizeof(lost) - 1);
		else if (n == 0 || errno != EINTR)
			break;
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
	char marker[256];
	int size = snprintf(marker, sizeof(marker), "<4>kbtf-ci: load %s %s\n", mode, name);

	if (kmsg_fd >= 0 && write(kmsg_fd, marker, size) < 0)
		perror("probe: /dev/kmsg");
}

static void kmsg_open(void)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/dev/kmsg", root);
	kmsg_fd = open(path, O_RDWR | O_APPEND | O_NONBLOCK | O_CLOEXEC);
	if (kmsg_fd < 0) {
		fprintf(stderr, "probe: %s: %s\n", path, strerror(errno));
		exit(1);
	}
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
	if (!fstat(fd, &st) && st.st_size > 0) {
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
static Elf64_Shdr section_at(const struct image *image, const Elf64_Ehdr *header, unsigned int index)
{
	Elf64_Shdr section;

	memcpy(&section, image->data + header->e_shoff + index * sizeof(section), sizeof(section));
	return section;
}

/* Reads the ELF header; false where the section headers, or their names, are not inside the file. */
static bool image_header(const struct image *image, Elf64_Ehdr *header)
{
	Elf64_Shdr names;

	if (!inside(image, 0, sizeof(*header)))
		return false;
	memcpy(header, image->data, sizeof(*header));
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_ident[EI_CLASS] != ELFCLASS64 ||
	    header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_shentsize != sizeof(names) ||
	    header->e_shstrndx >= header->e_shnum ||
	    !inside(image, header->e_shoff, (uint64_t)header->e_shnum * sizeof(names)))
		return false;
	names = section_at(image, header, header->e_shstrndx);
	return inside(image, names.sh_offset, names.sh_size);
}

static bool section_is(const struct image *image, const Elf64_Shdr *names, const Elf64_Shdr *section,
		       const char *name)
{
	size_t size = strlen(name) + 1;

	return section->sh_name <= names->sh_size && size <= names->sh_size - section->sh_name &&
	       !memcmp(image->data + names->sh_offset + section->sh_name, name, size);
}

/*
 * struct module of the .ko gets its init and exit functions by relocation. With R_*_NONE (0 on every
 * architecture) they stay NULL: do_init_module() calls no function, while prepare_coming_module() has
 * already had btf_module_notify() validate and register the BTF (kernel/module/main.c, kernel/bpf/btf.c).
 */
static bool image_make_inert(struct image *image)
{
	Elf64_Ehdr header;
	Elf64_Shdr names;

	if (!image_header(image, &header))
		return false;
	names = section_at(image, &header, header.e_shstrndx);
	for (unsigned int i = 0; i < header.e_shnum; i++) {
		Elf64_Shdr section = section_at(image, &header, i);

		if (section.sh_type != SHT_RELA ||
		    !section_is(image, &names, &section, ".rela.gnu.linkonce.this_module"))
			continue;
		if (!inside(image, section.sh_offset, section.sh_size))
			return false;
		for (uint64_t k = 0; k < section.sh_size / sizeof(Elf64_Rela); k++)
			memset(image->data + section.sh_offset + k * sizeof(Elf64_Rela) +
			       offsetof(Elf64_Rela, r_info), 0, sizeof(uint64_t));
	}
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
	int result;

	if (!image_map(path, &image)) {
		*error = "cannot read the module";
		return errno;
	}
	if (!image_make_inert(&image)) {
		*error = "not a 64-bit little-endian ELF object";
		result = ENOEXEC;
	} else {
		result = syscall(SYS_init_module, image.data, image.size, "") ? errno : 0;
	}
	munmap(image.data, image.size);
	return result;
}

static int load_nothing(const char *path, const char **error)
{
	(void)path;
	(void)error;
	return 0;
}

static const struct mode {
	const char *name;
	load_fn *load;
} modes[] = {
	{ "real", load_file },
	{ "inert", load_inert },
	{ "carrier", load_file },
	{ "look", load_nothing },
};

static const struct mode *mode_find(const char *name)
{
	for (size_t i = 0; name && i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(modes[i].name, name))
			return modes + i;
	return NULL;
}

/* ---- one module ---------------------------------------------------------------------------------- */

/* Hashes /sys/kernel/btf/NAME; false with errno set where it cannot be read. */
static bool btf_digest(const char *name, unsigned long long *bytes, char hex[65])
{
	char path[4096], buffer[65536];
	struct sha256 sha;
	ssize_t n;
	int fd, saved;

	snprintf(path, sizeof(path), "%s/sys/kernel/btf/%s", root, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	sha256_init(&sha);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		sha256_update(&sha, buffer, n);
	saved = errno;
	close(fd);
	errno = saved;
	*bytes = sha.length;
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
	char hex[65];

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
	if (once && !result && mode->load != load_nothing && syscall(SYS_delete_module, name, O_NONBLOCK))
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
	char *copy = strdup(line), *rest = copy;
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
		if (n > 0) {
			held += n;
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
	bool portable = false;
	const char *line;

	if (argc == 3 && !strcmp(argv[1], "--inert"))
		return write_inert(argv[2]);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--once")) {
			once = true;
		} else if (!strcmp(argv[i], "--root") && i + 1 < argc) {
			root = argv[++i];
		} else if (!strcmp(argv[i], "--portable")) {
			portable = true;
		} else {
			fputs("usage: probe [--once] [--root DIR] [--portable] | --inert PATH\n", stderr);
			return 2;
		}
	}
	if (!portable)
		sha256_accelerate();
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	kmsg_open();
	putchar('{');
	json_records("boot_kmsg", kmsg_drain());
	puts("}");
	while ((line = next_line()))
		handle(line);
	return fflush(stdout) ? 1 : 0;
}
