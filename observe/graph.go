// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"slices"
	"sync"
	"time"
	"unique"
)

// maxRecords bounds a Graph. A record takes about 200 bytes of memory.
const maxRecords = 2_000_000

// maxClientIDs bounds the client ids that a Use names; a client that makes up a new one at each start has thousands.
const maxClientIDs = 16

// Graph is who used what: the records of AccessTopic, the last one of each key. It is safe for concurrent use.
type Graph struct {
	limit int

	mu                 sync.RWMutex
	records            map[graphKey]Sum
	malformed, dropped uint64
	lastError          error
}

// graphKey is a Key whose texts are held once however many records have them.
type graphKey struct {
	access   unique.Handle[Access]
	clientID unique.Handle[string]
	node     int32
	result   Result
}

// NewGraph returns a Graph of nothing.
func NewGraph() *Graph { return newGraph(maxRecords) }

func newGraph(limit int) *Graph { return &Graph{limit: limit, records: map[graphKey]Sum{}} }

// Add takes a record as the topic has it. What is malformed, and what would be more than a Graph holds, is counted.
func (g *Graph) Add(key, value []byte) {
	record, err := DecodeRecord(key, value)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.malformed++
		g.lastError = err
		return
	}
	k := graphKey{unique.Make(record.Key.Access), unique.Make(record.Key.ClientID), record.Key.Node, record.Key.Result}
	if record.Sum == nil {
		delete(g.records, k)
		return
	}
	if _, known := g.records[k]; !known && len(g.records) >= g.limit {
		g.dropped++
		return
	}
	g.records[k] = *record.Sum
}

// Size is what a Graph holds and what it could not take.
type Size struct {
	// Records that it holds.
	Records int
	// Malformed and Dropped count what it passed over: what no record is, and what was too much.
	Malformed, Dropped uint64
	// LastError says what was wrong with the last malformed record.
	LastError error
}

// Size returns how much the Graph holds.
func (g *Graph) Size() Size {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return Size{len(g.records), g.malformed, g.dropped, g.lastError}
}

// Use is how a principal used a resource by one operation, summed over nodes and client ids.
type Use struct {
	Access
	// Allowed, Tolerated and Denied count by result.
	Allowed   int64 `json:"allowed"`
	Tolerated int64 `json:"tolerated"`
	Denied    int64 `json:"denied"`
	// First and Last are when it was seen.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// LastAllowed, LastTolerated and LastDenied are the last times by result; zero where there was none.
	LastAllowed   time.Time `json:"lastAllowed,omitzero"`
	LastTolerated time.Time `json:"lastTolerated,omitzero"`
	LastDenied    time.Time `json:"lastDenied,omitzero"`
	// ClientIDs are the first 16 in their order, of Clients.
	ClientIDs []string `json:"clientIds"`
	Clients   int      `json:"clients"`
}

// LastServed is when the use last succeeded: allowed, or tolerated.
func (u Use) LastServed() time.Time {
	if u.LastTolerated.After(u.LastAllowed) {
		return u.LastTolerated
	}
	return u.LastAllowed
}

// Count is how often it was used, whatever the result.
func (u Use) Count() int64 { return sum(sum(u.Allowed, u.Tolerated), u.Denied) }

// Uses returns what was used, of the keys to keep (nil for all), by principal, type, name and operation in their order.
func (g *Graph) Uses(keep func(Key) bool) []Use {
	uses := map[unique.Handle[Access]]*Use{}
	g.mu.RLock()
	for k, s := range g.records {
		access, clientID := k.access.Value(), k.clientID.Value()
		if keep != nil && !keep(Key{Access: access, Node: k.node, ClientID: clientID, Result: k.result}) {
			continue
		}
		u := uses[k.access]
		if u == nil {
			u = &Use{Access: access, First: s.First, Last: s.Last}
			uses[k.access] = u
		}
		u.add(k.result, s)
		u.ClientIDs = append(u.ClientIDs, clientID)
	}
	g.mu.RUnlock()
	out := make([]Use, 0, len(uses))
	for _, u := range uses {
		slices.Sort(u.ClientIDs)
		u.ClientIDs = slices.Compact(u.ClientIDs)
		u.Clients = len(u.ClientIDs)
		u.ClientIDs = u.ClientIDs[:min(len(u.ClientIDs), maxClientIDs)]
		out = append(out, *u)
	}
	slices.SortFunc(out, func(a, b Use) int { return compareAccess(a.Access, b.Access) })
	return out
}

func (u *Use) add(result Result, s Sum) {
	if s.First.Before(u.First) {
		u.First = s.First
	}
	if s.Last.After(u.Last) {
		u.Last = s.Last
	}
	count, last := &u.Allowed, &u.LastAllowed
	switch result {
	case Tolerated:
		count, last = &u.Tolerated, &u.LastTolerated
	case Denied:
		count, last = &u.Denied, &u.LastDenied
	}
	*count = sum(*count, s.Count)
	if s.Last.After(*last) {
		*last = s.Last
	}
}

func compareAccess(a, b Access) int {
	return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Operation, b.Operation))
}

// ByPrincipal groups uses by principal.
func ByPrincipal(uses []Use) map[string][]Use {
	out := map[string][]Use{}
	for _, u := range uses {
		out[u.Principal] = append(out[u.Principal], u)
	}
	return out
}
