// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"testing"

	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/principal/mapping"
)

// lookupPairs compare deciding a peer among 100,000 exact subjects with deciding it among 10: the time must not depend
// on their number.
func lookupPairs() ([]pair, error) {
	many, err := lookups(100_000)
	if err != nil {
		return nil, err
	}
	few, err := lookups(10)
	if err != nil {
		return nil, err
	}
	return []pair{{name: "lookup-100000", unit: "us", subject: many, baseline: few, target: 2}}, nil
}

// lookups decides peers all over a set of so many subjects, from the DER of their certificates.
func lookups(count int) (func(*testing.B), error) {
	file := mapping.File{Cluster: "kafka/kafka", Generation: 1, Unmapped: mapping.Refuse, Exact: map[string]string{}}
	const asked = 1000
	var peers []mapping.Peer
	for i := range count {
		user := principal.UserSubject{Namespace: "namespace", Name: fmt.Sprintf("user-%d", i), Organization: "signet"}
		file.Exact[user.String()] = fmt.Sprintf("namespace.user-%d", i)
		if i%max(count/asked, 1) == 0 {
			der, err := user.RawDER()
			if err != nil {
				return nil, err
			}
			peers = append(peers, mapping.Peer{Subject: der})
		}
	}
	files, err := mapping.Render(file, mapping.MaxFile)
	if err != nil {
		return nil, err
	}
	set, err := mapping.Parse([]byte(files[mapping.FileName]), func(shard string) ([]byte, error) { return []byte(files[shard]), nil })
	if err != nil {
		return nil, err
	}
	return func(b *testing.B) {
		i := 0
		for b.Loop() {
			if _, err := set.Principal(peers[i%len(peers)]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	}, nil
}
