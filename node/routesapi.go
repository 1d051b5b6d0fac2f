package node

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
	"github.com/meshgw/meshgw/routetable/routefile"
)

// The methods here are admin.Routes: the table as the API tells and changes it.

// Document returns the table as a route file, or the content of an older
// version that is in the history.
func (r *routes) Document(version string, asJSON bool) (doc []byte, of api.RoutesVersion, err error) {
	spec, table := r.store.Spec(), r.store.Table()
	of = api.RoutesVersion{Version: table.Version(), Digest: table.Digest()}
	if version != "" {
		stamp, err := stampOf(version)
		if err != nil {
			return nil, of, err
		}
		if spec, err = r.store.SpecAt(stamp); err != nil {
			return nil, of, refusal(err)
		}
		then, _ := routetable.Compile(spec) // whether or not it could be served today
		of = api.RoutesVersion{Version: stamp.Version, Digest: then.Digest()}
	}
	encode := routefile.EncodeYAML
	if asJSON {
		encode = routefile.EncodeJSON
	}
	doc, err = encode(spec)
	return doc, of, err
}

func stampOf(version string) (crdt.Stamp, error) {
	stamp, err := crdt.ParseStamp(version)
	if err != nil {
		return crdt.Stamp{}, api.NewProblem(http.StatusBadRequest, "version %v", err)
	}
	return stamp, nil
}

// Validate checks a route file without changing anything.
func (r *routes) Validate(doc []byte) error {
	_, _, err := r.prepare([]routefile.Source{{Data: doc}}, nil, replica.Edit{At: r.world.now()}, true)
	return refusal(err)
}

// Apply applies a route file. What it says of the environment is not resolved
// here: a client must not read that of this process.
func (r *routes) Apply(_ context.Context, doc []byte, o api.ApplyOptions) (api.Applied, error) {
	edit, err := r.editOf(o)
	if err != nil {
		return api.Applied{}, err
	}
	p, warnings, err := r.prepare([]routefile.Source{{Data: doc}}, nil, edit, o.DryRun)
	applied, err := r.applied(p, o.DryRun, err)
	applied.Warnings = mistakes(warnings[:min(len(warnings), maxDiffs)])
	return applied, err
}

// prepare reads route files, as one, into the edit and makes the change. Mistakes,
// and what is worth a look in what changed, have their places in the files.
func (r *routes) prepare(sources []routefile.Source, env func(string) (string, bool), e replica.Edit, dryRun bool) (p *replica.Pending, warnings routetable.Problems, err error) {
	file, err := routefile.Decode(env, sources...)
	if err != nil {
		return nil, nil, err
	}
	e.Spec = file.Spec
	p, err = r.change(func() (*replica.Pending, error) { return r.store.Prepare(e) }, dryRun)
	if mistakes, ok := errors.AsType[routetable.Problems](err); ok {
		return nil, nil, file.Locate(mistakes)
	}
	if err != nil {
		return nil, nil, err
	}
	changed := map[string]bool{}
	for _, c := range p.Diff() {
		changed[c.Kind+"/"+c.Name] = true
	}
	for _, w := range file.Locate(append(p.Warnings(), r.unheard(file.Spec.Routes)...)) {
		if changed[w.Object] {
			warnings = append(warnings, w)
		}
	}
	return p, warnings, nil
}

// Rollback makes the content of a version a new one.
func (r *routes) Rollback(_ context.Context, version string, o api.ApplyOptions) (api.Applied, error) {
	stamp, err := stampOf(version)
	if err != nil {
		return api.Applied{}, err
	}
	edit, err := r.editOf(o)
	if err != nil {
		return api.Applied{}, err
	}
	p, err := r.change(func() (*replica.Pending, error) { return r.store.Rollback(stamp, edit) }, o.DryRun)
	return r.applied(p, o.DryRun, err)
}

