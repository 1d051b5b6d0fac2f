package dataplane_test

import (
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/meshgw/meshgw/dataplane"
)

// exemplars returns the labels of those of a histogram, one for each bucket that
// has any.
func (g *gateway) exemplars(t *testing.T, name string) (all []map[string]string) {
	t.Helper()
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, b := range m.GetHistogram().GetBucket() {
				if e := b.GetExemplar(); e != nil {
					all = append(all, labelsOf(e.GetLabel()))
				}
			}
		}
	}
	return all
}

func labelsOf(pairs []*dto.LabelPair) map[string]string {
	labels := map[string]string{}
	for _, p := range pairs {
		labels[p.GetName()] = p.GetValue()
	}
	return labels
}

func TestDurationsHaveExemplarsThatCanBeFound(t *testing.T) {
	up := startRecorder(t, nil)
	g := startGateway(t, dataplane.Config{}, toUpstream(up.addr))
	g.dial(t).send("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: r-1\r\n" + sampled + "\r\n").answer("GET")
	g.stop()
	found := g.exemplars(t, "meshgw_request_duration_seconds")
	if len(found) != 1 || found[0]["trace_id"] != "0af7651916cd43dd8448eb211c80319c" || found[0]["request_id"] != "r-1" {
		t.Errorf("exemplars %v", found)
	}
}

func TestWithTracesOnAnExemplarIsOfASampledOne(t *testing.T) {
	up := startRecorder(t, nil)
	var got traces
	g := startGateway(t, dataplane.Config{Traced: got.add}, toUpstream(up.addr))
	c := g.dial(t)
	for _, parent := range []string{dropped, sampled, dropped} {
		c.send("GET / HTTP/1.1\r\nHost: h\r\n" + parent + "\r\n").answer("GET")
	}
	g.stop()
	if found := g.exemplars(t, "meshgw_request_duration_seconds"); len(found) != 1 || len(got.take()) != 1 {
		t.Errorf("exemplars %v", found)
	}
}
