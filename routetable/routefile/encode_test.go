package routefile_test

import (
	"strings"
	"testing"

	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

// A command sends a node what it has read: left out, an empty list would open a
// route to every tenant.
func TestAnEmptyListThatIsRefusedIsWritten(t *testing.T) {
	doc, err := routefile.EncodeYAML(&routetable.Spec{Routes: []routetable.Route{{Name: "r", Tenants: []string{}, Respond: &routetable.Respond{Status: 200}}}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := routefile.Decode(nil, routefile.Source{Name: "sent.yaml", Data: doc})
	if err != nil {
		t.Fatal(err)
	}
	if problems := f.Validate().Err(); problems == nil || !strings.Contains(problems.Error(), "routes[0].tenants (route/r): expected one element at least") {
		t.Errorf("%s\n%v", doc, problems)
	}
}
