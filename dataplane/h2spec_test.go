//go:build !race

package dataplane_test

import (
	"bufio"
	"context"
	"encoding/xml"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
)

// excused are the cases of h2spec that a node does not pass, each explained in
// docs/conformance.md.
func excused(secure bool) []string {
	cases := []string{
		"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
		"Sends a HEADERS frame that contains the connection-specific header field",
		`Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`,
	}
	if !secure {
		cases = append(cases, "Sends invalid connection preface")
	}
	return cases
}

// specReport is what h2spec writes.
type specReport struct {
	Suites []struct {
		Cases []struct {
			Name    string    `xml:"classname,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func TestH2SpecFindsWhatIsKnown(t *testing.T) {
	t.Parallel()
	tool := filepath.Join(t.TempDir(), "h2spec")
	build := exec.Command("go", "build", "-modfile=../tools.mod", "-o", tool, "github.com/summerwind/h2spec/cmd/h2spec")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build h2spec: %v\n%s", err, out)
	}
	// Cases are about streams that are open: an answer at once would end some first.
	spec := toUpstream(startRecorder(t, func(_ string, c net.Conn, _ *bufio.Reader) bool {
		time.Sleep(100 * time.Millisecond)
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n"+strings.Repeat("to be cut ", 4))
		return err == nil
	}).addr)
	for name, g := range map[string]*gateway{"clear": startGateway(t, dataplane.Config{}, spec), "tls": startTLSGateway(t, spec)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge(t, tool, g.addr, name == "tls")
		})
	}
}

// judge runs h2spec on a port and compares what fails with what is excused.
func judge(t *testing.T, tool, addr string, secure bool) {
	t.Helper()
	failed, total := runSpec(t, tool, addr, secure)
	unexcused := slices.DeleteFunc(slices.Clone(failed), func(name string) bool { return slices.Contains(excused(secure), name) })
	t.Logf("tls %v: %d of %d pass, not %q", secure, total-len(failed), total, failed)
	if total < 140 {
		t.Errorf("tls %v: h2spec ran %d cases", secure, total)
	}
	for _, name := range unexcused {
		t.Errorf("tls %v: %s", secure, name)
	}
}

func runSpec(t *testing.T, tool, addr string, secure bool) (failed []string, total int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Error(err)
		return nil, 0
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	args := []string{"-h", "127.0.0.1", "-p", port, "-o", "4", "-j", file}
	if secure {
		args = append(args, "-t", "-k")
	}
	out, _ := exec.CommandContext(ctx, tool, args...).CombinedOutput() // fails if a case does
	text, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("h2spec has written no report: %v\n%s", err, out)
		return nil, 0
	}
	var report specReport
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Errorf("read report: %v", err)
	}
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			total++
			if c.Failure != nil || c.Error != nil {
				failed = append(failed, strings.TrimSpace(c.Name))
			}
		}
	}
	return failed, total
}
