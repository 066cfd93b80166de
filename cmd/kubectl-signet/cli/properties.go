// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
)

// parseProperties reads a server.properties as Kafka does, which is java.util.Properties.load of its octets: ISO 8859-1
// with \uXXXX for UTF-16 units, lines that end in CR, LF or both, and go on behind a backslash, keys that end at an
// unescaped =, : or blank. Of a key that stands there twice the last value counts. It errs where Java throws. The time
// taken is linear in the number of octets.
func parseProperties(text []byte) (map[string]string, error) {
	found := map[string]string{}
	for line, next := 1, 0; ; {
		logical, first, last, after := logicalLine(text, next, line)
		if len(logical) == 0 {
			return found, nil
		}
		next, line = after, last
		key, value := splitProperty(logical)
		name, err := unescapeProperty(key)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", first, err)
		}
		if found[name], err = unescapeProperty(value); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", first, name, err)
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

func isLineEnd(c byte) bool { return c == '\n' || c == '\r' }

// logicalLine returns the next line at or behind next that is neither blank nor a comment, with the lines joined that a
// backslash joins; nil at the end. line counts lines, from 1: first is that of its beginning, last the one behind it.
func logicalLine(text []byte, next, line int) (logical []byte, first, last, after int) {
	for next < len(text) {
		for next < len(text) && isBlank(text[next]) {
			next++
		}
		begin := next
		for next < len(text) && !isLineEnd(text[next]) {
			next++
		}
		part, number := text[begin:next], line
		if next < len(text) {
			line++
			if text[next] == '\r' && next+1 < len(text) && text[next+1] == '\n' {
				next++
			}
			next++
		}
		if len(logical) == 0 {
			if len(part) == 0 || part[0] == '#' || part[0] == '!' {
				continue
			}
			first = number
		}
		continued := endsInBackslash(part)
		if continued {
			part = part[:len(part)-1]
		}
		logical = append(logical, part...)
		if !continued {
			break
		}
	}
	return logical, first, line, next
}

// endsInBackslash tells whether a line ends in a backslash that no other one escapes.
func endsInBackslash(line []byte) bool {
	count := 0
	for i := len(line) - 1; i >= 0 && line[i] == '\\'; i-- {
		count++
	}
	return count%2 == 1
}

// splitProperty splits a line at the first unescaped =, : or blank, and takes the blanks around that away.
func splitProperty(line []byte) (key, value []byte) {
	end := 0
	for end < len(line) && line[end] != '=' && line[end] != ':' && !isBlank(line[end]) {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	begin, separated := end, false
	for begin < len(line) {
		if c := line[begin]; !separated && (c == '=' || c == ':') {
			separated = true
		} else if !isBlank(c) {
			break
		}
		begin++
	}
	return line[:end], line[begin:]
}

var errUnicodeEscape = errors.New(`malformed \uXXXX`)

// unescapeProperty takes the backslashes out of a key or a value.
func unescapeProperty(text []byte) (string, error) {
	units := make([]uint16, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' {
			units = append(units, uint16(c))
			continue
		}
		if i++; i == len(text) {
			break
		}
		switch c = text[i]; c {
		case 'u':
			if i+4 >= len(text) {
				return "", errUnicodeEscape
			}
			unit, err := strconv.ParseUint(string(text[i+1:i+5]), 16, 16)
			if err != nil {
				return "", errUnicodeEscape
			}
			units = append(units, uint16(unit))
			i += 4
		case 't':
			units = append(units, '\t')
		case 'n':
			units = append(units, '\n')
		case 'r':
			units = append(units, '\r')
		case 'f':
			units = append(units, '\f')
		default:
			units = append(units, uint16(c))
		}
	}
	return string(utf16.Decode(units)), nil
}
