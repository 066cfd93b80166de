// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// The topics that brokers with Signet's authorizer write.
const (
	// AccessTopic is the compacted topic of sums, one record for each Key.
	AccessTopic = "__signet_access"
	// AuditTopic has the single events of people.
	AuditTopic = "__signet_audit"
)

// formatVersion is the version of records that this package reads.
const formatVersion = 1

// Bounds of a record; what exceeds them is malformed.
const (
	// maxKey and maxValue are the sizes of a record's parts in bytes.
	maxKey, maxValue = 16 << 10, 1 << 10
	// maxEnum is the length of the name of a resource type or an operation.
	maxEnum = 64
)

// Result is what became of an access.
type Result string

const (
	// Allowed by Kafka's own rules.
	Allowed Result = "allowed"
	// Denied in effect.
	Denied Result = "denied"
	// Tolerated is denied by Kafka's own rules and let through by the authorizer's mode.
	Tolerated Result = "tolerated"
)

// Access is an operation of a principal on a resource.
type Access struct {
	// Principal with its type.
	Principal string `json:"principal"`
	// Type of the resource as Kafka's ResourceType writes it: TOPIC, GROUP, TRANSACTIONAL_ID, CLUSTER, …
	Type string `json:"type"`
	// Name of the resource.
	Name string `json:"name"`
	// Operation as Kafka's AclOperation writes it: READ, WRITE, DESCRIBE, …
	Operation string `json:"operation"`
}

// Key is what a record sums up.
type Key struct {
	Access
	// Node is the broker's node.id.
	Node int32
	// ClientID that the client gives itself; "" where it gives none.
	ClientID string
	Result   Result
}

// Sum is what a record says of its Key.
type Sum struct {
	// Count is the node's running total, at least 1.
	Count int64
	// First and Last are when it was seen first and last, to the millisecond.
	First, Last time.Time
}

// Record is one record of AccessTopic.
type Record struct {
	Key Key
	// Sum is nil where the record is a tombstone: the node forgot the key.
	Sum *Sum
}

// keyText and sumText are records as the topic has them. A pointer tells that the node is missing, for there is one of number 0.
type keyText struct {
	V         int    `json:"v"`
	Node      *int32 `json:"node"`
	Principal string `json:"principal"`
	ClientID  string `json:"clientId"`
	Type      string `json:"type"`
	Name      string `json:"name"`
	Operation string `json:"operation"`
	Result    Result `json:"result"`
}

type sumText struct {
	V     int   `json:"v"`
	Count int64 `json:"count"`
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// maxMillis is the last millisecond that a Sum holds: the end of the year 9999, behind which no JSON has a time.
const maxMillis = 253402300799999

// DecodeRecord reads the key and the value of a record; a nil value is a tombstone.
func DecodeRecord(key, value []byte) (Record, error) {
	if len(key) > maxKey || len(value) > maxValue {
		return Record{}, fmt.Errorf("access record: key of %d bytes or value of %d bytes is too large", len(key), len(value))
	}
	if !utf8.Valid(key) || !utf8.Valid(value) {
		return Record{}, fmt.Errorf("access record: not UTF-8")
	}
	var k keyText
	if err := json.Unmarshal(key, &k); err != nil {
		return Record{}, fmt.Errorf("access record: key: %w", err)
	}
	switch {
	case k.V != formatVersion:
		return Record{}, fmt.Errorf("access record: key of version %d; this reader knows %d", k.V, formatVersion)
	case k.Node == nil || *k.Node < 0 || k.Principal == "" || k.Name == "":
		return Record{}, fmt.Errorf("access record: key without node, principal or name")
	case !isEnum(k.Type) || !isEnum(k.Operation):
		return Record{}, fmt.Errorf("access record: key with type %.80q or operation %.80q", k.Type, k.Operation)
	case k.Result != Allowed && k.Result != Denied && k.Result != Tolerated:
		return Record{}, fmt.Errorf("access record: key with result %.80q", k.Result)
	}
	record := Record{Key: Key{Access: Access{k.Principal, k.Type, k.Name, k.Operation}, Node: *k.Node, ClientID: k.ClientID, Result: k.Result}}
	if value == nil {
		return record, nil
	}
	var s sumText
	if err := json.Unmarshal(value, &s); err != nil {
		return Record{}, fmt.Errorf("access record: value: %w", err)
	}
	switch {
	case s.V != formatVersion:
		return Record{}, fmt.Errorf("access record: value of version %d; this reader knows %d", s.V, formatVersion)
	case s.Count < 1:
		return Record{}, fmt.Errorf("access record: count %d", s.Count)
	case s.First < 1 || s.Last < s.First || s.Last > maxMillis:
		return Record{}, fmt.Errorf("access record: seen from %d to %d", s.First, s.Last)
	}
	record.Sum = &Sum{s.Count, time.UnixMilli(s.First).UTC(), time.UnixMilli(s.Last).UTC()}
	return record, nil
}

// isEnum tells whether text can be the name of one of Kafka's enumerations, those of later versions among them.
func isEnum(text string) bool {
	return text != "" && len(text) <= maxEnum && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// sum adds two counts and stays at the largest where they would be more.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
