package routetable

import (
	"strconv"
	"strings"
)

type rewriteMode uint8

const (
	keepPath rewriteMode = iota
	replacePath
	replacePrefix
)

// RewritesPath reports whether RewritePath changes anything.
func (r *Rule) RewritesPath() bool { return r.rewritePath != keepPath }

// RewritePath appends to dst the path that the upstream is asked for. path is
// canonical and prefix is Hit.Prefix. It follows the table of Gateway API's
// ReplacePrefixMatch, and does not allocate when dst has room.
func (r *Rule) RewritePath(dst, path []byte, prefix int) []byte {
	return appendPath(dst, r.rewritePath, r.rewriteTo, path, prefix)
}

func appendPath(dst []byte, mode rewriteMode, to string, path []byte, prefix int) []byte {
	switch {
	case mode == replacePath:
		return append(dst, to...)
	case mode == keepPath, prefix < 0: // not matched by one
		return append(dst, path...)
	}
	start := len(dst)
	dst = append(dst, to...)
	dst = append(dst, path[prefix:]...)
	if len(dst) == start {
		dst = append(dst, '/')
	}
	return dst
}

// pathRewrite returns the mode and text of a rewrite or redirect.
func pathRewrite(path string, prefix *string) (rewriteMode, string) {
	switch {
	case path != "":
		return replacePath, path
	case prefix != nil:
		return replacePrefix, strings.TrimRight(*prefix, "/")
	}
	return keepPath, ""
}

// Origin is what a redirect starts from: the request as the client sent it.
type Origin struct {
	Scheme string // http or https
	Host   []byte // canonical, without port
	Port   int    // of the listener, as clients know it
	Path   []byte // canonical
	Query  []byte // raw, without "?"; nil = none
	Prefix int    // Hit.Prefix
}

// AppendLocation appends to dst the Location of a rule with a Redirect. As
// Gateway API has it, a port follows from the scheme where the redirect names
// one, else from the listener, and is left out where it is the scheme's own.
func (r *Rule) AppendLocation(dst []byte, from *Origin) []byte {
	to := r.Redirect
	scheme, port := from.Scheme, from.Port
	if to.Scheme != "" {
		scheme, port = to.Scheme, schemePort(to.Scheme)
	}
	if to.Port != 0 {
		port = to.Port
	}
	dst = append(dst, scheme...)
	dst = append(dst, "://"...)
	if to.Host != "" {
		dst = append(dst, to.Host...)
	} else {
		dst = append(dst, from.Host...)
	}
	if port != schemePort(scheme) {
		dst = append(dst, ':')
		dst = strconv.AppendInt(dst, int64(port), 10)
	}
	dst = appendPath(dst, r.rewritePath, r.rewriteTo, from.Path, from.Prefix)
	if len(from.Query) > 0 {
		dst = append(dst, '?')
		dst = append(dst, from.Query...)
	}
	return dst
}

func schemePort(scheme string) int {
	if scheme == "https" {
		return 443
	}
	return 80
}
