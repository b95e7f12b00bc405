#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build the lean static wolfSSL and print the prefix it is installed under.
#
# Debian's library is built without AES-NI and SP assembly, so this makes one from Debian's own
# patched source package. The result lives outside the tree, keyed by the source version and by
# this script (which holds every flag), so a second call only prints the path. Progress and
# errors go to standard error; exit 1 means that the source package could not be had or built.
#
#	tools/wolfssl.sh		build if needed, print the prefix
#	tools/wolfssl.sh --cached	print the prefix only if it is already built
#
# Sessions. Servers: turn the cache off with wolfSSL_CTX_set_session_cache_mode(ctx,
# WOLFSSL_SESS_CACHE_OFF), tickets do its work and nothing takes a lock. Clients: leave the mode
# alone (nothing is stored either), call wolfSSL_get1_session() when the connection closes (TLS 1.3
# tickets come with the first application data), wolfSSL_set_session() before the next handshake,
# wolfSSL_SESSION_free() in the end. NO_SESSION_CACHE would compile those three away.
# wolfSSL_export_keying_material() wants wolfSSL_KeepArrays() before the handshake.
#
# The configure options reach whoever includes the headers through <wolfssl/options.h>, which
# comes first; the build file passes no wolfSSL define of its own.

set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringpost
machine=$(uname -m)

case $machine in
x86_64) asm="--enable-intelasm --enable-sp-asm" ;;
aarch64) asm="--enable-armasm --enable-sp-asm" ;;
*) asm="" ;;
esac

# Old curves and ciphers stay off; X25519 spares many clients a second ClientHello.
features="--enable-static --disable-shared --disable-examples --disable-crypttests
	--disable-oldtls --enable-tls13 --enable-sni --enable-alpn --enable-session-ticket
	--enable-pkcallbacks --enable-sp $asm --enable-keying-material
	--enable-curve25519 --enable-ed25519 --enable-keygen --enable-certgen"

# The smallest cache there is, since nobody uses it. The seed callback lets the simulation make
# every handshake repeatable.
cflags="-O2 -g -fPIC -DSMALL_SESSION_CACHE -DNO_CLIENT_CACHE -DNO_SESSION_CACHE_REF
	-DWC_RNG_SEED_CB -DWOLFSSL_PUBLIC_MP -DWC_RSA_DIRECT"

say()
{
	echo "wolfssl: $*" >&2
}

# What apt would install; the source package of the same version is what we build.
candidate()
{
	LC_ALL=C apt-cache policy libwolfssl-dev 2>/dev/null |
		sed -n 's/^ *Candidate: *//p' | sed 's/+b[0-9]*$//' | grep -v none || true
}

key=$({ cat "$0"; echo "$machine"; cc -dumpversion 2>/dev/null || true; } | sha256sum | cut -c1-16)
version=$(candidate)

# Without package lists the version is unknown; then any earlier build of this script will do.
cached()
{
	for found in "$cache/wolfssl-$key-"${version:-*}; do
		[ -d "$found" ] && { echo "$found"; return 0; }
	done
	return 1
}

cached && exit 0
[ "${1:-}" = --cached ] && exit 1

mkdir -p "$cache"
# Two builds may ask at once; the second waits and finds the first one's result.
exec 9>"$cache/lock"
flock 9
cached && exit 0
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# The system's own Debian entries with their type changed, so that no host is named here.
# Foreign repositories are told apart by their suite.
source_entries()
{
	. /etc/os-release
	suites="$VERSION_CODENAME $VERSION_CODENAME-updates $VERSION_CODENAME-security"
	for list in /etc/apt/sources.list.d/*.sources; do
		[ -r "$list" ] && { cat "$list"; echo; }
	done | awk -v known="$suites" '
		function flush(  i, n, s, good) {
			n = split(suite, s, " "); good = n > 0
			for (i = 1; i <= n; i++) if (!(s[i] in ok)) good = 0
			if (good) print text "\n"
			text = suite = ""
		}
		BEGIN { n = split(known, k, " "); for (i = 1; i <= n; i++) ok[k[i]] }
		/^#/ { next }
		/^[ \t]*$/ { flush(); next }
		/^[Tt]ypes:/ { $0 = "Types: deb-src" }
		/^[Ss]uites:/ { suite = $0; sub(/^[^:]*:/, "", suite) }
		/^[Ee]nabled: *no/ { suite = "disabled" }
		{ text = text $0 "\n" }
		END { flush() }'
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
	sed -n 's/^deb  *\(\[[^]]*\]\)\{0,1\} *\([^ ]*\)  *\([^ ]*\)  *\(.*\)$/\3|\2|\4|\1/p' |
	while IFS='|' read -r suite uri components options; do
		case " $suites " in *" $suite "*) ;; *) continue ;; esac
		signed=$(echo "$options" | sed -n 's/.*signed-by=\([^] ]*\).*/\1/p')
		printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: %s\n' \
			"$uri" "$suite" "$components"
		[ -z "$signed" ] || printf 'Signed-By: %s\n' "$signed"
		echo
	done
}

private_apt()
{
	apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" \
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work/aptcache" \
		-o APT::Sandbox::User=root "$@" >&2
}

fetch()
{
	mkdir -p "$work/parts" "$work/lists/partial" "$work/aptcache/archives/partial"
	source_entries >"$work/parts/source.sources"
	[ -s "$work/parts/source.sources" ] || { say "no Debian source entry found"; return 1; }
	private_apt update || return 1
	( cd "$work" && private_apt source --download-only "wolfssl${version:+=$version}" ) || return 1
	( cd "$work" && dpkg-source --no-check -x ./*.dsc tree >/dev/null 2>&1 )
}

build()
{
	cd "$work/tree"
	# The release tarball has no configure; autogen.sh would look for a git checkout.
	[ -x configure ] || autoreconf -fi
	# shellcheck disable=SC2086
	./configure --prefix="$prefix" $features CFLAGS="$(echo $cflags)"
	make -j"$(nproc)"
	make install DESTDIR="$work/stage"
	mv "$work/stage/$prefix" "$prefix"
}

say "fetching Debian's source package ${version:-(newest)}"
fetch || { say "the source package cannot be had"; exit 1; }
[ -n "$version" ] || version=$(dpkg-parsechangelog -l "$work/tree/debian/changelog" -S Version)
prefix=$cache/wolfssl-$key-$version
say "building $version (about a minute)"
if ! (build) >"$work/log" 2>&1; then
	tail -n 30 "$work/log" >&2
	say "the build failed"
	exit 1
fi
echo "$prefix"
