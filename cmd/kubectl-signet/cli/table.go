// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// column is a heading and what an entry shows below it.
type column struct {
	heading string
	value   func(Entry, time.Time) string
}

func fact(heading string, value func(Entry) string) column {
	return column{heading, func(e Entry, _ time.Time) string { return value(e) }}
}

var (
	columnName      = fact("NAME", Entry.key)
	columnReady     = fact("READY", Entry.readyWord)
	columnReplicas  = fact("REPLICAS", func(e Entry) string { return e.Replicas })
	columnCA        = fact("CA", func(e Entry) string { return e.CA })
	columnRotation  = fact("ROTATION", func(e Entry) string { return string(e.Rotation) })
	columnDelivery  = fact("DELIVERY", func(e Entry) string { return string(e.Delivery) })
	columnIssuer    = fact("ISSUER", func(e Entry) string { return e.Issuer })
	columnPrincipal = fact("PRINCIPAL", func(e Entry) string { return e.Principal })
	columnCluster   = fact("CLUSTER", func(e Entry) string { return e.Cluster })
	columnTopic     = fact("TOPIC", func(e Entry) string { return e.Topic })
	columnPods      = fact("PODS", func(e Entry) string { return e.Pods })
	columnACLs      = fact("ACLS", func(e Entry) string { return number(e.ACLs) })
	columnUsers     = fact("USERS", func(e Entry) string { return number(e.Users) })
	columnBrokers   = fact("BROKERS", func(e Entry) string { return number(e.Brokers) })
	columnParts     = fact("PARTITIONS", func(e Entry) string { return number(e.Partitions) })
	columnExpires   = column{"EXPIRES IN", func(e Entry, now time.Time) string { return remaining(e.NotAfter, now, "expired") }}
	columnRenewed   = column{"RENEWED IN", func(e Entry, now time.Time) string { return remaining(e.RenewalTime, now, "due") }}
)

func (e Entry) key() string { return strings.TrimPrefix(e.Namespace+"/"+e.Name, "/") }

// readyWord says beside yes and no that a user is not ready because somebody wants it so.
func (e Entry) readyWord() string {
	switch {
	case e.Suspended:
		return "suspended"
	case e.Ready:
		return "yes"
	default:
		return "NO"
	}
}

func number(n *int32) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

func remaining(t *metav1.Time, now time.Time, past string) string {
	switch {
	case t == nil:
		return ""
	case !t.After(now):
		return past
	default:
		return duration.HumanDuration(t.Sub(now))
	}
}

// WriteTables writes a report for people: one table for each kind, then one line for each problem.
func WriteTables(w io.Writer, r Report, now time.Time) error {
	sections := []struct {
		kind    string
		entries []Entry
		columns []column
	}{
		{"Signet", r.Signet, []column{columnName, columnReady, columnReplicas}},
		{"MeshIssuer", r.MeshIssuers, []column{columnName, columnReady, columnRotation, columnCA, columnExpires}},
		{"KafkaCluster", r.KafkaClusters, []column{columnName, columnReady, columnBrokers, columnUsers, columnIssuer}},
		{"KafkaUser", r.KafkaUsers, []column{columnName, columnReady, columnPrincipal, columnCluster, columnDelivery, columnExpires, columnRenewed, columnACLs, columnPods}},
		{"KafkaTopic", r.KafkaTopics, []column{columnName, columnReady, columnTopic, columnCluster, columnParts}},
		{"Pod", r.Pods, nil},
	}
	var out strings.Builder
	var reasons []string
	for _, s := range sections {
		table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		for i, e := range s.entries {
			if i == 0 && len(s.columns) > 0 {
				headings := []string{strings.ToUpper(s.kind)}
				for _, c := range s.columns[1:] {
					headings = append(headings, c.heading)
				}
				fmt.Fprintln(table, strings.Join(headings, "\t"))
			}
			cells := make([]string, len(s.columns))
			for j, c := range s.columns {
				cells[j] = cmp.Or(printable(c.value(e, now)), "-")
			}
			if len(cells) > 0 {
				fmt.Fprintln(table, strings.Join(cells, "\t"))
			}
			for _, p := range e.Problems {
				reasons = append(reasons, fmt.Sprintf("%s %s: %s (%s): %s", s.kind, e.key(), p.Condition, p.Reason, p.Message))
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		if len(s.entries) > 0 && len(s.columns) > 0 {
			out.WriteByte('\n')
		}
	}
	if len(reasons) > 0 {
		out.WriteString("Not ready:\n")
	}
	for _, reason := range reasons {
		fmt.Fprintf(&out, "  %s\n", printable(reason))
	}
	for _, i := range r.MeshIssuers {
		if i.RotationMessage != "" {
			fmt.Fprintf(&out, "Rotation: MeshIssuer %s: %s: %s\n", printable(i.Name), i.Rotation, printable(i.RotationMessage))
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&out, "Note: %s\n", printable(note))
	}
	if r.Ready {
		fmt.Fprintf(&out, "%d objects, everything is ready.\n", r.objects())
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (r Report) objects() int {
	return len(r.Signet) + len(r.MeshIssuers) + len(r.KafkaClusters) + len(r.KafkaUsers) + len(r.KafkaTopics)
}

// WriteJSON writes a report for programs.
func WriteJSON(w io.Writer, r Report) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// printable keeps a text on one line, and a terminal from obeying it: messages carry what brokers and issuers answered.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

// printableLines is printable that keeps line breaks.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}
