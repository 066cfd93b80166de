// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// entry is a record as a broker writes it.
func entry(k Key, s Sum) (key, value []byte) {
	key, err := json.Marshal(keyText{formatVersion, &k.Node, k.Principal, k.ClientID, k.Type, k.Name, k.Operation, k.Result})
	if err != nil {
		panic(err) // plain strings and numbers
	}
	value, err = json.Marshal(sumText{formatVersion, s.Count, s.First.UnixMilli(), s.Last.UnixMilli()})
	if err != nil {
		panic(err)
	}
	return key, value
}

func put(g *Graph, k Key, s Sum) { g.Add(entry(k, s)) }

func TestGraphSumsUp(t *testing.T) {
	g := NewGraph()
	at := func(hour int) time.Time { return noon.Add(time.Duration(hour) * time.Hour) }
	read := Access{"User:a.b", "TOPIC", "orders", "READ"}
	put(g, Key{read, 1, "x", Allowed}, Sum{5, at(0), at(1)})
	put(g, Key{read, 1, "x", Allowed}, Sum{7, at(0), at(2)}) // the node's running total
	put(g, Key{read, 2, "x", Allowed}, Sum{10, at(-5), at(1)})
	put(g, Key{read, 2, "y", Tolerated}, Sum{1, at(3), at(3)})
	put(g, Key{read, 2, "y", Denied}, Sum{2, at(4), at(4)})
	put(g, Key{Access{"User:a.b", "GROUP", "g", "READ"}, 2, "y", Allowed}, Sum{1, at(1), at(1)})
	forgotten, _ := entry(Key{Access{"User:c.d", "GROUP", "g", "READ"}, 2, "y", Allowed}, Sum{1, at(1), at(1)})
	put(g, Key{Access{"User:c.d", "GROUP", "g", "READ"}, 2, "y", Allowed}, Sum{1, at(1), at(1)})
	g.Add(forgotten, nil)
	g.Add(forgotten, nil)
	g.Add([]byte("?"), nil)
	uses := g.Uses(nil)
	want := Use{
		Access: read, Allowed: 17, Tolerated: 1, Denied: 2, First: at(-5), Last: at(4),
		LastAllowed: at(2), LastTolerated: at(3), LastDenied: at(4), ClientIDs: []string{"x", "y"}, Clients: 2,
	}
	if len(uses) != 2 || uses[0].Type != "GROUP" || fmt.Sprintf("%+v", uses[1]) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v\nwant\n%+v", uses, want)
	}
	if !uses[1].LastServed().Equal(at(3)) || uses[1].Count() != 20 {
		t.Errorf("last served %s, count %d", uses[1].LastServed(), uses[1].Count())
	}
	if size := g.Size(); size.Records != 5 || size.Malformed != 1 || size.Dropped != 0 || size.LastError == nil {
		t.Errorf("%+v", size)
	}
	only := g.Uses(func(k Key) bool { return k.ClientID == "x" })
	if len(only) != 1 || only[0].Count() != 17 {
		t.Errorf("of one client id: %+v", only)
	}
	if by := ByPrincipal(uses); len(by) != 1 || len(by["User:a.b"]) != 2 {
		t.Errorf("%+v", by)
	}
}

func TestGraphIsBounded(t *testing.T) {
	g := newGraph(2)
	for i := range 5 {
		put(g, Key{Access{"User:a", "TOPIC", fmt.Sprint(i), "READ"}, 1, "", Allowed}, Sum{1, noon, noon})
	}
	put(g, Key{Access{"User:a", "TOPIC", "1", "READ"}, 1, "", Allowed}, Sum{math.MaxInt64, noon, noon})
	put(g, Key{Access{"User:a", "TOPIC", "1", "READ"}, 2, "", Allowed}, Sum{1, noon, noon})
	if size := g.Size(); size.Records != 2 || size.Dropped != 4 {
		t.Errorf("%+v", size)
	}
	if uses := g.Uses(nil); len(uses) != 2 || uses[1].Allowed != math.MaxInt64 {
		t.Errorf("%+v", uses)
	}
	many := NewGraph()
	for i := range 100 {
		put(many, Key{Access{"User:a", "TOPIC", "t", "READ"}, 1, fmt.Sprintf("id-%03d", i), Allowed}, Sum{math.MaxInt64, noon, noon})
	}
	if uses := many.Uses(nil); uses[0].Clients != 100 || len(uses[0].ClientIDs) != maxClientIDs || uses[0].ClientIDs[0] != "id-000" || uses[0].Count() != math.MaxInt64 {
		t.Errorf("%+v", uses)
	}
}

// TestGraphIsRebuilt is the law of restarts: whatever of a log was compacted away, and however often it is read, the sums
// are the same.
func TestGraphIsRebuilt(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		type record struct{ key, value []byte }
		var log []record
		for range random.IntN(100) {
			k := Key{Access{fmt.Sprint("User:", random.IntN(3)), "TOPIC", fmt.Sprint(random.IntN(3)), "READ"}, random.Int32N(2), fmt.Sprint(random.IntN(2)), []Result{Allowed, Denied, Tolerated}[random.IntN(3)]}
			key, value := entry(k, Sum{1 + random.Int64N(10), noon, noon.Add(time.Duration(random.IntN(1000)) * time.Second)})
			if random.IntN(5) == 0 {
				value = nil
			}
			log = append(log, record{key, value})
		}
		whole, compacted, twice := NewGraph(), NewGraph(), NewGraph()
		for i, r := range log {
			whole.Add(r.key, r.value)
			twice.Add(r.key, r.value)
			later := slices.ContainsFunc(log[i+1:], func(l record) bool { return string(l.key) == string(r.key) })
			if !later || random.IntN(2) == 0 {
				compacted.Add(r.key, r.value)
			}
		}
		for _, r := range log {
			twice.Add(r.key, r.value)
		}
		want := fmt.Sprintf("%+v", whole.Uses(nil))
		if got := fmt.Sprintf("%+v", compacted.Uses(nil)); got != want {
			t.Fatalf("seed %d: after compaction\n%s\nwant\n%s", seed, got, want)
		}
		if got := fmt.Sprintf("%+v", twice.Uses(nil)); got != want {
			t.Fatalf("seed %d: read twice\n%s\nwant\n%s", seed, got, want)
		}
	}
}

func TestGraphOfManyReadersAndWriters(t *testing.T) {
	g := NewGraph()
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 500 {
				put(g, Key{Access{"User:a", "TOPIC", fmt.Sprint(i), "READ"}, int32(w), "", Allowed}, Sum{1, noon, noon})
				if i%100 == 0 {
					g.Uses(nil)
					g.Size()
				}
			}
		})
	}
	all.Wait()
	if uses := g.Uses(nil); len(uses) != 500 || uses[0].Allowed != 4 {
		t.Errorf("%d uses, the first %+v", len(uses), uses[0])
	}
}
