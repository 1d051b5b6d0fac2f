package routetable

import (
	_ "embed" // for the schema
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of route files, for editors. It
// knows forms, words and what the comments of Spec say; Validate knows the rest.
func Schema() []byte { return slices.Clone(schema) }
