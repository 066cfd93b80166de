// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
)

func testCluster(policy v1alpha1.ClusterPolicy) *v1alpha1.KafkaCluster {
	return &v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"}, Spec: v1alpha1.KafkaClusterSpec{Policy: policy}}
}

func testUser(change func(*v1alpha1.KafkaUserSpec)) *v1alpha1.KafkaUser {
	u := &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"},
		Spec:       v1alpha1.KafkaUserSpec{ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"}},
	}
	if change != nil {
		change(&u.Spec)
	}
	return u
}

// seen are uses of one principal, written "READ TOPIC orders"; "?READ …" is tolerated, "!READ …" denied, "-READ …" long ago.
func seen(principal string, lines ...string) []Use {
	var out []Use
	for _, line := range lines {
		when := noon
		result := Allowed
		switch line[0] {
		case '?':
			result = Tolerated
		case '!':
			result = Denied
		case '-':
			when = noon.Add(-2 * Window)
		}
		parts := strings.SplitN(strings.TrimLeft(line, "?!-"), " ", 3)
		u := Use{Access: Access{principal, parts[1], parts[2], parts[0]}, First: when, Last: when}
		u.add(result, Sum{1, when, when})
		out = append(out, u)
	}
	return out
}

func TestSuggest(t *testing.T) {
	off := false
	for name, test := range map[string]struct {
		uses     []string
		policy   v1alpha1.ClusterPolicy
		declared func(*v1alpha1.KafkaUserSpec)
		existing Existing
		want     Suggestion
	}{
		"nothing": {},
		"a consumer with a free group": {
			uses:     []string{"READ TOPIC orders", "DESCRIBE TOPIC orders", "READ GROUP shop.workers", "DESCRIBE GROUP shop"},
			existing: Existing{Topics: []string{"orders"}},
			want:     Suggestion{Consume: []string{"orders"}},
		},
		"a consumer with a group of its own": {
			uses:     []string{"?READ TOPIC orders", "?READ GROUP legacy"},
			existing: Existing{Topics: []string{"orders"}},
			want:     Suggestion{Consume: []string{"orders"}, ConsumerGroups: []string{"legacy"}},
		},
		"no group is free": {
			uses:     []string{"READ TOPIC orders", "READ GROUP shop"},
			policy:   v1alpha1.ClusterPolicy{FreeGroups: &off},
			existing: Existing{Topics: []string{"orders"}},
			want:     Suggestion{Consume: []string{"orders"}, ConsumerGroups: []string{"shop"}},
		},
		"a producer, transactional": {
			uses:     []string{"WRITE TOPIC orders", "DESCRIBE TOPIC orders", "WRITE TRANSACTIONAL_ID shop.orders-1", "WRITE TRANSACTIONAL_ID orders-1", "WRITE TRANSACTIONAL_ID orders-2", "!IDEMPOTENT_WRITE CLUSTER kafka-cluster"},
			existing: Existing{Topics: []string{"orders"}},
			want: Suggestion{Produce: []string{"orders"}, Notes: []string{
				"left out: WRITE on transactional id orders-1, orders-2 (last seen 2026-11-22): users that produce have the transactional ids shop and shop.*; configure the client so",
			}},
		},
		"one that reads what it writes, with a free group": {
			uses:     []string{"WRITE TOPIC b", "READ TOPIC b", "WRITE TOPIC a", "READ GROUP shop"},
			existing: Existing{Topics: []string{"a", "b"}},
			want:     Suggestion{Produce: []string{"a", "b"}, Consume: []string{"b"}},
		},
		"one that writes, and whose group reads nothing": {
			uses:     []string{"WRITE TOPIC a", "READ GROUP shop"},
			existing: Existing{Topics: []string{"a"}},
			want:     Suggestion{Produce: []string{"a"}, ConsumerGroups: []string{"shop"}},
		},
		"an administrator of its own topics, and one who would be of others'": {
			uses:     []string{"CREATE TOPIC shop-a", "WRITE TOPIC shop-a", "CREATE TOPIC orders", "READ TOPIC orders", "READ GROUP shop"},
			existing: Existing{Topics: []string{"shop-a", "orders"}},
			want: Suggestion{Admin: []string{"shop-a"}, Consume: []string{"orders"}, Notes: []string{
				"left out: CREATE on topic orders (last seen 2026-11-22): it takes admin, and spec.admin[0]: Forbidden: a topic that namespace shop administers must start with shop- or be on policy.adminTopicExemptions of KafkaCluster kafka/kafka",
			}},
		},
		"an exempt topic": {
			uses:     []string{"DELETE TOPIC orders"},
			policy:   v1alpha1.ClusterPolicy{AdminTopicExemptions: []string{"ord*"}},
			existing: Existing{Topics: []string{"orders"}},
			want:     Suggestion{Admin: []string{"orders"}},
		},
		"what nobody is granted": {
			uses:     []string{"ALTER TOPIC orders", "ALTER_CONFIGS TOPIC orders", "CREATE CLUSTER kafka-cluster", "IDEMPOTENT_WRITE CLUSTER kafka-cluster", "READ GROUP a*", "SHARE TOPIC x"},
			existing: Existing{Topics: []string{"orders"}},
			want: Suggestion{Notes: []string{
				"left out: CREATE on cluster kafka-cluster (last seen 2026-11-22): no KafkaUser is granted operations on the cluster; topics are created by those who administer them",
				"left out: IDEMPOTENT_WRITE on cluster kafka-cluster (last seen 2026-11-22): since Kafka 3.0 the right to write to a topic includes it",
				"left out: READ on group a* (last seen 2026-11-22): no KafkaUser can name this group: it has a * or a control character, begins with a blank, or is longer than 255",
				"left out: ALTER on topic orders (last seen 2026-11-22): no list of a KafkaUser grants it",
				"left out: ALTER_CONFIGS on topic orders (last seen 2026-11-22): no list of a KafkaUser grants it",
				"left out: SHARE on topic x (last seen 2026-11-22): no list of a KafkaUser grants it",
			}},
		},
		"prefixes, the longest that stand for as many": {
			uses: []string{"READ TOPIC logs-web-a", "READ TOPIC logs-web-b", "READ TOPIC logs-web-c", "READ TOPIC audit.a", "READ TOPIC audit.b", "READ TOPIC audit.c", "READ TOPIC one-a", "READ TOPIC one-b",
				"READ GROUP web-1", "READ GROUP web-2", "READ GROUP web-3", "READ GROUP x-1", "READ GROUP x-2", "READ GROUP x-3"},
			existing: Existing{Topics: []string{"logs-web-a", "logs-web-b", "logs-web-c", "audit.a", "audit.b", "audit.c", "audit.secret", "one-a", "one-b"}, Groups: []string{"x-4"}},
			want: Suggestion{Consume: []string{"audit.a", "audit.b", "audit.c", "logs-web-*", "one-a", "one-b"}, ConsumerGroups: []string{"web-*", "x-1", "x-2", "x-3"}, Notes: []string{
				"topic logs-web-* stands for logs-web-a, logs-web-b, logs-web-c",
				"group web-* stands for web-1, web-2, web-3",
			}},
		},
		"no prefix that would let it write what it reads": {
			uses:     []string{"WRITE TOPIC shop-a", "WRITE TOPIC shop-b", "WRITE TOPIC shop-c", "READ TOPIC shop-d"},
			existing: Existing{Topics: []string{"shop-a", "shop-b", "shop-c", "shop-d"}},
			want:     Suggestion{Produce: []string{"shop-a", "shop-b", "shop-c"}, Consume: []string{"shop-d"}},
		},
		"a prefix that lets it read what it writes": {
			uses:     []string{"READ TOPIC shop-a", "READ TOPIC shop-b", "READ TOPIC shop-c", "WRITE TOPIC shop-d"},
			existing: Existing{Topics: []string{"shop-a", "shop-b", "shop-c", "shop-d"}},
			want:     Suggestion{Consume: []string{"shop-*"}, Produce: []string{"shop-d"}, Notes: []string{"topic shop-* stands for shop-a, shop-b, shop-c"}},
		},
		"what was denied, what is long ago, what is gone, and what was declared": {
			uses: []string{"!READ TOPIC secret", "-READ TOPIC old", "READ TOPIC gone", "DESCRIBE TOPIC orders"},
			declared: func(s *v1alpha1.KafkaUserSpec) {
				s.Consume, s.Produce = []string{"orders", "unused"}, []string{"never"}
			},
			existing: Existing{Topics: []string{"secret", "old", "orders"}},
			want: Suggestion{Consume: []string{"gone", "orders"}, Notes: []string{
				"left out: READ on topic old (last seen 2026-09-23): that is too long ago",
				"topic gone does not exist (any more)",
				"topic orders was only described; consume lets it be read as well",
				"declared and not needed for what was observed: consume: unused",
				"declared and not needed for what was observed: produce: never",
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.existing.Complete = true
			// What another principal did is what the KafkaUser is to be allowed.
			got := Suggest(seen("User:ANONYMOUS", test.uses...), testUser(test.declared), testCluster(test.policy), test.existing, noon.Add(-Window))
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", test.want) {
				t.Errorf("\n%q\nwant\n%q", got, test.want)
			}
			if got.Empty() != (len(test.want.Consume)+len(test.want.Produce)+len(test.want.Admin)+len(test.want.ConsumerGroups) == 0) {
				t.Errorf("empty: %t", got.Empty())
			}
		})
	}
}

