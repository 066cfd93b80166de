// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"strings"
	"unicode"
)

// Case is the letter behind a rule, which maps the whole principal to lower or upper case.
type Case byte

// The letters that Kafka knows.
const (
	None  Case = 0
	Lower Case = 'L'
	Upper Case = 'U'
)

// String returns the letter, or nothing.
func (c Case) String() string {
	if c == None {
		return ""
	}
	return string(rune(c))
}

// finalSigma is Σ, whose lower case depends on where a word ends, of which Java has its own notion.
const finalSigma = 'Σ'

// unsettled are the characters whose upper or lower case was added or changed after Unicode 13, which Java 17 follows:
// what a broker makes of them depends on its version of Java.
var unsettled = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x019B, Hi: 0x019B, Stride: 1}, // Unicode 16
		{Lo: 0x0264, Hi: 0x0264, Stride: 1}, // Unicode 16
		{Lo: 0x1C89, Hi: 0x1C8A, Stride: 1}, // Unicode 16
		{Lo: 0x2C2F, Hi: 0x2C5F, Stride: 0x30},
		{Lo: 0xA7C0, Hi: 0xA7C1, Stride: 1},
		{Lo: 0xA7CB, Hi: 0xA7DC, Stride: 1}, // Unicode 14 to 17
	},
	R32: []unicode.Range32{
		{Lo: 0x10570, Hi: 0x105BC, Stride: 1}, // Vithkuqi, Unicode 14
		{Lo: 0x10D50, Hi: 0x10D85, Stride: 1}, // Garay, Unicode 16
		{Lo: 0x16EA0, Hi: 0x16ED3, Stride: 1}, // Beria Erfe, Unicode 17
	},
}

// upperSpecial are the characters whose upper case is more than one character: the unconditional mappings of Unicode's SpecialCasing.txt.
var upperSpecial = map[rune]string{
	'ß': "SS", 'ŉ': "ʼN", 'ǰ': "J\u030C", 'ΐ': "Ι\u0308\u0301", 'ΰ': "Υ\u0308\u0301", 'և': "ԵՒ",
	'ẖ': "H\u0331", 'ẗ': "T\u0308", 'ẘ': "W\u030A", 'ẙ': "Y\u030A", 'ẚ': "Aʾ",
	'ﬀ': "FF", 'ﬁ': "FI", 'ﬂ': "FL", 'ﬃ': "FFI", 'ﬄ': "FFL", 'ﬅ': "ST", 'ﬆ': "ST",
	'ﬓ': "ՄՆ", 'ﬔ': "ՄԵ", 'ﬕ': "ՄԻ", 'ﬖ': "ՎՆ", 'ﬗ': "ՄԽ",
	// Greek with breathings, accents and the iota subscript.
	0x1F50: "Υ\u0313", 0x1F52: "Υ\u0313\u0300", 0x1F54: "Υ\u0313\u0301", 0x1F56: "Υ\u0313\u0342",
	0x1F80: "ἈΙ", 0x1F81: "ἉΙ", 0x1F82: "ἊΙ", 0x1F83: "ἋΙ", 0x1F84: "ἌΙ", 0x1F85: "ἍΙ", 0x1F86: "ἎΙ",
	0x1F87: "ἏΙ", 0x1F88: "ἈΙ", 0x1F89: "ἉΙ", 0x1F8A: "ἊΙ", 0x1F8B: "ἋΙ", 0x1F8C: "ἌΙ", 0x1F8D: "ἍΙ",
	0x1F8E: "ἎΙ", 0x1F8F: "ἏΙ", 0x1F90: "ἨΙ", 0x1F91: "ἩΙ", 0x1F92: "ἪΙ", 0x1F93: "ἫΙ", 0x1F94: "ἬΙ",
	0x1F95: "ἭΙ", 0x1F96: "ἮΙ", 0x1F97: "ἯΙ", 0x1F98: "ἨΙ", 0x1F99: "ἩΙ", 0x1F9A: "ἪΙ", 0x1F9B: "ἫΙ",
	0x1F9C: "ἬΙ", 0x1F9D: "ἭΙ", 0x1F9E: "ἮΙ", 0x1F9F: "ἯΙ", 0x1FA0: "ὨΙ", 0x1FA1: "ὩΙ", 0x1FA2: "ὪΙ",
	0x1FA3: "ὫΙ", 0x1FA4: "ὬΙ", 0x1FA5: "ὭΙ", 0x1FA6: "ὮΙ", 0x1FA7: "ὯΙ", 0x1FA8: "ὨΙ", 0x1FA9: "ὩΙ",
	0x1FAA: "ὪΙ", 0x1FAB: "ὫΙ", 0x1FAC: "ὬΙ", 0x1FAD: "ὭΙ", 0x1FAE: "ὮΙ", 0x1FAF: "ὯΙ", 0x1FB2: "ᾺΙ",
	0x1FB3: "ΑΙ", 0x1FB4: "ΆΙ", 0x1FB6: "Α\u0342", 0x1FB7: "Α\u0342Ι", 0x1FBC: "ΑΙ", 0x1FC2: "ῊΙ",
	0x1FC3: "ΗΙ", 0x1FC4: "ΉΙ", 0x1FC6: "Η\u0342", 0x1FC7: "Η\u0342Ι", 0x1FCC: "ΗΙ",
	0x1FD2: "Ι\u0308\u0300", 0x1FD3: "Ι\u0308\u0301", 0x1FD6: "Ι\u0342", 0x1FD7: "Ι\u0308\u0342",
	0x1FE2: "Υ\u0308\u0300", 0x1FE3: "Υ\u0308\u0301", 0x1FE4: "Ρ\u0313", 0x1FE6: "Υ\u0342",
	0x1FE7: "Υ\u0308\u0342", 0x1FF2: "ῺΙ", 0x1FF3: "ΩΙ", 0x1FF4: "ΏΙ", 0x1FF6: "Ω\u0342",
	0x1FF7: "Ω\u0342Ι", 0x1FFC: "ΩΙ",
}

// apply maps s as String.toLowerCase(Locale.ENGLISH) or String.toUpperCase(Locale.ENGLISH) of Java does. It errs, with
// the reason, if that depends on the version of Java.
func (c Case) apply(s string) (string, error) {
	if c == None {
		return s, nil
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.Is(unsettled, r):
			return "", fmt.Errorf("the case of %q depends on the version of Java", r)
		case c == Lower && r == finalSigma:
			return "", fmt.Errorf("the lower case of %q depends on how Java splits words", r)
		case c == Lower && r == 'İ':
			b.WriteString("i\u0307")
		case c == Lower:
			b.WriteRune(unicode.ToLower(r))
		case upperSpecial[r] != "":
			b.WriteString(upperSpecial[r])
		default:
			b.WriteRune(unicode.ToUpper(r))
		}
	}
	return b.String(), nil
}
