// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	kjson "sigs.k8s.io/json"
)

// Version is the version of the format that this package writes and reads.
const Version = 1

// Bounds of a mapping file. Readers refuse what exceeds them, in Java as in Go.
const (
	// MaxFile is the size of a file and of each shard, in bytes: what a ConfigMap holds.
	MaxFile = 1 << 20
	// MaxShards is the number of shards beside the file itself.
	MaxShards = 15
	// MaxPatterns bounds what is tried one after the other for a peer that no exact entry knows.
	MaxPatterns = 256
	// MaxPattern is the length of a pattern, in bytes.
	MaxPattern = 512
	// MaxSubject is the length of a subject or SPIFFE ID, in UTF-16 units; the SPIFFE specification has the same limit.
	MaxSubject = 2048
	// MaxName is the length of a principal's name, in UTF-16 units.
	MaxName = 512
)

// Unmapped says what becomes of a peer that no entry knows.
type Unmapped string

const (
	// Refuse closes the connection.
	Refuse Unmapped = "refuse"
	// Explicit gives it a principal that no KafkaUser can have, so that an audit sees it: sa:<namespace>.<service
	// account> for a workload of the mesh, else unmapped:<SHA-256 of the DER subject>.
	Explicit Unmapped = "explicit"
)

// File is the content of mapping.json.
type File struct {
	// Version of the format.
	Version int `json:"version"`
	// Cluster is the KafkaCluster, namespace/name.
	Cluster string `json:"cluster"`
	// Generation grows with each change of the content; at least 1.
	Generation int64 `json:"generation"`
	// MeshTrustDomain is the SPIFFE trust domain whose workloads Explicit names.
	MeshTrustDomain string `json:"meshTrustDomain,omitempty"`
	// Unmapped is Refuse or Explicit.
	Unmapped Unmapped `json:"unmapped"`
	// Exact maps certificate subjects (RFC 2253, as Java prints them) to names of principals, without the type User.
	Exact map[string]string `json:"exact"`
	// SPIFFE maps SPIFFE IDs to names of principals.
	SPIFFE map[string]string `json:"spiffe"`
	// Patterns are tried in this order on subjects that Exact does not have.
	Patterns []PatternEntry `json:"patterns,omitempty"`
	// Shards are files beside this one that hold the rest of Exact and SPIFFE.
	Shards []Shard `json:"shards,omitempty"`
}

// PatternEntry maps the subjects that match a pattern as a whole.
type PatternEntry struct {
	// Pattern is in the syntax of package pattern.
	Pattern string `json:"pattern"`
	// Principal is a template: $1 to $9 are the pattern's groups, $$ is a dollar.
	Principal string `json:"principal"`
}

// Shard names a file in the same directory and its content.
type Shard struct {
	// File is its name, mapping-1.json to mapping-15.json.
	File string `json:"file"`
	// SHA256 of its content, in hexadecimal: a file that was not replaced yet is noticed.
	SHA256 string `json:"sha256"`
}

// shardFile is the content of a shard.
type shardFile struct {
	Version int               `json:"version"`
	Exact   map[string]string `json:"exact"`
	SPIFFE  map[string]string `json:"spiffe"`
}

// Code says in a word why a file was refused; it is what test/vectors name.
type Code string

// The reasons for which a file is refused.
const (
	CodeVersion   Code = "version"
	CodeSyntax    Code = "syntax"
	CodeUnknown   Code = "unknown-field"
	CodeDuplicate Code = "duplicate"
	CodeBounds    Code = "bounds"
	CodePattern   Code = "pattern"
	CodeTemplate  Code = "template"
	CodeShard     Code = "shard"
	CodeValue     Code = "value"
)

// FileError says why a file was refused. Whoever has an earlier good file goes on with that.
type FileError struct {
	// Code is the reason.
	Code Code
	// Detail is for people.
	Detail string
}

// Error returns the reason and the detail.
func (e *FileError) Error() string { return fmt.Sprintf("mapping file: %s: %s", e.Code, e.Detail) }

func fileError(code Code, format string, args ...any) error {
	return &FileError{Code: code, Detail: fmt.Sprintf(format, args...)}
}

var (
	shardName   = regexp.MustCompile(`^mapping-([1-9]|1[0-5])\.json$`)
	sha256Hex   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	trustDomain = regexp.MustCompile(`^[a-z0-9._-]{1,255}$`)
)

