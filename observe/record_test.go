// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	goodKey   = `{"v":1,"node":1,"principal":"User:a.b","clientId":"x","type":"TOPIC","name":"orders","operation":"READ","result":"allowed"}`
	goodValue = `{"v":1,"count":123,"first":1700000000000,"last":1700000000001}`
)

func TestDecodeRecord(t *testing.T) {
	record, err := DecodeRecord([]byte(goodKey), []byte(goodValue))
	if err != nil {
		t.Fatal(err)
	}
	want := Key{Access{"User:a.b", "TOPIC", "orders", "READ"}, 1, "x", Allowed}
	if record.Key != want || *record.Sum != (Sum{123, time.UnixMilli(1700000000000).UTC(), time.UnixMilli(1700000000001).UTC()}) {
		t.Errorf("%+v %+v", record.Key, record.Sum)
	}
	for name, test := range map[string]struct{ key, value string }{
		"an empty client id":    {strings.Replace(goodKey, `"x"`, `""`, 1), goodValue},
		"no client id":          {strings.Replace(goodKey, `"x"`, `null`, 1), goodValue},
		"node 0":                {strings.Replace(goodKey, `"node":1`, `"node":0`, 1), goodValue},
		"a later field":         {strings.Replace(goodKey, `"v":1`, `"v":1,"rack":"a"`, 1), goodValue},
		"a later type":          {strings.Replace(goodKey, "TOPIC", "SHARE_GROUP", 1), goodValue},
		"a name of another age": {strings.Replace(goodKey, "orders", `Bestellungen \u00e4`, 1), goodValue},
	} {
		if _, err := DecodeRecord([]byte(test.key), []byte(test.value)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, test := range map[string]struct{ key, value string }{
		"no key":                     {"", goodValue},
		"no JSON":                    {"orders", goodValue},
		"a list":                     {"[]", goodValue},
		"null":                       {"null", goodValue},
		"another version":            {strings.Replace(goodKey, `"v":1`, `"v":2`, 1), goodValue},
		"no node":                    {strings.Replace(goodKey, `"node":1,`, "", 1), goodValue},
		"a negative node":            {strings.Replace(goodKey, `"node":1`, `"node":-1`, 1), goodValue},
		"no principal":               {strings.Replace(goodKey, "User:a.b", "", 1), goodValue},
		"no name":                    {strings.Replace(goodKey, "orders", "", 1), goodValue},
		"a type in small":            {strings.Replace(goodKey, "TOPIC", "topic", 1), goodValue},
		"a long type":                {strings.Replace(goodKey, "TOPIC", strings.Repeat("A", 65), 1), goodValue},
		"no operation":               {strings.Replace(goodKey, "READ", "", 1), goodValue},
		"a result of its own":        {strings.Replace(goodKey, "allowed", "maybe", 1), goodValue},
		"two keys":                   {goodKey + goodKey, goodValue},
		"not UTF-8":                  {strings.Replace(goodKey, "orders", "\xff", 1), goodValue},
		"a large key":                {strings.Replace(goodKey, "orders", strings.Repeat("x", maxKey), 1), goodValue},
		"an empty value":             {goodKey, ""},
		"a value that is none":       {goodKey, "1"},
		"a value of another version": {goodKey, strings.Replace(goodValue, `"v":1`, `"v":0`, 1)},
		"a count of nothing":         {goodKey, strings.Replace(goodValue, "123", "0", 1)},
		"a count beyond":             {goodKey, strings.Replace(goodValue, "123", "9223372036854775808", 1)},
		"the end first":              {goodKey, strings.Replace(goodValue, "1700000000001", "1", 1)},
		"no time":                    {goodKey, strings.Replace(goodValue, "1700000000000", "0", 1)},
		"a time beyond":              {goodKey, strings.Replace(goodValue, "1700000000001", "9223372036854775807", 1)},
		"a large value":              {goodKey, goodValue + strings.Repeat(" ", maxValue)},
	} {
		if record, err := DecodeRecord([]byte(test.key), []byte(test.value)); err == nil {
			t.Errorf("%s: accepted as %+v %+v", name, record.Key, record.Sum)
		}
	}
	if record, err := DecodeRecord([]byte(goodKey), nil); err != nil || record.Sum != nil || record.Key != want {
		t.Errorf("a tombstone: %+v, %v", record, err)
	}
}

// FuzzDecodeRecord holds that whatever is in the topic is a record within its bounds, or an error, and that a Graph takes it.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(goodKey), []byte(goodValue))
	f.Add([]byte(goodKey), []byte(nil))
	f.Add([]byte(`{"v":1e0,"V":1}`), []byte(`{"v":1,"count":1,"first":1,"last":2,"last":3}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		record, err := DecodeRecord(key, value)
		graph := newGraph(1)
		graph.Add(key, value)
		size, uses := graph.Size(), graph.Uses(nil)
		if err != nil {
			if size.Malformed != 1 || len(uses) != 0 {
				t.Errorf("%v, and the graph has %+v", err, uses)
			}
			return
		}
		if record.Key.Principal == "" || record.Key.Name == "" || len(record.Key.Type) > maxEnum || record.Key.Node < 0 {
			t.Errorf("%+v", record.Key)
		}
		if record.Sum == nil {
			if len(uses) != 0 {
				t.Errorf("a tombstone gave %+v", uses)
			}
			return
		}
		if len(uses) != 1 || uses[0].Access != record.Key.Access || uses[0].Count() != record.Sum.Count || record.Sum.Count < 1 || uses[0].Last.Before(uses[0].First) {
			t.Errorf("%+v gave %+v", record, uses)
		}
		// What no JSON can hold would stop a command that prints it.
		if _, err := fmt.Sprint(uses[0].First.Format(time.RFC3339)), uses[0].Last.Year(); err > 9999 {
			t.Errorf("seen in the year %d", err)
		}
	})
}
