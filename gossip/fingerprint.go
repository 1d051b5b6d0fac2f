package gossip

import (
	"crypto/sha256"
	"encoding/hex"
)

// Fingerprints names the keys of the keyring without telling them, the primary
// first; nil without a keyring.
func (m *Mesh) Fingerprints() (all []string) {
	ring := m.keyring()
	if ring == nil {
		return nil
	}
	primary := ring.GetPrimaryKey()
	all = append(all, fingerprint(primary))
	for _, key := range ring.GetKeys() {
		if f := fingerprint(key); f != all[0] {
			all = append(all, f)
		}
	}
	return all
}

// fingerprint is enough of a hash to tell keys apart by eye. Keys are random, so
// it gives nothing of them away.
func fingerprint(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:6])
}
