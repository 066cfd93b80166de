// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// commas is what Kafka splits the value of a list at (ConfigDef.COMMA_WITH_WHITESPACE).
var commas = regexp.MustCompile(`\s*,\s*`)

// sameConfig tells whether two texts are one value of a configuration of this type, as Kafka reads them (ConfigDef.parseType)
// and describes them (ConfigDef.convertToString): without blanks around the elements of a list, and a number by its value.
// Of a type that a broker does not tell, or a text that is no value of it, only the same text is the same.
func sameConfig(kind kmsg.ConfigType, a, b string) bool {
	if a == b {
		return true
	}
	if kind == kmsg.ConfigTypePassword || kind == 0 {
		return false
	}
	a, b = trim(a), trim(b)
	switch kind {
	case kmsg.ConfigTypeBoolean:
		return strings.EqualFold(a, b)
	case kmsg.ConfigTypeInt, kmsg.ConfigTypeShort, kmsg.ConfigTypeLong:
		x, noX := strconv.ParseInt(a, 10, 64)
		y, noY := strconv.ParseInt(b, 10, 64)
		return noX == nil && noY == nil && x == y
	case kmsg.ConfigTypeDouble:
		x, noX := strconv.ParseFloat(a, 64)
		y, noY := strconv.ParseFloat(b, 64)
		return noX == nil && noY == nil && x == y
	case kmsg.ConfigTypeList:
		return slices.Equal(commas.Split(a, -1), commas.Split(b, -1))
	}
	return a == b
}

// trim takes away what Java's String.trim does.
func trim(text string) string { return strings.TrimFunc(text, func(c rune) bool { return c <= ' ' }) }
