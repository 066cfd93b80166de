// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/observe"
)

// accessLog is testdata/observed/access.log: each line is the key and the value of a record, as brokers write them.
func accessLog(t *testing.T) *observation {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "observed", "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	o := &observation{graph: observe.NewGraph(), existing: observe.Existing{
		Topics: []string{"orders", "refunds", "shop-out", "payments", "secret", "logs-a", "logs-b", "logs-c", "old"}, Groups: []string{"legacy", "web"},
	}}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		o.graph.Add([]byte(key), []byte(value))
	}
	if size := o.graph.Size(); size.Malformed > 0 {
		t.Fatal(size.LastError)
	}
	return o
}

func observedUser(name string, change func(*v1alpha1.KafkaUser)) *v1alpha1.KafkaUser {
	u := declaredUser("orders")
	u.Name, u.Generation = name, 1
	change(u)
	return u
}

// readyCondition is the condition ReadyToEnforce.
func readyCondition(status metav1.ConditionStatus, reason, message string) []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ConditionReadyToEnforce, Status: status, Reason: reason, Message: message, ObservedGeneration: 1, LastTransitionTime: metav1.NewTime(noon)}}
}

// observedWorld are a KafkaCluster in a mode, and KafkaUsers of it.
func observedWorld(t *testing.T, mode v1alpha1.AuthorizationMode) (client.Client, *v1alpha1.KafkaCluster) {
	t.Helper()
	cluster := policed(v1alpha1.ClusterPolicy{})
	cluster.Spec.Authorization = &v1alpha1.Authorization{Mode: mode}
	cluster.Spec.SuperUsers = []string{"User:broker"}
	namespace := func(name, kafka string) client.Object {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kafka": kafka}}}
	}
	another := observedUser("another", func(u *v1alpha1.KafkaUser) { u.Spec.ClusterRef.Name = "another" })
	return deny(t, []client.Object{
		cluster, another, namespace("shop", "yes"), namespace("bank", "yes"), namespace("logs", "no"),
		observedUser("orders", func(u *v1alpha1.KafkaUser) {
			u.Labels = map[string]string{"team": "shop"}
			u.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: "orders"}
			u.Spec.Consume = []string{"orders", "unused"}
			u.Status.Conditions = readyCondition(metav1.ConditionFalse, v1alpha1.ReasonWouldBeDenied, "3 accesses")
		}),
		observedUser("ready", func(u *v1alpha1.KafkaUser) {
			u.Status.Conditions = readyCondition(metav1.ConditionTrue, v1alpha1.ReasonNothingDenied, "all is well")
		}),
		observedUser("unseen", func(u *v1alpha1.KafkaUser) {
			u.Status.Conditions = readyCondition(metav1.ConditionUnknown, v1alpha1.ReasonNotSeen, "nothing was seen")
		}),
		observedUser("enforced", func(u *v1alpha1.KafkaUser) { u.Spec.Enforcement = v1alpha1.EnforcementEnforce }),
	}, nothing), cluster
}

func TestSuggestCommand(t *testing.T) {
	for name, test := range map[string]struct {
		mode    v1alpha1.AuthorizationMode
		options suggestOptions
		err     string
	}{
		"all":       {v1alpha1.AuthorizationAudit, suggestOptions{all: true}, ""},
		"anonymous": {v1alpha1.AuthorizationHybrid, suggestOptions{principal: "User:ANONYMOUS", clientID: "billing", as: "shop/billing"}, ""},
		"foreign":   {v1alpha1.AuthorizationAudit, suggestOptions{principal: "User:CN=old,O=Acme", as: "shop/old"}, ""},
		"merged":    {v1alpha1.AuthorizationAudit, suggestOptions{principal: "User:CN=old,O=Acme", as: "shop/orders"}, ""},
		"unknown":   {v1alpha1.AuthorizationAudit, suggestOptions{principal: "User:nobody"}, ""},
		"whose":     {v1alpha1.AuthorizationAudit, suggestOptions{principal: "User:ANONYMOUS"}, "--as <namespace>/<name>"},
		"malformed": {v1alpha1.AuthorizationAudit, suggestOptions{principal: "User:ANONYMOUS", as: "shop"}, "--as shop"},
		"no label":  {v1alpha1.AuthorizationAudit, suggestOptions{principal: "User:ANONYMOUS", as: "shop/a.b"}, "--as shop/a.b"},
		"super":     {v1alpha1.AuthorizationAudit, suggestOptions{principal: "User:broker", as: "shop/broker"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, cluster := observedWorld(t, test.mode)
			var out, complaints bytes.Buffer
			err := suggest(t.Context(), c, cluster, accessLog(t), test.options, noon.Add(-observe.Window), genericiooptions.IOStreams{Out: &out, ErrOut: &complaints})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("observed", "suggest-"+name+".txt"), slices.Concat(out.Bytes(), complaints.Bytes()))
		})
	}
}

