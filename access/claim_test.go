// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestDecideClaim(t *testing.T) {
	for name, test := range map[string]struct {
		held     []string
		takeOver string
		want     claimDecision
	}{
		"nobody's":                         {nil, "", claimDecision{create: true}},
		"ours":                             {[]string{"m"}, "", claimDecision{}},
		"another's":                        {[]string{"x"}, "", claimDecision{holder: "x"}},
		"two others'":                      {[]string{"x", "c"}, "", claimDecision{holder: "c"}},
		"at once, and ours is smaller":     {[]string{"x", "m"}, "", claimDecision{}},
		"at once, and the other's is":      {[]string{"m", "c"}, "", claimDecision{holder: "c", remove: []string{"m"}}},
		"taken over":                       {[]string{"x"}, "x", claimDecision{create: true, remove: []string{"x"}}},
		"taken over from one of two":       {[]string{"x", "y"}, "x", claimDecision{holder: "y", remove: []string{"x"}}},
		"taken over already":               {[]string{"m"}, "x", claimDecision{}},
		"whoever takes over from himself":  {[]string{"m"}, "m", claimDecision{}},
		"somebody else's name is no claim": {[]string{"x"}, "y", claimDecision{holder: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decideClaim(test.held, "m", test.takeOver); !reflect.DeepEqual(got, test.want) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// TestOneSignetHasAKafka: however the steps of several Signets interleave, in the end one of them has the Kafka, and every
// other one says so.
func TestOneSignetHasAKafka(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		var kafka []string
		signets := []string{"a", "b", "c", "d"}[:2+r.IntN(3)]
		step := func(mine string, seen []string) claimDecision {
			d := decideClaim(seen, mine, "")
			if d.create && !slices.Contains(kafka, mine) {
				kafka = append(kafka, mine)
			}
			kafka = slices.DeleteFunc(kafka, func(claim string) bool { return slices.Contains(d.remove, claim) })
			return d
		}
		// At first each may have seen the Kafka as it was at any moment before.
		history := [][]string{nil}
		for range 10 {
			step(signets[r.IntN(len(signets))], history[r.IntN(len(history))])
			history = append(history, slices.Clone(kafka))
		}
		for range 2 {
			for _, mine := range signets {
				step(mine, kafka)
			}
		}
		holders := 0
		for _, mine := range signets {
			if d := step(mine, kafka); d.holder == "" {
				holders++
			}
		}
		if holders != 1 || len(kafka) != 1 {
			t.Fatalf("%d of %v have the Kafka, whose claims are %v", holders, signets, kafka)
		}
	}
}