func TestNoPrefixWhereThereMayBeMore(t *testing.T) {
	got := Suggest(seen("User:x", "READ TOPIC a-1", "READ TOPIC a-2", "READ TOPIC a-3"), testUser(nil), testCluster(v1alpha1.ClusterPolicy{}), Existing{Topics: []string{"a-1"}}, noon.Add(-Window))
	if !slices.Equal(got.Consume, []string{"a-1", "a-2", "a-3"}) || len(got.Notes) != 0 {
		t.Errorf("%q", got)
	}
}

// TestSuggestIsExact is the law of suggestions, over random observations: what a KafkaUser can be allowed at all is allowed
// by the ACLs of the suggested lists, no entry can be left out, the API takes every entry, and a prefix stands for at least
// three names and for nothing that the user was not seen to need.
func TestSuggestIsExact(t *testing.T) {
	const runs = 3000
	prefixes, uncoverable, added := 0, 0, 0
	for seed := range uint64(runs) {
		random := rand.New(rand.NewPCG(seed, 2))
		pick := func(from ...string) string { return from[random.IntN(len(from))] }
		off := random.IntN(4) > 0
		policy := v1alpha1.ClusterPolicy{FreeGroups: &off}
		if random.IntN(2) == 0 {
			policy.AdminTopicExemptions = []string{pick("a*", "a-b*", "b")}
		}
		few := random.IntN(2) == 0 // topics, so that they are read and written
		topic := func() string {
			if few {
				return pick("a", "b")
			}
			return pick("shop-", "shop.", "a-", "a-b-", "") + pick("a", "b", "c", "d", "e")
		}
		var lines []string
		for range random.IntN([]int{10, 30}[random.IntN(2)]) {
			lines = append(lines, pick("", "?", "!", "-", "", "?")+map[int]string{
				0: pick("READ", "DESCRIBE", "READ", "WRITE", "DESCRIBE_CONFIGS", "CREATE", "DELETE", "ALTER") + " TOPIC " + topic(),
				1: pick("READ", "DESCRIBE", "DELETE") + " GROUP " + pick("shop", "shop.x", "shop-x", "g-1", "g-2", "g-3", "g-4", "h"),
				2: pick("WRITE", "DESCRIBE") + " TRANSACTIONAL_ID " + pick("shop", "shop.1", "t"),
				3: pick("READ", "WRITE") + " TOPIC " + topic(),
			}[random.IntN(4)])
		}
		slices.Sort(lines)
		uses := seen("User:legacy", slices.Compact(lines)...)
		existing := Existing{Complete: true}
		for range random.IntN(12) {
			existing.Topics = append(existing.Topics, topic())
		}
		if random.IntN(2) == 0 {
			existing.Groups = []string{"g-5"}
		}
		cluster, user := testCluster(policy), testUser(nil)
		since := noon.Add(-Window)
		got := Suggest(uses, user, cluster, existing, since)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("seed %d: %s\nof %q, existing %+v, policy %+v\nsuggested %q", seed, fmt.Sprintf(format, args...), lines, existing, policy, got)
		}

		allowed := func(s Suggestion) func(Access) bool {
			applied := testUser(nil)
			s.Apply(applied)
			rules := access.RulesOf(access.Grants(applied, cluster, access.Facts{}))
			return func(a Access) bool {
				a.Principal = "User:shop.orders"
				return answer(rules, a) == access.AnswerAllowed
			}
		}
		served := slices.DeleteFunc(slices.Clone(uses), func(u Use) bool { return u.LastServed().Before(since) })
		writes := false
		mayAdminister := func(topic string) bool {
			own := testUser(func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{topic} })
			return len(access.CheckDeclaration(own, cluster)) == 0
		}
		for _, u := range served {
			administers := (u.Operation == "CREATE" || u.Operation == "DELETE") && mayAdminister(u.Name)
			writes = writes || u.Type == "TOPIC" && (u.Operation == "WRITE" || administers)
		}
		// need says whether a KafkaUser can be allowed an access: the table of access.md in other words.
		need := func(u Use) bool {
			switch u.Type {
			case "TOPIC":
				return u.Operation != "ALTER" && (u.Operation != "CREATE" && u.Operation != "DELETE" || mayAdminister(u.Name))
			case "TRANSACTIONAL_ID":
				return writes && u.Name != "t"
			}
			return true
		}
		covered := allowed(got)
		for _, u := range served {
			if covered(u.Access) != need(u) {
				fail("%+v: allowed %t, can be allowed %t", u.Access, covered(u.Access), need(u))
			}
			if !need(u) {
				uncoverable++
			}
		}
		applied := testUser(nil)
		got.Apply(applied)
		if errs := access.CheckDeclaration(applied, cluster); len(errs) > 0 {
			fail("refused: %v", errs)
		}
		lists := func(s *Suggestion) []*[]string {
			return []*[]string{&s.Consume, &s.Produce, &s.Admin, &s.ConsumerGroups}
		}
		for l, list := range lists(&got) {
			if !slices.IsSorted(*list) || len(slices.Compact(slices.Clone(*list))) != len(*list) {
				fail("%q is not sorted, or has an entry twice", *list)
			}
			for i, left := range *list {
				without := got
				*lists(&without)[l] = slices.Delete(slices.Clone(*list), i, i+1)
				now := allowed(without)
				if !slices.ContainsFunc(served, func(u Use) bool { return covered(u.Access) && !now(u.Access) }) {
					fail("%q can be left out", left)
				}
				prefix, isPrefix := strings.CutSuffix(left, "*")
				if !isPrefix {
					continue
				}
				prefixes++
				kind, all := "TOPIC", existing.Topics
				if l == 3 {
					kind, all = "GROUP", existing.Groups
				}
				names := map[string]bool{}
				for _, u := range served {
					if u.Type == kind && strings.HasPrefix(u.Name, prefix) {
						names[u.Name] = true
					}
				}
				if len(names) < 3 {
					fail("%q stands for %v", left, names)
				}
				for _, name := range all {
					if strings.HasPrefix(name, prefix) && !names[name] {
						fail("%q stands for %s too, which nobody asked for", left, name)
					}
				}
				// Whom the prefix lets write or administer a topic needs that of each.
				for name := range names {
					strongest := []string{"", "WRITE", "CREATE DELETE", ""}[l]
					if strongest == "" {
						continue
					}
					if !slices.ContainsFunc(served, func(u Use) bool {
						return u.Type == kind && u.Name == name && (strings.Contains(strongest, u.Operation) || l == 1 && (u.Operation == "CREATE" || u.Operation == "DELETE"))
					}) {
						fail("%q allows more of %s than was seen", left, name)
					}
				}
			}
		}
		for _, topic := range got.Consume {
			if slices.Contains(got.Produce, topic) {
				added++
			}
		}
	}
	if prefixes < 50 || uncoverable < 100 || added < 20 {
		t.Errorf("%d prefixes, %d accesses that nobody can be allowed, %d topics consumed for their free groups: the observations do not try the suggestions", prefixes, uncoverable, added)
	}
}

