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
