// Package auth verifies the credentials of clients: API keys, JSON Web Tokens, user
// names with passwords, certificates.
//
// It is pure: it does no I/O and keeps no clock. Keys and password files are read
// elsewhere and passed to Keys.Set and Users.Set; until then every client is
// refused. Credentials that were found valid are cached in memory of a fixed size,
// so that checking them again costs a hash and a lookup, without allocation. All
// types are safe for concurrent use.
//
// Nothing here returns, prints or wraps a credential.
package auth