func TestObservedTables(t *testing.T) {
	o := accessLog(t)
	c, cluster := observedWorld(t, v1alpha1.AuthorizationAudit)
	for name, write := range map[string]func(out *bytes.Buffer) error{
		"access": func(out *bytes.Buffer) error {
			return writeUses(out, "", o.graph.Uses(func(k observe.Key) bool { return k.Principal == withType("shop.orders") }), noon, "TYPE", "NAME", "OPERATION", "ALLOWED", "TOLERATED", "DENIED", "LAST SEEN", "CLIENT IDS")
		},
		"access-json": func(out *bytes.Buffer) error {
			return writeUses(out, "json", o.graph.Uses(func(k observe.Key) bool { return k.Name == "payments" }), noon)
		},
		"nobody": func(out *bytes.Buffer) error {
			return writeUses(out, "json", o.graph.Uses(func(observe.Key) bool { return false }), noon)
		},
		"naming":      func(out *bytes.Buffer) error { return naming(t.Context(), c, cluster, o.graph, "", noon, out) },
		"naming-json": func(out *bytes.Buffer) error { return naming(t.Context(), c, cluster, o.graph, "json", noon, out) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := write(&out); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("observed", name+".txt"), out.Bytes())
		})
	}
}

func TestPreflight(t *testing.T) {
	c, cluster := observedWorld(t, v1alpha1.AuthorizationHybrid)
	users, err := usersByPrincipal(t.Context(), c, cluster)
	if err != nil || len(users) != 4 {
		t.Fatalf("%d users, %v", len(users), err)
	}
	denied := func(o *observation, only string) (out []string, complaints string) {
		var text bytes.Buffer
		p := preflight{cluster: cluster, users: users, seen: o, now: noon, since: observe.Window, complaints: &text}
		for _, u := range p.wouldBeDenied(only) {
			out = append(out, u.Principal+" "+u.Operation+" "+u.Name)
		}
		return out, text.String()
	}
	// Without the right to see ACLs, what is declared counts.
	got, complaints := denied(accessLog(t), "User:shop.orders")
	if want := []string{"User:shop.orders READ legacy", "User:shop.orders READ refunds", "User:shop.orders WRITE shop-out"}; !slices.Equal(got, want) || !strings.Contains(complaints, "may not describe ACLs") {
		t.Errorf("%q, %q", got, complaints)
	}
	if got, _ := denied(accessLog(t), "User:shop.ready"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got, complaints := denied(accessLog(t), "User:shop.unseen"); len(got) != 0 || !strings.Contains(complaints, "nothing was seen of User:shop.unseen") {
		t.Errorf("%q, %q", got, complaints)
	}
	all, _ := denied(accessLog(t), "")
	if !slices.Contains(all, "User:ANONYMOUS WRITE payments") || slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, "User:broker") }) || len(all) != 3+4+3+1+1 {
		t.Errorf("%q", all)
	}
	// With it, Kafka's own.
	o := accessLog(t)
	o.held = true
	if got, complaints := denied(o, "User:shop.ready"); len(got) != 2 || complaints != "" {
		t.Errorf("without any ACL: %q, %q", got, complaints)
	}
	for b := range access.Grants(users["User:shop.ready"], cluster, access.Facts{}) {
		o.acls = append(o.acls, b)
	}
	if got, _ := denied(o, "User:shop.ready"); len(got) != 0 {
		t.Errorf("with its ACLs: %q", got)
	}
}

