// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package pattern

import "fmt"

// SyntaxError says that java.util.regex.Pattern.compile would throw PatternSyntaxException.
type SyntaxError struct {
	// Reason is what is wrong, and often what to write instead.
	Reason string
	// Offset is where, in bytes from the start of the pattern.
	Offset int
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("regular expression, offset %d: %s", e.Offset, e.Reason)
}

// UnsupportedError says that the pattern may be valid Java and is refused all the same, because it uses what cannot be
// given the same meaning without Java.
type UnsupportedError struct {
	// Feature names the construct.
	Feature string
	// Offset is where it is, in bytes from the start of the pattern.
	Offset int
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("regular expression, offset %d: %s: not supported", e.Offset, e.Feature)
}

// TooLargeError says that the pattern is beyond one of this package's bounds.
type TooLargeError struct {
	// What was measured: "pattern length", "repetition count" or "program size".
	What string
	// Limit is the largest value accepted.
	Limit int
	// Offset is where the bound was crossed, in bytes from the start of the pattern.
	Offset int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("regular expression, offset %d: %s is above %d", e.Offset, e.What, e.Limit)
}
