package datadir

import (
	"fmt"

	"github.com/google/uuid"
)

const identityFile = "identity.json"

// Identity identifies a node, whatever its name and address.
type Identity struct {
	ID          string `json:"id"`
	Incarnation uint32 `json:"incarnation"` // counts the starts
}

// Begin returns the identity of this start and has it on disk: the incarnation
// counts even if the process dies at once.
func (d *Dir) Begin() (Identity, error) {
	id, err := ReadJSON[Identity](d, identityFile)
	if err != nil {
		return id, fmt.Errorf("read identity: %w", err)
	}
	if id.ID == "" {
		id = Identity{ID: uuid.NewString()}
	}
	id.Incarnation++
	if err := d.WriteJSON(identityFile, id); err != nil {
		return id, fmt.Errorf("write identity: %w", err)
	}
	return id, nil
}
