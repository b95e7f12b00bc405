/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small readers of /proc. */
#include "bench/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

static void read_model(char *model, size_t bytes)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(model, bytes, "unknown CPU");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
			line[strcspn(line, "\n")] = 0;
			snprintf(model, bytes, "%s", strchr(line, ':') + 2);
			break;
		}
	if (f)
		fclose(f);
}

void machine_describe(char *buf, size_t bytes)
{
	char model[128];
	struct utsname name;
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	read_model(model, sizeof(model));
	if (uname(&name) != 0)
		snprintf(name.release, sizeof(name.release), "unknown");
	snprintf(buf, bytes, "%ld x %s, Linux %s, %.0f GiB", sysconf(_SC_NPROCESSORS_ONLN), model,
		name.release, (double)pages * (double)page / (1 << 30));
}

uint64_t machine_cpu_us(long pid)
{
	char path[64], line[1024] = "";
	unsigned long long user = 0, system = 0;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	FILE *f = fopen(path, "re");

	if (!f)
		return 0;
	size_t len = fread(line, 1, sizeof(line) - 1, f);

	fclose(f);
	line[len] = 0;
	/* The name in parentheses may hold anything: fields count from behind it. */
	const char *rest = strrchr(line, ')');

	if (!rest ||
		sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
			&system) != 2)
		return 0;
	return (user + system) * 1000000 / (unsigned long long)sysconf(_SC_CLK_TCK);
}
