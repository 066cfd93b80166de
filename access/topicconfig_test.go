// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestSameConfig(t *testing.T) {
	for _, c := range []struct {
		kind kmsg.ConfigType
		a, b string
		want bool
	}{
		{kmsg.ConfigTypeList, "compact, delete", "compact,delete", true},
		{kmsg.ConfigTypeList, " compact ,\tdelete ", "compact,delete", true},
		{kmsg.ConfigTypeList, "delete,compact", "compact,delete", false},
		{kmsg.ConfigTypeList, "compact", "compact,delete", false},
		{kmsg.ConfigTypeList, " ", "", true},
		{kmsg.ConfigTypeLong, "060000", "60000", true},
		{kmsg.ConfigTypeLong, "+1", "1", true},
		{kmsg.ConfigTypeLong, " -1 ", "-1", true},
		{kmsg.ConfigTypeLong, "1", "10", false},
		{kmsg.ConfigTypeLong, "1x", "1 x", false},
		{kmsg.ConfigTypeInt, "", "0", false},
		{kmsg.ConfigTypeShort, "07", "7", true},
		{kmsg.ConfigTypeDouble, "0.50", "0.5", true},
		{kmsg.ConfigTypeDouble, "1", "1.0", true},
		{kmsg.ConfigTypeDouble, "0.5", "0.6", false},
		{kmsg.ConfigTypeBoolean, "TRUE", "true", true},
		{kmsg.ConfigTypeBoolean, "true", "false", false},
		{kmsg.ConfigTypeString, " lz4", "lz4", true},
		{kmsg.ConfigTypeString, "LZ4", "lz4", false},
		{kmsg.ConfigTypePassword, " a", "a", false},
		{0, "compact, delete", "compact,delete", false},
		{0, "a", "a", true},
	} {
		if sameConfig(c.kind, c.a, c.b) != c.want || sameConfig(c.kind, c.b, c.a) != c.want {
			t.Errorf("%s %q and %q: same is %t", c.kind, c.a, c.b, !c.want)
		}
	}
}

// FuzzSameConfig holds that being the same has no direction, and that a text is always the same as itself.
func FuzzSameConfig(f *testing.F) {
	f.Add(int8(7), "compact, delete", "compact,delete")
	f.Fuzz(func(t *testing.T, kind int8, a, b string) {
		if !sameConfig(kmsg.ConfigType(kind), a, a) || sameConfig(kmsg.ConfigType(kind), a, b) != sameConfig(kmsg.ConfigType(kind), b, a) {
			t.Errorf("%d %q %q", kind, a, b)
		}
	})
}
