/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Policies to actions, and the memory of hosts that failed. */
#include "relay/tlspol.h"

#include <criterion/criterion.h>

Test(tlspol, opportunistic_gives_way_and_required_does_not)
{
	cr_assert_eq(tlspol_use(ROUTE_TLS_NONE, false, true), SMTP_TLS_NEVER);
	cr_assert_eq(tlspol_use(ROUTE_TLS_OPPORTUNISTIC, false, true), SMTP_TLS_IF_OFFERED);
	cr_assert_eq(tlspol_use(ROUTE_TLS_OPPORTUNISTIC, true, true), SMTP_TLS_NEVER);
	cr_assert_eq(tlspol_use(ROUTE_TLS_OPPORTUNISTIC, false, false), SMTP_TLS_NEVER);
	cr_assert_eq(tlspol_use(ROUTE_TLS_REQUIRED, true, false), SMTP_TLS_REQUIRED);
	cr_assert_eq(tlspol_use(ROUTE_TLS_VERIFY, true, true), SMTP_TLS_REQUIRED);
	cr_assert_eq(tlspol_check(ROUTE_TLS_VERIFY), TLS_VERIFY);
	cr_assert(tlspol_may_fall_back(ROUTE_TLS_OPPORTUNISTIC));
	cr_assert_not(tlspol_may_fall_back(ROUTE_TLS_REQUIRED));
	cr_assert_not(tlspol_may_fall_back(ROUTE_TLS_VERIFY));
}

Test(tlspol, faults_are_forgotten_in_time)
{
	struct host_memory *m = host_memory_new();
	struct addr one = addr_ip4(0xc0000201, 25), other = addr_ip4(0xc0000202, 25);

	host_remember(m, &one, HOST_TLS_BROKEN, 1000);
	cr_assert(host_remembers(m, &one, HOST_TLS_BROKEN, 1000 + 3599999));
	cr_assert_not(host_remembers(m, &one, HOST_TLS_BROKEN, 1000 + 3600000));
	cr_assert_not(host_remembers(m, &one, HOST_UNREACHABLE, 1000));
	cr_assert_not(host_remembers(m, &other, HOST_TLS_BROKEN, 1000));
	host_memory_free(m);
}

Test(tlspol, memory_is_bounded)
{
	struct host_memory *m = host_memory_new();
	struct addr last = { 0 };

	for (uint32_t i = 0; i < 100000; i++) {
		last = addr_ip4(0x0a000000 + i, 25);
		host_remember(m, &last, HOST_UNREACHABLE, 0);
	}
	cr_assert(host_remembers(m, &last, HOST_UNREACHABLE, 1));
	host_memory_free(m);
	host_memory_free(NULL);
}