// decode reads JSON strictly: valid UTF-8, no field that the format does not have, no key twice, nothing behind it.
func decode(text []byte, into any) error {
	if len(text) > MaxFile {
		return fileError(CodeBounds, "%d bytes, more than %d", len(text), MaxFile)
	}
	if !utf8.Valid(text) {
		return fileError(CodeSyntax, "not UTF-8")
	}
	var version struct {
		Version *int `json:"version"`
	}
	strict, err := kjson.UnmarshalStrict(text, into, kjson.DisallowDuplicateFields, kjson.DisallowUnknownFields)
	if err != nil {
		return fileError(CodeSyntax, "%v", err)
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &version); err != nil || version.Version == nil {
		return fileError(CodeVersion, "no version")
	}
	if *version.Version != Version {
		return fileError(CodeVersion, "version %d; this reader knows %d", *version.Version, Version)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return fileError(CodeSyntax, "%v", err)
	}
	for name, value := range fields {
		if string(value) == "null" {
			return fileError(CodeValue, "%s is null", name)
		}
	}
	if len(strict) == 0 {
		return nil
	}
	if strings.HasPrefix(strict[0].Error(), "duplicate field") {
		return fileError(CodeDuplicate, "%v", strict[0])
	}
	return fileError(CodeUnknown, "%v", strict[0])
}