// editOf reads what an apply asks for besides its document. If-Match is an ETag,
// "VERSION-DIGEST12", or a version.
func (r *routes) editOf(o api.ApplyOptions) (replica.Edit, error) {
	e := replica.Edit{Prune: o.Prune, Author: o.By, Message: o.Message, At: r.world.now()}
	if o.IfMatch == "" || o.IfMatch == "*" {
		return e, nil
	}
	tag := strings.Trim(strings.TrimPrefix(o.IfMatch, "W/"), `"`)
	version, digest, _ := strings.Cut(tag, "-")
	if strings.Contains(version, "@") { // VERSION@NODE, whose node may contain a dash
		version, digest = tag, ""
	}
	stamp, err := stampOf(version)
	if err != nil && tag != o.IfMatch { // an ETag, of something else
		return e, api.NewProblem(http.StatusPreconditionFailed, "the table never had the ETag %s", o.IfMatch)
	}
	if err != nil {
		return e, err
	}
	if stamp.IsZero() { // version 0 is the empty table, which has no stamp
		digest = replica.NewStore("").Table().Digest()
	}
	e.IfVersion, e.IfDigest = stamp, digest
	return e, nil
}

func (r *routes) applied(p *replica.Pending, dryRun bool, err error) (api.Applied, error) {
	if err != nil {
		return api.Applied{}, refusal(err)
	}
	a := api.Applied{Version: r.store.Table().Version(), Digest: p.Digest(), DryRun: dryRun}
	if dryRun {
		a.Changes = changes(p.Diff(), math.MaxInt) // it is asked for them
	} else {
		a.Changes = changes(p.Diff(), maxDiffs)
		a.Version = p.Stamp().Version
		if !p.NoChange() {
			a.ID = p.Stamp().String()
		}
	}
	return a, nil
}

// maxDiffs is of how many changes the text is told where it was not asked for: to
// write ten thousand of them takes longer than to make them.
const maxDiffs = 1000

// changes reports all changes, and of the first so many how they read.
func changes(diff []replica.Change, texts int) []api.Change {
	ops := map[string]string{"added": api.OpCreate, "changed": api.OpUpdate, "deleted": api.OpDelete}
	all := make([]api.Change, 0, len(diff))
	for i, c := range diff {
		change := api.Change{Op: ops[c.Action], Kind: c.Kind, Name: c.Name}
		if i < texts {
			change.Diff = diffOf(c)
		}
		all = append(all, change)
	}
	return all
}

// History returns the changesets that are remembered, the newest first.
func (r *routes) History() []api.Changeset {
	lost := map[crdt.Stamp]bool{}
	for _, c := range r.store.Conflicts() {
		lost[c.Loser] = true
	}
	all := []api.Changeset{}
	for _, rev := range r.store.History() {
		all = append(all, api.Changeset{
			ID: rev.Stamp.String(), Version: rev.Stamp.Version, Node: rev.Stamp.Node, At: rev.At, By: rev.Author,
			Message: rev.Message, Conflict: lost[rev.Stamp], Changes: changes(rev.Changes, maxDiffs),
		})
	}
	return all
}

// refusal says to a user of the API what was wrong with a request.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return p
	}
	if problems, ok := errors.AsType[routetable.Problems](err); ok {
		p := api.NewProblem(http.StatusUnprocessableEntity, "the route file is not valid")
		p.Errors = mistakes(problems)
		return p
	}
	switch {
	case errors.Is(err, replica.ErrStale):
		return api.NewProblem(http.StatusPreconditionFailed, "%v", err)
	case errors.Is(err, replica.ErrUnknownVersion):
		return api.NewProblem(http.StatusNotFound, "%v", err)
	case errors.Is(err, replica.ErrAmbiguousVersion):
		return api.NewProblem(http.StatusConflict, "%v", err)
	}
	return api.NewProblem(http.StatusUnprocessableEntity, "%v", err)
}

func mistakes(problems routetable.Problems) (all []api.Mistake) {
	for _, m := range problems {
		all = append(all, api.Mistake{Field: m.Path, Object: m.Object, Line: m.Line, Column: m.Column, Detail: m.Message})
	}
	return all
}

func pendingOf(object, reason string) api.Pending {
	kind, name, _ := strings.Cut(object, "/")
	if kind == "" {
		kind = "changeset"
	}
	return api.Pending{Kind: kind, Name: name, Reason: reason}
}

// diffOf shows a change of one object as a unified diff of its YAML.
func diffOf(c replica.Change) string {
	name := c.Kind + "/" + c.Name
	return string(diff.Diff(name, yamlOf(c.Before), name, yamlOf(c.After)))
}

func yamlOf(object json.RawMessage) []byte {
	if object == nil {
		return nil
	}
	text, err := routefile.YAML(object)
	if err != nil {
		return object // JSON will do
	}
	return text
}
