package routetable_test

import (
	"strings"
	"testing"

	"github.com/meshgw/meshgw/routetable"
)

// A command sends a node what it has read: left out, an empty list would open a
// route to every tenant.
func TestAnEmptyListThatIsRefusedIsWritten(t *testing.T) {
	doc, err := routetable.EncodeYAML(&routetable.Spec{Routes: []routetable.Route{{Name: "r", Tenants: []string{}, Respond: &routetable.Respond{Status: 200}}}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := routetable.Decode(nil, routetable.Source{Name: "sent.yaml", Data: doc})
	if err != nil {
		t.Fatal(err)
	}
	if problems := f.Validate().Err(); problems == nil || !strings.Contains(problems.Error(), "routes[0].tenants (route/r): expected one element at least") {
		t.Errorf("%s\n%v", doc, problems)
	}
}
