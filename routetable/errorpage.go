package routetable

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// errorWords name the gateway's own errors that a route can have pages for, by class,
// by status and by the reason in x-meshgw-error. Those that come before a route is
// known are none.
func errorWords() []string {
	return []string{
		"4xx", "5xx", "400", "401", "403", "408", "413", "421", "429", "502", "503", "504",
		"bad_request", "too_large", "denied", "unauthenticated", "quota_exceeded", "concurrency_exceeded", "overloaded",
		"no_healthy_upstream", "circuit_open", "pending_full", "connect_failure", "upstream_timeout", "upstream_reset",
	}
}

// PageRule is a compiled ErrorPage.
type PageRule struct {
	on          []string
	ContentType string
	Body        []Part
}

// ErrorPage returns the first page of r for an error; nil if it has none.
func (r *Rule) ErrorPage(status int, reason string) *PageRule {
	for i := range r.errorPages {
		if r.errorPages[i].isFor(status, reason) {
			return &r.errorPages[i]
		}
	}
	return nil
}

// HasErrorPages reports whether r has a page for any error.
func (r *Rule) HasErrorPages() bool { return len(r.errorPages) > 0 }

func (p *PageRule) isFor(status int, reason string) bool {
	return len(p.on) == 0 || slices.ContainsFunc(p.on, func(word string) bool {
		return word == reason || word == strconv.Itoa(status) || word == strconv.Itoa(status/100)+"xx"
	})
}

func errorPages(pages []ErrorPage) []PageRule {
	var out []PageRule
	for _, p := range pages {
		body, plain, _ := parts(p.Body, pageVariables())
		if body == nil {
			body = []Part{{Text: plain}}
		}
		out = append(out, PageRule{p.On, cmp.Or(p.ContentType, "text/html; charset=utf-8"), body})
	}
	return out
}

func (v *validator) errorPages(pages []ErrorPage) {
	if !v.bounded("error_pages", len(pages)) {
		return
	}
	for i, p := range pages {
		at := item("error_pages", i)
		v.some(at+".on", p.On)
		for j, word := range p.On {
			if !slices.Contains(errorWords(), word) {
				v.errorf(at+"."+item("on", j), "expected one of %s, got %q", strings.Join(errorWords(), ", "), word)
			}
		}
		if len(p.Body) > maxRespond {
			v.errorf(at+".body", "expected at most %d bytes, got %d", maxRespond, len(p.Body))
		}
		v.placeholders(at+".body", p.Body, pageVariables())
		if major, minor, ok := strings.Cut(p.ContentType, "/"); p.ContentType != "" && (!ok || !isToken(major) || minor == "" || !isFieldValue(minor)) {
			v.errorf(at+".content_type", "expected a media type such as text/html or application/json, got %q", p.ContentType)
		}
		if i > 0 && len(pages[i-1].On) == 0 {
			v.errorf(at, "the page before is for every error already")
		}
	}
}
