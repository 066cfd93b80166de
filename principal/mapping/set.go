// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/signet-kafka/signet/principal/subject"
)

const spiffeScheme = "spiffe://"

// Set is a mapping file in memory. It does not change, and is safe for concurrent use.
type Set struct {
	cluster    string
	generation int64
	unmapped   Unmapped
	exact      map[string]string
	spiffe     map[string]string
	patterns   []*Pattern
	workload   *regexp.Regexp
}

// Peer is what is known of the other end of a TLS connection.
type Peer struct {
	// Subject is the DER of its certificate's subject.
	Subject []byte
	// URIs are the URIs of its certificate's subject alternative names.
	URIs []string
}

// Reason says in a word why a peer was refused.
type Reason string

// The reasons for which a peer is refused.
const (
	// ReasonMalformed is a subject that is no X.501 name.
	ReasonMalformed Reason = "malformed-subject"
	// ReasonSeveral is a certificate with more than one SPIFFE ID, which X509-SVID section 2 forbids.
	ReasonSeveral Reason = "several-spiffe-ids"
	// ReasonDisagreement is a subject and a SPIFFE ID that are different principals.
	ReasonDisagreement Reason = "disagreement"
	// ReasonUnmapped is a peer that no entry knows.
	ReasonUnmapped Reason = "unmapped"
)

// Refused says that a peer has no principal; the connection has to be closed.
type Refused struct {
	// Reason is one of Reason….
	Reason Reason
	// Subject as brokers see it, and SPIFFE ID, "" where there is none.
	Subject, SPIFFE string
}

// Error says who was refused and why.
func (e *Refused) Error() string {
	return fmt.Sprintf("peer with subject %q and spiffe id %q has no principal: %s", e.Subject, e.SPIFFE, e.Reason)
}

// Entry tells which part of a set a decision comes from.
type Entry struct {
	// Kind is exact, spiffe, pattern, workload or unmapped.
	Kind string
	// Key is the subject, the SPIFFE ID or the pattern.
	Key string
	// Name of the principal.
	Name string
}

// Cluster is the KafkaCluster of the file, namespace/name.
func (s *Set) Cluster() string { return s.cluster }

// Generation of the file.
func (s *Set) Generation() int64 { return s.generation }

// Len is the number of entries.
func (s *Set) Len() int { return len(s.exact) + len(s.spiffe) + len(s.patterns) }

// Principal decides who a peer is. The error is a *Refused. Exact subjects and SPIFFE IDs take constant time, whatever
// their number; a subject that is none takes time linear in the patterns and its length.
func (s *Set) Principal(p Peer) (Entry, error) {
	name, err := subject.Parse(p.Subject)
	if err != nil {
		return Entry{}, &Refused{Reason: ReasonMalformed}
	}
	sum := sha256.Sum256
	return s.decide(name.String(), p.URIs, func() string {
		hash := sum(p.Subject)
		return hex.EncodeToString(hash[:])
	})
}

// Explain decides who a peer with this subject (as brokers see it) and this SPIFFE ID is; either may be "". An
// unmapped subject's hash cannot be known from its text, so that it is refused where Principal would name it.
func (s *Set) Explain(text, id string) (Entry, error) {
	var uris []string
	if id != "" {
		uris = []string{id}
	}
	return s.decide(text, uris, nil)
}

func (s *Set) decide(text string, uris []string, hash func() string) (Entry, error) {
	id := ""
	for _, uri := range uris {
		if len(uri) < len("spiffe:") || !strings.EqualFold(uri[:len("spiffe:")], "spiffe:") {
			continue
		}
		if id != "" {
			return Entry{}, &Refused{Reason: ReasonSeveral, Subject: text, SPIFFE: id}
		}
		id = uri
	}
	var found []Entry
	if name, ok := s.spiffe[id]; ok {
		found = append(found, Entry{Kind: "spiffe", Key: id, Name: name})
	}
	if entry, ok := s.bySubject(text); ok {
		found = append(found, entry)
	}
	switch {
	case len(found) == 2 && found[0].Name != found[1].Name:
		return Entry{}, &Refused{Reason: ReasonDisagreement, Subject: text, SPIFFE: id}
	case len(found) > 0:
		return found[0], nil
	}
	if s.unmapped == Explicit {
		if match := s.workload.FindStringSubmatch(id); match != nil {
			return Entry{Kind: "workload", Key: id, Name: "sa:" + match[1] + "." + match[2]}, nil
		}
		if hash != nil {
			return Entry{Kind: "unmapped", Key: text, Name: "unmapped:" + hash()}, nil
		}
	}
	return Entry{}, &Refused{Reason: ReasonUnmapped, Subject: text, SPIFFE: id}
}

// Matching returns every entry that a subject fits, in the order in which they count; what is behind the first is
// shadowed by it.
func (s *Set) Matching(text string) []Entry {
	var entries []Entry
	if name, ok := s.exact[text]; ok && text != "" {
		entries = append(entries, Entry{Kind: "exact", Key: text, Name: name})
	}
	if matchable(text) {
		for i := range s.patterns {
			if name, ok := s.patterns[i].Name(text); ok {
				entries = append(entries, Entry{Kind: "pattern", Key: s.patterns[i].text, Name: name})
			}
		}
	}
	return entries
}

func (s *Set) bySubject(text string) (Entry, bool) {
	if name, ok := s.exact[text]; ok && text != "" {
		return Entry{Kind: "exact", Key: text, Name: name}, true
	}
	if len(s.patterns) == 0 || !matchable(text) {
		return Entry{}, false
	}
	for i := range s.patterns {
		if name, ok := s.patterns[i].Name(text); ok {
			return Entry{Kind: "pattern", Key: s.patterns[i].text, Name: name}, true
		}
	}
	return Entry{}, false
}

// workloadID matches the SPIFFE IDs that Istio gives to workloads, with namespace and service account.
func workloadID(trustDomain string) *regexp.Regexp {
	if trustDomain == "" {
		return regexp.MustCompile(`[^\x00-\x{10FFFF}]`)
	}
	return regexp.MustCompile(`\Aspiffe://` + regexp.QuoteMeta(trustDomain) + `/ns/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/sa/([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)\z`)
}
