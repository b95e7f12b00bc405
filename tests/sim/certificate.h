/* SPDX-License-Identifier: GPL-2.0-or-later */
/* certificate.h - one of mx.sim.test, and its key, from openssl; good for a hundred years.
 *
 * Always the same, because its length is part of what a seed's run depends on. */
#ifndef TESTS_SIM_CERTIFICATE_H
#define TESTS_SIM_CERTIFICATE_H

static const char town_certificate[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBhDCCASmgAwIBAgIUVNo5ZurCS1jbJr35MDIUD2pO24gwCgYIKoZIzj0EAwIw\n"
	"FjEUMBIGA1UEAwwLbXguc2ltLnRlc3QwIBcNMjYxMTIyMDQwMzQzWhgPMjEyNjEw\n"
	"MjkwNDAzNDNaMBYxFDASBgNVBAMMC214LnNpbS50ZXN0MFkwEwYHKoZIzj0CAQYI\n"
	"KoZIzj0DAQcDQgAEH/nWAMh04z0dL4ALiX6uWHBXXPAxOxcr7ceHosLbPhwNGgr4\n"
	"FvHwBr3cKTjDscyEHKZdocfoZD/e1r0QDK5jO6NTMFEwHQYDVR0OBBYEFKaKzuS5\n"
	"2o6FR9nKsPwWUi+zdgAQMB8GA1UdIwQYMBaAFKaKzuS52o6FR9nKsPwWUi+zdgAQ\n"
	"MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAJ8fa23X/Naaee7f\n"
	"AAe/8czIKk4ev7uCVSlpz+DgEnUnAiEAxgwaTdboMSvZapmGtZXZvQ3lTnLNj7/p\n"
	"5JzigfPZ/lA=\n"
	"-----END CERTIFICATE-----\n";

static const char town_key[] = "-----BEGIN PRIVATE KEY-----\n"
			       "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwjEc445CE1nRQQKI\n"
			       "Pxq9yUzrxLCraoqRj0e2227AovChRANCAAQf+dYAyHTjPR0vgAuJfq5YcFdc8DE7\n"
			       "Fyvtx4eiwts+HA0aCvgW8fAGvdwpOMOxzIQcpl2hx+hkP97WvRAMrmM7\n"
			       "-----END PRIVATE KEY-----\n";

#endif
