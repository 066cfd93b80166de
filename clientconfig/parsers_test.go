// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package clientconfig

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// parseProperties reads what java.util.Properties.load(InputStream) reads: ISO 8859-1, logical lines, escapes.
func parseProperties(text []byte) (map[string]string, error) {
	properties := map[string]string{}
	for len(text) > 0 {
		var line []byte
		line, text = logicalLine(text)
		if line == nil {
			continue
		}
		end := 0
		for end < len(line) && !strings.ContainsRune("=: \t\f", rune(line[end])) {
			if line[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(line))
		rest := bytes.TrimLeft(line[end:], " \t\f")
		if len(rest) > 0 && (rest[0] == '=' || rest[0] == ':') {
			rest = bytes.TrimLeft(rest[1:], " \t\f")
		}
		key, err := unescape(line[:end])
		if err != nil {
			return nil, err
		}
		if properties[key], err = unescape(rest); err != nil {
			return nil, err
		}
	}
	return properties, nil
}

// logicalLine cuts the first logical line, its continuations joined; it is nil for a comment or a blank line.
func logicalLine(text []byte) (line, rest []byte) {
	text = bytes.TrimLeft(text, " \t\f\r\n")
	if len(text) == 0 {
		return nil, nil
	}
	if text[0] == '#' || text[0] == '!' {
		if end := bytes.IndexAny(text, "\r\n"); end >= 0 {
			return nil, text[end:]
		}
		return nil, nil
	}
	line = []byte{}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\r' || text[i] == '\n':
			return line, text[i:]
		case text[i] == '\\' && i+1 == len(text):
			return line, nil
		case text[i] == '\\' && (text[i+1] == '\r' || text[i+1] == '\n'):
			i++
			if text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n' {
				i++
			}
			for i+1 < len(text) && strings.ContainsRune(" \t\f", rune(text[i+1])) {
				i++
			}
		case text[i] == '\\':
			line = append(line, text[i], text[i+1])
			i++
		default:
			line = append(line, text[i])
		}
	}
	return line, nil
}

func unescape(s []byte) (string, error) {
	var units []uint16
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			units = append(units, uint16(s[i]))
			continue
		}
		if i++; i == len(s) {
			break
		}
		switch s[i] {
		case 't':
			units = append(units, '\t')
		case 'n':
			units = append(units, '\n')
		case 'r':
			units = append(units, '\r')
		case 'f':
			units = append(units, '\f')
		case 'u':
			if i+4 >= len(s) {
				return "", errors.New("malformed \\uxxxx")
			}
			unit, err := strconv.ParseUint(string(s[i+1:i+5]), 16, 16)
			if err != nil {
				return "", err
			}
			units = append(units, uint16(unit))
			i += 4
		default:
			units = append(units, uint16(s[i]))
		}
	}
	return string(utf16.Decode(units)), nil
}

// parseKcat reads what read_conf_file() of kcat reads, its buffer included.
func parseKcat(text []byte) (map[string]string, error) {
	configuration := map[string]string{}
	for len(text) > 0 {
		n := bytes.IndexByte(text, '\n') + 1
		if n == 0 {
			n = len(text)
		}
		n = min(n, 511)
		line := strings.Trim(string(text[:n]), " \t\n\v\f\r")
		text = text[n:]
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || key == "" || value == "" {
			return nil, fmt.Errorf("expected property=value, got %q", line)
		}
		configuration[key] = value
	}
	return configuration, nil
}

func loadProperties(t *testing.T, text []byte) map[string]string {
	t.Helper()
	properties, err := parseProperties(text)
	if err != nil {
		t.Fatal(err)
	}
	return properties
}

// awkward holds strings that have ended, joined or started a property in some writer of properties files.
func awkward() []string {
	list := []string{
		"", " ", "  two", "trailing ", "\t", "\f", "a\nb=c", "a\r\nb=c", "a\rb", `\`, `\\`, `a\`, `\u000a`, `\n`, "=", ":", "#", "!",
		"# comment", "! comment", "a=b:c", "a b", "é", "größe", "日本", "🔑", "\x00", "\x7f", "\u0085", "\u2028", "\ufeff", "\uffff",
		"key\\\n continued", strings.Repeat(`\`, 7), "\\ ", "\u00a0",
	}
	for r := rune(0); r < 0x100; r++ {
		list = append(list, string(r), "x"+string(r)+"y", "x\\"+string(r))
	}
	return list
}

// TestJavaEscaping writes every awkward string as a key and as a value and reads it back, with the parser above and
// with java.util.Properties itself where a JDK is installed.
func TestJavaEscaping(t *testing.T) {
	var text strings.Builder
	want := map[string]string{}
	list := awkward()
	for i, s := range list {
		key, value := s+"k", list[len(list)-1-i]
		want[key] = value
		writeJavaProperty(&text, key, value)
	}
	compare := func(reader string, got map[string]string) {
		t.Helper()
		for key, value := range want {
			if read, ok := got[key]; !ok || read != value {
				t.Errorf("%s: key %q reads as %q, %v; want %q", reader, key, read, ok, value)
			}
		}
		for key, value := range got {
			if _, ok := want[key]; !ok {
				t.Errorf("%s: read a property that nobody wrote: %q=%q", reader, key, value)
			}
		}
	}
	compare("parser", loadProperties(t, []byte(text.String())))
	if java, err := exec.LookPath("java"); err == nil {
		// Sources that the writer never makes: they show that the parser above is a fair stand-in for Java.
		odd := "a : b\n  c\td\\\n   e\nf\n=g\nh\\ i=\\tj\\u0041\r\nk=l\\\r\n  \\  m\rn==o\n!p\n # q=r\n\\u0073=\\q\\"
		compareMaps(t, readWithJava(t, java, []byte(odd)), loadProperties(t, []byte(odd)))
		compare("java.util.Properties", readWithJava(t, java, []byte(text.String())))
	}
}

func compareMaps(t *testing.T, want, got map[string]string) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("parser reads %q, java reads %q", got, want)
	}
}

const propertiesReader = `
public class Reader {
    public static void main(String[] args) throws Exception {
        java.util.Properties p = new java.util.Properties();
        p.load(System.in);
        java.util.HexFormat hex = java.util.HexFormat.of();
        for (String k : p.stringPropertyNames())
            System.out.println(hex.formatHex(k.getBytes("UTF-8")) + " " + hex.formatHex(p.getProperty(k).getBytes("UTF-8")));
    }
}
`

func readWithJava(t *testing.T, java string, text []byte) map[string]string {
	t.Helper()
	source := filepath.Join(t.TempDir(), "Reader.java")
	if err := os.WriteFile(source, []byte(propertiesReader), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(java, "-XX:TieredStopAtLevel=1", source)
	command.Stdin = bytes.NewReader(text)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		t.Fatalf("java: %v: %s", err, complaints.String())
	}
	properties := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		k, err := hex.DecodeString(key)
		if err != nil {
			t.Fatalf("java printed %q: %v", line, err)
		}
		v, err := hex.DecodeString(value)
		if err != nil {
			t.Fatalf("java printed %q: %v", line, err)
		}
		properties[string(k)] = string(v)
	}
	return properties
}

func FuzzJavaEscaping(f *testing.F) {
	for _, s := range awkward()[:36] {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return // the writer is specified for UTF-8; Render refuses the rest
		}
		var text strings.Builder
		writeJavaProperty(&text, key, value)
		writeJavaProperty(&text, "next", "1")
		got, err := parseProperties([]byte(text.String()))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{key: value}
		want["next"] = "1"
		compareMaps(t, want, got)
	})
}