func TestEnforce(t *testing.T) {
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: "shop", Name: name} }
	for name, test := range map[string]struct {
		mode    v1alpha1.AuthorizationMode
		log     bool
		options enforceOptions
		// enforced are the KafkaUsers that are in the end, beside the one that was.
		enforced []string
		left     bool
		says     string
		err      string
	}{
		"all that are ready, by their conditions": {v1alpha1.AuthorizationHybrid, false, enforceOptions{allReady: true, namespace: "shop"}, []string{"ready"}, false,
			"KafkaUser shop/orders: left as it is: 3 accesses\nKafkaUser shop/ready: enforced: all is well\nKafkaUser shop/unseen: left as it is: nothing was seen\n", ""},
		"all that are ready, by the log": {v1alpha1.AuthorizationAudit, true, enforceOptions{allReady: true}, []string{"ready"}, false,
			"KafkaUser shop/orders: left as it is: 3 accesses would be denied, such as READ on group legacy, seen 120m ago\nKafkaUser shop/ready: enforced (once KafkaCluster kafka/kafka leaves the mode Audit): nothing that was seen would be denied\nKafkaUser shop/unseen: left as it is: nothing was seen of User:shop.unseen in the last 720h0m0s\n", ""},
		"those of another namespace": {v1alpha1.AuthorizationHybrid, false, enforceOptions{allReady: true, namespace: "bank"}, nil, false, "", ""},
		"one that is not ready":      {v1alpha1.AuthorizationHybrid, false, enforceOptions{users: []client.ObjectKey{key("orders")}}, nil, true, "KafkaUser shop/orders: left as it is: 3 accesses\n", ""},
		"by force":                   {v1alpha1.AuthorizationHybrid, true, enforceOptions{users: []client.ObjectKey{key("orders")}, force: true}, []string{"orders"}, false, "KafkaUser shop/orders: enforced: 3 accesses would be denied, such as READ on group legacy, seen 120m ago\n", ""},
		"one that was not seen":      {v1alpha1.AuthorizationHybrid, false, enforceOptions{users: []client.ObjectKey{key("unseen"), key("enforced")}}, []string{"unseen"}, false, "KafkaUser shop/unseen: enforced: nothing was seen\nKafkaUser shop/enforced: enforced already\n", ""},
		"one that there is not":      {v1alpha1.AuthorizationHybrid, false, enforceOptions{users: []client.ObjectKey{key("nobody")}}, nil, false, "", "KafkaCluster kafka/kafka has no KafkaUser shop/nobody"},
		"one of another cluster":     {v1alpha1.AuthorizationHybrid, false, enforceOptions{users: []client.ObjectKey{key("another")}}, nil, false, "", "KafkaCluster kafka/kafka has no KafkaUser shop/another"},
	} {
		t.Run(name, func(t *testing.T) {
			c, cluster := observedWorld(t, test.mode)
			users, err := usersByPrincipal(t.Context(), c, cluster)
			if err != nil {
				t.Fatal(err)
			}
			p := preflight{cluster: cluster, users: users, now: noon, since: observe.Window, complaints: &bytes.Buffer{}}
			if test.log {
				p.seen = accessLog(t)
			}
			var out bytes.Buffer
			err = enforce(t.Context(), c, p, test.options, &out)
			switch {
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %q", err, test.err)
				}
			case errors.Is(err, errNotReady) != test.left || err != nil && !test.left:
				t.Errorf("%v, left %t", err, test.left)
			}
			if out.String() != test.says {
				t.Errorf("says\n%s\nwant\n%s", out.String(), test.says)
			}
			var list v1alpha1.KafkaUserList
			if err := c.List(t.Context(), &list); err != nil {
				t.Fatal(err)
			}
			for _, u := range list.Items {
				if want := u.Name == "enforced" || slices.Contains(test.enforced, u.Name); (u.Spec.Enforcement == v1alpha1.EnforcementEnforce) != want {
					t.Errorf("%s: enforcement %q", u.Name, u.Spec.Enforcement)
				}
			}
		})
	}
}

func TestFindCluster(t *testing.T) {
	c, _ := observedWorld(t, v1alpha1.AuthorizationAudit)
	for flag, want := range map[string]string{"": "", "kafka/kafka": "", "kafka": "shop/kafka does not exist", "a/b/c": "--cluster", "kafka/other": "kafka/other does not exist"} {
		cluster, err := findCluster(t.Context(), c, "shop", flag)
		if want == "" && (err != nil || cluster.Name != "kafka") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", flag, err, want)
		}
	}
	second := policed(v1alpha1.ClusterPolicy{})
	second.Name = "second"
	if err := c.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, err := findCluster(t.Context(), c, "shop", ""); err == nil || !strings.Contains(err.Error(), "there are 2 KafkaClusters") {
		t.Error(err)
	}
}
