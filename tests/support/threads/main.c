/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - runs the tests of a program built with the stand-in for Criterion.
 *
 * One forked process a test, so that one that dies ends alone. A data race makes the sanitizer end
 * the process with a status of its own, which counts as a failure. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_GOOD = 0, EXIT_BAD = 1, EXIT_SKIP = 77 };

static struct threads_test *tests;
static bool failed;

void threads_test_add(struct threads_test *test)
{
	test->next = tests;
	tests = test;
}

void threads_check(bool good, bool fatal, const char *what, const char *where)
{
	if (good)
		return;
	fprintf(stderr, "%s: failed: %s\n", where, what);
	failed = true;
	if (fatal)
		exit(EXIT_BAD);
}

void threads_skip(void)
{
	exit(EXIT_SKIP);
}

static _Noreturn void run_here(const struct threads_test *test)
{
	if (test->init)
		test->init();
	test->run();
	if (test->fini)
		test->fini();
	exit(failed ? EXIT_BAD : EXIT_GOOD);
}

/* The exit status, or 128 and the signal. */
static int run_apart(const struct threads_test *test)
{
	int status = 0;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		run_here(test);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return EXIT_BAD;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(void)
{
	int bad = 0;
	for (struct threads_test *test = tests; test; test = test->next) {
		int status = test->disabled ? EXIT_SKIP : run_apart(test);
		int wanted = test->signal ? 128 + test->signal : test->exit_code;
		bool skipped = status == EXIT_SKIP;
		bool good = skipped || status == wanted;
		bad += !good;
		printf("%s - %s::%s%s\n", good ? "ok" : "not ok", test->suite, test->name,
			skipped ? " # SKIP" : "");
	}
	return bad ? EXIT_BAD : EXIT_GOOD;
}