// Parse reads a file and its shards. read returns the content of a shard by its file name; it may be nil where there
// are none. The error is a *FileError, or what read returned. A file is taken as a whole or not at all.
// Time and memory are linear in the size of the files, and in patterns times their length.
func Parse(text []byte, read func(file string) ([]byte, error)) (*Set, error) {
	var f File
	if err := decode(text, &f); err != nil {
		return nil, err
	}
	switch {
	case f.Cluster == "":
		return nil, fileError(CodeValue, "no cluster")
	case f.Generation < 1:
		return nil, fileError(CodeValue, "generation %d, less than 1", f.Generation)
	case f.Unmapped != Refuse && f.Unmapped != Explicit:
		return nil, fileError(CodeValue, "unmapped is %q, neither %q nor %q", f.Unmapped, Refuse, Explicit)
	case f.MeshTrustDomain != "" && !trustDomain.MatchString(f.MeshTrustDomain):
		return nil, fileError(CodeValue, "meshTrustDomain %q is no trust domain", f.MeshTrustDomain)
	case f.Exact == nil || f.SPIFFE == nil:
		return nil, fileError(CodeValue, "exact or spiffe is missing")
	case len(f.Patterns) > MaxPatterns:
		return nil, fileError(CodeBounds, "%d patterns, more than %d", len(f.Patterns), MaxPatterns)
	case len(f.Shards) > MaxShards:
		return nil, fileError(CodeBounds, "%d shards, more than %d", len(f.Shards), MaxShards)
	}
	set := &Set{generation: f.Generation, cluster: f.Cluster, unmapped: f.Unmapped, exact: map[string]string{}, spiffe: map[string]string{}, workload: workloadID(f.MeshTrustDomain)}
	if err := set.add(f.Exact, f.SPIFFE); err != nil {
		return nil, err
	}
	for _, entry := range f.Patterns {
		p, err := CompilePattern(entry)
		if err != nil {
			return nil, err
		}
		set.patterns = append(set.patterns, p)
	}
	seen := map[string]bool{}
	for _, shard := range f.Shards {
		if !shardName.MatchString(shard.File) || !sha256Hex.MatchString(shard.SHA256) || seen[shard.File] {
			return nil, fileError(CodeShard, "shard %q with sha256 %q is malformed or named twice", shard.File, shard.SHA256)
		}
		seen[shard.File] = true
		if read == nil {
			return nil, fileError(CodeShard, "no shard %s", shard.File)
		}
		content, err := read(shard.File)
		if err != nil {
			return nil, fmt.Errorf("mapping file: read shard %s: %w", shard.File, err)
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != shard.SHA256 {
			return nil, fileError(CodeShard, "shard %s has another content than the file names; it may not have arrived yet", shard.File)
		}
		var s shardFile
		if err := decode(content, &s); err != nil {
			return nil, fmt.Errorf("shard %s: %w", shard.File, err)
		}
		if s.Exact == nil || s.SPIFFE == nil {
			return nil, fileError(CodeValue, "shard %s: exact or spiffe is missing", shard.File)
		}
		if err := set.add(s.Exact, s.SPIFFE); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// add takes entries; a key that is there already is refused.
func (s *Set) add(exact, spiffe map[string]string) error {
	for subject, name := range exact {
		if strings.ContainsRune(subject, utf8.RuneError) {
			return fileError(CodeValue, "subject %q has U+FFFD, behind which different subjects read alike", subject)
		}
		if subject == "" || units(subject) > MaxSubject {
			return fileError(CodeValue, "subject %.80q is empty or longer than %d", subject, MaxSubject)
		}
		if _, twice := s.exact[subject]; twice {
			return fileError(CodeDuplicate, "subject %q is in two files", subject)
		}
		if err := CheckName(name); err != nil {
			return fileError(CodeValue, "subject %q: %v", subject, err)
		}
		s.exact[subject] = name
	}
	for id, name := range spiffe {
		if !strings.HasPrefix(id, spiffeScheme) || units(id) > MaxSubject {
			return fileError(CodeValue, "spiffe id %.80q does not begin with %s or is longer than %d", id, spiffeScheme, MaxSubject)
		}
		if _, twice := s.spiffe[id]; twice {
			return fileError(CodeDuplicate, "spiffe id %q is in two files", id)
		}
		if err := CheckName(name); err != nil {
			return fileError(CodeValue, "spiffe id %q: %v", id, err)
		}
		s.spiffe[id] = name
	}
	return nil
}

// CheckName tells whether name can be that of a principal: 1 to MaxName UTF-16 units, no control character, no U+FFFD,
// which is what is left of text that is none.
func CheckName(name string) error {
	if name == "" || units(name) > MaxName {
		return fmt.Errorf("principal %.80q is empty or longer than %d", name, MaxName)
	}
	for _, c := range name {
		if c < 0x20 || c == 0x7f || c == utf8.RuneError {
			return fmt.Errorf("principal %q has a control character, or U+FFFD", name)
		}
	}
	return nil
}

// units counts as Java's String.length does.
func units(text string) int {
	n := 0
	for _, c := range text {
		n += utf16.RuneLen(c)
	}
	return n
}

var errTooLarge = errors.New("more than the files of one cluster hold")

// Render writes a File that has everything in Exact and SPIFFE as mapping.json and, where that exceeds room (in bytes),
// as shards of at most MaxFile less a ConfigMap's overhead. Which shard an entry is in depends on its key and on their number alone, so that one more entry changes one
// shard. It returns the content by file name.
func Render(f File, room int) (map[string]string, error) {
	f.Version = Version
	if f.Exact == nil {
		f.Exact = map[string]string{}
	}
	if f.SPIFFE == nil {
		f.SPIFFE = map[string]string{}
	}
	f.Shards = nil
	if text, err := marshal(f); err != nil {
		return nil, err
	} else if len(text) <= room {
		return map[string]string{FileName: text}, nil
	}
	// Each number of shards is a fresh division, so numbers grow by doubling: most changes leave it alone.
	for shards := 1; shards <= MaxShards; shards = shards*2 + 1 {
		if files, err := divide(f, shards, room); !errors.Is(err, errTooLarge) {
			return files, err
		}
	}
	return nil, fmt.Errorf("mapping file of %s: %d subjects and %d spiffe ids are %w: remove PrincipalMappings that are not needed any more", f.Cluster, len(f.Exact), len(f.SPIFFE), errTooLarge)
}

// FileName is the name of the file; shards are beside it.
const FileName = "mapping.json"

// ShardName is the name of a shard, counted from 1.
func ShardName(number int) string { return fmt.Sprintf("mapping-%d.json", number) }

// maxOverhead is what a ConfigMap has beside a shard's content: its key.
const maxOverhead = 64

func divide(f File, shards, room int) (map[string]string, error) {
	parts := make([]shardFile, shards)
	for i := range parts {
		parts[i] = shardFile{Version: Version, Exact: map[string]string{}, SPIFFE: map[string]string{}}
	}
	part := func(key string) shardFile {
		sum := sha256.Sum256([]byte(key))
		return parts[(int(sum[0])<<8|int(sum[1]))%shards]
	}
	for subject, name := range f.Exact {
		part(subject).Exact[subject] = name
	}
	for id, name := range f.SPIFFE {
		part(id).SPIFFE[id] = name
	}
	f.Exact, f.SPIFFE, f.Shards = map[string]string{}, map[string]string{}, nil
	files := map[string]string{}
	for i, p := range parts {
		text, err := marshal(p)
		if err != nil {
			return nil, err
		}
		if len(text) > MaxFile-maxOverhead {
			return nil, errTooLarge
		}
		sum := sha256.Sum256([]byte(text))
		name := ShardName(i + 1)
		files[name] = text
		f.Shards = append(f.Shards, Shard{File: name, SHA256: hex.EncodeToString(sum[:])})
	}
	text, err := marshal(f)
	if err != nil {
		return nil, err
	}
	if len(text) > room {
		return nil, errTooLarge
	}
	files[FileName] = text
	return files, nil
}

// marshal writes JSON that people can read, keys in order.
func marshal(v any) (string, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(v); err != nil {
		return "", fmt.Errorf("render mapping file: %w", err)
	}
	return b.String(), nil
}
