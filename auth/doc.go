// Package auth decides who a client is, from the bytes it shows: API keys, JSON
// Web Tokens, names with passwords, certificates.
//
// It is passive and pure: it opens nothing, asks nobody and keeps no clock. Keys
// and password files are read elsewhere and handed in by Keys.Set and Users.Set;
// until then everybody is refused. What was found valid once is remembered in
// memory of a fixed size, so that a client that comes again costs a hash and a
// look, and no allocation. All types are safe for concurrent use.
//
// Nothing here returns, prints or wraps a credential.
package auth