func TestNaming(t *testing.T) {
	uses := slices.Concat(
		seen("User:shop.orders", "WRITE TOPIC orders", "WRITE TOPIC shop-a", "READ GROUP shop.x", "READ GROUP bank", "READ TOPIC read-only", "!WRITE TOPIC denied", "WRITE TOPIC __consumer_offsets"),
		seen("User:bank.ledger", "READ TOPIC orders", "READ TOPIC read-only", "READ GROUP shared", "DESCRIBE TOPIC described", "READ TOPIC bank.x"),
		seen("User:ANONYMOUS", "READ GROUP bank.old", "READ GROUP console-consumer-1"),
	)
	for i := range uses {
		if uses[i].Principal == "User:bank.ledger" && uses[i].Name == "read-only" {
			uses[i].Allowed = 5
		}
	}
	namespaceOf := func(principal string) string {
		namespace, _, _ := strings.Cut(strings.TrimPrefix(principal, "User:"), ".")
		if namespace == "ANONYMOUS" {
			return ""
		}
		return namespace
	}
	want := []Misnamed{
		{"GROUP", "console-consumer-1", "User:ANONYMOUS", "uses", 1, noon},
		{"TOPIC", "bank.x", "User:bank.ledger", "consumes", 1, noon},
		{"TOPIC", "read-only", "User:bank.ledger", "consumes", 5, noon},
		{"GROUP", "shared", "User:bank.ledger", "uses", 1, noon},
		{"TOPIC", "orders", "User:shop.orders", "produces", 1, noon},
		{"GROUP", "bank", "User:shop.orders", "uses", 1, noon},
	}
	if got := Naming(uses, []string{"shop", "bank"}, namespaceOf); !slices.Equal(got, want) {
		t.Errorf("\n%+v\nwant\n%+v", got, want)
	}
}

