package config

import (
	"os"
	"regexp"
	"testing"
)

// What deploy/ gives to users is held to the settings that there are.

func TestTheSettingsForSystemdAreValid(t *testing.T) {
	keyring := map[string][]string{"keyring": {"testdata/keyring.json"}} // is looked into
	cfg, err := Load(keyring, nil, "../../deploy/systemd/meshgw.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Node.Name != "eu-1" || cfg.Node.Region != "eu" || cfg.MeshTLS.Cert != "/etc/meshgw/eu-1.pem" {
		t.Errorf("read as %+v", cfg)
	}
}

func TestTheVariablesForKubernetesAreSettings(t *testing.T) {
	manifest, err := os.ReadFile("../../deploy/kubernetes/meshgw.yaml")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"MESHGW_TOKEN": true} // of the commands
	for _, s := range Settings() {
		known[s.Env()] = true
	}
	found := regexp.MustCompile(`name: (MESHGW_\w+)`).FindAllStringSubmatch(string(manifest), -1)
	if len(found) < 10 {
		t.Errorf("%d variables found", len(found))
	}
	for _, name := range found {
		if !known[name[1]] {
			t.Errorf("%s is no setting", name[1])
		}
	}
}
