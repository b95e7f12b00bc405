/* SPDX-License-Identifier: GPL-2.0-or-later */
/* criterion.h - the part of Criterion our tests use, for builds under the thread sanitizer.
 *
 * Criterion's own sandbox wants addresses that the thread sanitizer keeps for itself, and does not
 * start. In a build with b_sanitize=thread this header stands in front of it, so that the same test
 * sources run: each test in a forked process, an assertion that fails ends it. Output is TAP.
 * Messages given to assertions are dropped; the expression, file and line are shown. */
#ifndef TESTS_SUPPORT_THREADS_CRITERION_H
#define TESTS_SUPPORT_THREADS_CRITERION_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct threads_test {
	const char *suite, *name;
	void (*run)(void);
	/* Options of Test(), as Criterion names them. */
	void (*init)(void);
	void (*fini)(void);
	int signal, exit_code;
	double timeout;
	bool disabled;
	struct threads_test *next;
};

void threads_test_add(struct threads_test *test);
/* Says where and ends the process, or only remembers it when `fatal` is false. */
void threads_check(bool good, bool fatal, const char *what, const char *where);
_Noreturn void threads_skip(void);

#define THREADS_STR_(n) #n
#define THREADS_STR(n) THREADS_STR_(n)
#define THREADS_HERE __FILE__ ":" THREADS_STR(__LINE__)

#define Test(suite_, name_, ...)                                                             \
	static void suite_##_##name_##_run(void);                                            \
	static struct threads_test suite_##_##name_##_test = {                               \
		.suite = #suite_, .name = #name_, .run = suite_##_##name_##_run, __VA_ARGS__ \
	};                                                                                   \
	__attribute__((constructor)) static void suite_##_##name_##_add(void)                \
	{                                                                                    \
		threads_test_add(&suite_##_##name_##_test);                                  \
	}                                                                                    \
	static void suite_##_##name_##_run(void)

#define cr_assert(cond, ...) threads_check((bool)(cond), true, #cond, THREADS_HERE)
#define cr_assert_not(cond, ...) threads_check(!(cond), true, "not " #cond, THREADS_HERE)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b))
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b))
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b))
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b))
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b))
#define cr_assert_geq(a, b, ...) cr_assert((a) >= (b))
#define cr_assert_null(a, ...) cr_assert((a) == NULL)
#define cr_assert_not_null(a, ...) cr_assert((a) != NULL)
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp(a, b) == 0)
#define cr_assert_str_neq(a, b, ...) cr_assert(strcmp(a, b) != 0)
#define cr_assert_fail(...) threads_check(false, true, "reached", THREADS_HERE)

#define cr_expect(cond, ...) threads_check((bool)(cond), false, #cond, THREADS_HERE)
#define cr_expect_not(cond, ...) threads_check(!(cond), false, "not " #cond, THREADS_HERE)
#define cr_expect_eq(a, b, ...) cr_expect((a) == (b))
#define cr_expect_neq(a, b, ...) cr_expect((a) != (b))
#define cr_expect_null(a, ...) cr_expect((a) == NULL)
#define cr_expect_not_null(a, ...) cr_expect((a) != NULL)
#define cr_expect_str_eq(a, b, ...) cr_expect(strcmp(a, b) == 0)

#define cr_fail(...) cr_assert_fail()
#define cr_skip_test(...) threads_skip()
#define cr_skip(...) threads_skip()

#endif