func TestWouldBeDenied(t *testing.T) {
	rules := access.RulesOf(access.Grants(testUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"orders"} }), testCluster(v1alpha1.ClusterPolicy{}), access.Facts{}))
	uses := slices.Concat(
		seen("User:shop.orders", "READ TOPIC orders", "?READ TOPIC orders", "?READ TOPIC secret", "READ TOPIC withdrawn", "-READ TOPIC old", "!READ TOPIC denied", "READ GROUP shop.x", "CREATE CLUSTER kafka-cluster"),
		seen("User:broker", "READ TOPIC anything"),
	)
	super := func(p string) bool { return p == "User:broker" }
	names := func(uses []Use) (out []string) {
		for _, u := range uses {
			out = append(out, u.Name)
		}
		return out
	}
	if got := names(WouldBeDenied(uses, rules, noon.Add(-Window), super)); !slices.Equal(got, []string{"secret", "withdrawn"}) {
		t.Errorf("%q", got)
	}
	if got := names(WouldBeDenied(uses, rules, time.Time{}, super)); !slices.Equal(got, []string{"secret", "withdrawn", "old"}) {
		t.Errorf("of all time: %q", got)
	}
	if got := names(WouldBeDenied(uses, rules, noon.Add(time.Second), super)); len(got) != 0 {
		t.Errorf("from now on: %q", got)
	}
}
