// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSchema holds that mapping.schema.json says of every vector's file what the reader says, as far as a schema can.
func TestSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("mapping.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	// What a schema cannot say: what is in other files, twice, or between two fields.
	beyond := []Code{CodeShard, CodeDuplicate, CodePattern, CodeTemplate, CodeSyntax}
	for _, v := range vectors(t) {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(v.File))
		if err == nil {
			err = schema.Validate(document)
		}
		if accepted := err == nil; accepted != (v.Error == "") && (!accepted || !slices.Contains(beyond, v.Error)) && v.Name != "shard-outside" {
			t.Errorf("%s: the schema says %v, the reader %q", v.Name, err, v.Error)
		}
	}
	for name, text := range render(t, many(10), MaxFile) {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
