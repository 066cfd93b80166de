// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/mapping"
)

func pattern(text, replacement string) v1alpha1.MappedSubject {
	return v1alpha1.MappedSubject{Pattern: text, Replacement: replacement}
}

func TestJudgePatterns(t *testing.T) {
	acme := func(name string, second int64, subjects ...v1alpha1.MappedSubject) v1alpha1.PrincipalMapping {
		return foreign(name, "User:"+name, second, subjects...)
	}
	exact := func(text string) v1alpha1.MappedSubject { return v1alpha1.MappedSubject{Exact: text} }
	owned := acme("owned", 1, pattern("CN=a,O=Acme", ""))
	owned.Spec.Owner = &v1alpha1.MappingOwner{Namespace: "shop", Name: "owned"}
	ordersClaims := user("shop", "orders")
	ordersClaims.Spec.ExternalSubjects = []string{"CN=web.acme,O=Acme"}
	claim := recordOf(t, ordersClaims, 2)
	claim.Spec.ApprovedSubjects = ordersClaims.Spec.ExternalSubjects
	for _, c := range []struct {
		name     string
		mappings []v1alpha1.PrincipalMapping
		want     string // of the last mapping
		message  string
	}{
		{"a pattern", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=[a-z]+\.acme,O=Acme`, ""))}, "Ready", "in force"},
		{"a pattern with a principal for each subject", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=([a-z]+)\.acme,O=Acme`, "User:acme.$1"))}, "Ready", "in force"},
		{"a KafkaUser has no pattern", []v1alpha1.PrincipalMapping{owned}, "Invalid", "administrator's"},
		{"look-ahead", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=(?=a)a,O=Acme`, ""))}, "Invalid", "look"},
		{"a group that is not there", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=(a),O=Acme`, "User:$2"))}, "Invalid", "no group 2"},
		{"two ways to match", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=(.*)(.*),O=Acme`, "User:$1.$2"))}, "Invalid", "more than one way"},
		{"a pattern for everybody", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=([^,]*),OU=([^,]*),O=([^,]*)`, ""))}, "Invalid", "the subject of the certificates of KafkaUsers"},
		{"Signet's own certificate", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=kafka,OU=kafka,O=signet-[a-z]+`, ""))}, "Invalid", "Signet's own certificates"},
		{"the wildcard of ACLs", []v1alpha1.PrincipalMapping{foreign("a", "User:*", 1, exact("CN=a,O=Acme"))}, "Invalid", "reserved"},
		{"nobody's principal", []v1alpha1.PrincipalMapping{foreign("a", "User:ANONYMOUS", 1, exact("CN=a,O=Acme"))}, "Invalid", "reserved"},
		{"the principal of an unmapped peer", []v1alpha1.PrincipalMapping{foreign("a", "User:unmapped:0123", 1, exact("CN=a,O=Acme"))}, "Invalid", "reserved"},
		{"a pattern that can give the wildcard", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=([^,]+),O=Acme`, "User:$1"))}, "Invalid", "reserved or a super user"},
		{"a pattern that can give a super user", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=([a-z]+),O=Acme`, "User:$1"))}, "Invalid", "User:broker, which is reserved or a super user"},
		{"two patterns, one subject", []v1alpha1.PrincipalMapping{acme("first", 1, pattern(`CN=[a-m]+,O=Acme`, "")), acme("a", 2, pattern(`CN=[m-z]+,O=Acme`, ""))},
			"Conflict", "subject CN=m,O=Acme, as does pattern \"CN=[a-m]+,O=Acme\", which is held by PrincipalMapping kafka/first"},
		{"two patterns, one principal", []v1alpha1.PrincipalMapping{acme("first", 1, pattern(`CN=([a-z]+),O=One`, "User:x.$1")), acme("a", 2, pattern(`CN=([a-z]+),O=Two`, "User:x.$1"))},
			"Conflict", "can give the principal User:x.a, as can pattern"},
		{"two patterns apart", []v1alpha1.PrincipalMapping{acme("first", 1, pattern(`CN=([a-z]+),O=One`, "User:one.$1")), acme("a", 2, pattern(`CN=([a-z]+),O=Two`, "User:two.$1"))}, "Ready", "in force"},
		{"a pattern over a subject that is held", []v1alpha1.PrincipalMapping{acme("first", 1, exact("CN=m,O=Acme")), acme("a", 2, pattern(`CN=[m-z]+,O=Acme`, ""))},
			"Conflict", "subject CN=m,O=Acme, which is held by PrincipalMapping kafka/first"},
		{"a subject below a pattern that is held", []v1alpha1.PrincipalMapping{acme("first", 1, pattern(`CN=[m-z]+,O=Acme`, "")), acme("a", 2, exact("CN=m,O=Acme"))},
			"Conflict", "matches pattern \"CN=[m-z]+,O=Acme\", which is held by PrincipalMapping kafka/first"},
		{"an approved external subject below a pattern", []v1alpha1.PrincipalMapping{acme("first", 1, pattern(`CN=[a-z]+\.acme,O=Acme`, "")), claim}, "Conflict", "held by PrincipalMapping kafka/first"},
		{"a principal that a pattern gives", []v1alpha1.PrincipalMapping{acme("first", 1, pattern(`CN=([a-z]+),O=Acme`, "User:shop.$1")), recordOf(t, user("shop", "orders"), 2)},
			"PrincipalConflict", "principal User:shop.orders is one that pattern"},
		{"a pattern that gives a KafkaUser's principal", []v1alpha1.PrincipalMapping{recordOf(t, user("shop", "orders"), 1), acme("a", 2, pattern(`CN=([a-z]+),O=Acme`, "User:shop.$1"))},
			"Conflict", "can give the principal User:shop.orders, which is held by PrincipalMapping kafka/shop.orders"},
		{"one mapping, two answers", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=([a-z]+),O=Acme`, "User:x.$1"), exact("CN=m,O=Acme"))}, "Invalid", "is User:a, and User:x.m by pattern"},
		{"one mapping, patterns with two answers", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=([a-m]+),O=Acme`, "User:x.$1"), pattern(`CN=([m-z]+),O=Acme`, "User:y.$1"))}, "Invalid", "different principals"},
		{"one mapping, overlapping patterns with one answer", []v1alpha1.PrincipalMapping{acme("a", 1, pattern(`CN=[a-m]+,O=Acme`, ""), pattern(`CN=[m-z]+,O=Acme`, ""))}, "Ready", "in force"},
		{"a SPIFFE ID that is none", []v1alpha1.PrincipalMapping{foreign("a", "User:a", 1, v1alpha1.MappedSubject{SPIFFE: "spiffe://td/a//b"})}, "Invalid", "spiffe id"},
		{"a dollar in a principal is no group", []v1alpha1.PrincipalMapping{foreign("a", "User:cash$1", 1, pattern(`CN=a,O=Acme`, ""))}, "Ready", "in force"},
		{"a KafkaUser that would be a super user", []v1alpha1.PrincipalMapping{recordOf(t, user("platform", "admin"), 1)}, "Invalid", "superUsers"},
		{"an administrator says who is a super user", []v1alpha1.PrincipalMapping{foreign("a", "User:broker", 1, exact("CN=broker,O=Acme"))}, "Ready", "in force"},
		{"a mapping in conflict keeps its principal", []v1alpha1.PrincipalMapping{acme("first", 1, exact("CN=a,O=Acme")), acme("second", 2, exact("CN=a,O=Acme")), foreign("a", "User:second", 3, exact("CN=b,O=Acme"))},
			"PrincipalConflict", "principal User:second is held by PrincipalMapping kafka/second"},
		{"a subject that different certificates share", []v1alpha1.PrincipalMapping{acme("a", 1, exact("CN=\uFFFD,O=Acme"))}, "Invalid", "read alike"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := kafka()
			cluster.Spec.SuperUsers = []string{"User:broker", "User:platform.admin"}
			last := c.mappings[len(c.mappings)-1]
			v := Judge(cluster, c.mappings, everybody)[last.Name]
			if v.Reason != c.want || !strings.Contains(v.Message, c.message) {
				t.Errorf("%s: %s; want %s with %q", v.Reason, v.Message, c.want, c.message)
			}
			if refused := Refused(cluster, c.mappings[:len(c.mappings)-1], &last); (refused == "") != (c.want == "Ready") {
				t.Errorf("at apply time: %q", refused)
			}
		})
	}
}

// TestAttackOlderMappingTakesWhatAnotherHolds holds that being the older object is not being the first to claim.
func TestAttackOlderMappingTakesWhatAnotherHolds(t *testing.T) {
	older, holder := foreign("older", "User:older", 1, v1alpha1.MappedSubject{Exact: "CN=a,O=Acme"}), foreign("holder", "User:holder", 2, v1alpha1.MappedSubject{Exact: "CN=b,O=Acme"})
	thief := *older.DeepCopy()
	thief.Spec.Subjects = append(thief.Spec.Subjects, v1alpha1.MappedSubject{Exact: "CN=b,O=Acme"})
	if refused := Refused(kafka(), []v1alpha1.PrincipalMapping{older, holder}, &thief); !strings.Contains(refused, "held by PrincipalMapping kafka/holder") {
		t.Errorf("Refused = %q", refused)
	}
	// Who holds a subject may change his mapping although another one, in conflict, claims the same.
	loser := foreign("loser", "User:loser", 3, v1alpha1.MappedSubject{Exact: "CN=b,O=Acme"})
	changed := *holder.DeepCopy()
	changed.Spec.Subjects = append(changed.Spec.Subjects, v1alpha1.MappedSubject{Exact: "CN=c,O=Acme"})
	if refused := Refused(kafka(), []v1alpha1.PrincipalMapping{older, holder, loser}, &changed); refused != "" {
		t.Errorf("Refused = %q", refused)
	}
}

// TestTemplateCollisionsAreConflicts holds that whoever is second does not get the principal.
func TestTemplateCollisionsAreConflicts(t *testing.T) {
	cluster := kafka()
	cluster.Spec.PrincipalTemplate = "{namespace}-{name}"
	var mappings []v1alpha1.PrincipalMapping
	for i, u := range []*v1alpha1.KafkaUser{user("a-b", "c"), user("a", "b-c")} {
		spec, err := Record(u, cluster, meshIssuer, "uid")
		if err != nil {
			t.Fatal(err)
		}
		m := foreign(v1alpha1.MappingName(u.Namespace, u.Name), "", int64(i))
		m.Spec = spec
		mappings = append(mappings, m)
	}
	verdicts := Judge(cluster, mappings, everybody)
	if v := verdicts["a-b.c"]; v.Reason != v1alpha1.ReasonReady {
		t.Errorf("the first: %+v", v)
	}
	if v := verdicts["a.b-c"]; v.Reason != v1alpha1.ReasonPrincipalConflict || !strings.Contains(v.Message, "User:a-b-c is held by PrincipalMapping kafka/a-b.c") {
		t.Errorf("the second: %+v", v)
	}
	if claimed := Claimed(cluster, mappings[:1], user("a", "b-c")); len(claimed) != 1 || !strings.Contains(claimed[0], "User:a-b-c") {
		t.Errorf("at apply time: %v", claimed)
	}
}

func TestClaimed(t *testing.T) {
	holder := user("shop", "holder")
	holder.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: "sa"}
	mappings := []v1alpha1.PrincipalMapping{
		recordOf(t, holder, 1),
		foreign("acme", "User:acme", 1, v1alpha1.MappedSubject{Exact: "CN=a,O=Acme"}, pattern("CN=b+,O=Acme", "")),
	}
	for name, c := range map[string]struct {
		edit func(*v1alpha1.KafkaUser)
		want []string
	}{
		"nothing of others": {func(u *v1alpha1.KafkaUser) { u.Spec.ExternalSubjects = []string{"CN=c,O=Acme"} }, nil},
		"a service account": {func(u *v1alpha1.KafkaUser) { u.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: "sa"} },
			[]string{"spiffe://cluster.local/ns/shop/sa/sa is held by PrincipalMapping kafka/shop.holder"}},
		"a subject and a pattern": {func(u *v1alpha1.KafkaUser) { u.Spec.ExternalSubjects = []string{"CN=a,O=Acme", "CN=bb,O=Acme"} },
			[]string{"CN=a,O=Acme is held by PrincipalMapping kafka/acme", `matches pattern "CN=b+,O=Acme"`}},
		"the subject of a KafkaUser that may come": {func(u *v1alpha1.KafkaUser) { u.Spec.ExternalSubjects = []string{"CN=later,OU=shop,O=signet"} },
			[]string{"that of KafkaUser shop/later and nobody else's"}},
		"its own, again": {func(u *v1alpha1.KafkaUser) {
			u.Name = "holder"
			u.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: "sa"}
		}, nil},
	} {
		u := user("shop", "claimant")
		c.edit(u)
		got := Claimed(kafka(), mappings, u)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: %q, want %q in it", name, got[i], c.want[i])
			}
		}
	}
}

// TestJudgeGivesEverySubjectOnePrincipal is the law of the ledger: whatever is claimed, and in whatever order it is
// listed, no subject is in force for two principals, no principal for two mappings, and the verdicts are the same.
func TestJudgeGivesEverySubjectOnePrincipal(t *testing.T) {
	const seed = 20261122
	random := rand.New(rand.NewPCG(seed, 9))
	letters := []string{"a", "b", "ab", "[ab]+", "a+", "b?a", "[^,]*"}
	for round := range 200 {
		var mappings []v1alpha1.PrincipalMapping
		for i := range 2 + random.IntN(5) {
			var subjects []v1alpha1.MappedSubject
			for range 1 + random.IntN(3) {
				value := letters[random.IntN(len(letters))]
				if strings.Trim(value, "ab") == "" {
					subjects = append(subjects, v1alpha1.MappedSubject{Exact: "CN=" + value + ",O=Acme"})
					continue
				}
				replacement := ""
				if random.IntN(2) == 0 {
					replacement = fmt.Sprintf("User:p%d.$1", random.IntN(3))
				}
				subjects = append(subjects, pattern("CN=("+value+"),O=Acme", replacement))
			}
			mappings = append(mappings, foreign(fmt.Sprintf("m%d", i), fmt.Sprintf("User:p%d", random.IntN(4)), int64(random.IntN(3)), subjects...))
		}
		verdicts := Judge(kafka(), mappings, everybody)
		random.Shuffle(len(mappings), func(i, j int) { mappings[i], mappings[j] = mappings[j], mappings[i] })
		if again := Judge(kafka(), mappings, everybody); fmt.Sprint(again) != fmt.Sprint(verdicts) {
			t.Fatalf("seed %d, round %d: another order, other verdicts:\n%v\n%v", seed, round, verdicts, again)
		}
		subjectOf, holderOf := map[string]string{}, map[string]string{}
		for name, v := range verdicts {
			for _, subject := range []string{"a", "b", "ab", "ba", "aa", "bb", "aab", ""} {
				for _, e := range v.Entries {
					principal, ok := principalBy(t, e, "CN="+subject+",O=Acme")
					if !ok {
						continue
					}
					if other, taken := subjectOf[subject]; taken && other != principal {
						t.Fatalf("seed %d, round %d: CN=%s is %s and %s: %+v", seed, round, subject, other, principal, mappings)
					}
					subjectOf[subject] = principal
					if other, taken := holderOf[principal]; taken && other != name {
						t.Fatalf("seed %d, round %d: %s is of %s and %s: %+v", seed, round, principal, other, name, mappings)
					}
					holderOf[principal] = name
				}
			}
		}
	}
}

// principalBy returns the principal that an entry gives a subject.
func principalBy(t *testing.T, e Entry, subject string) (string, bool) {
	t.Helper()
	if e.Kind != KindPattern {
		return e.Principal, e.Subject == subject
	}
	p, err := mapping.CompilePattern(mapping.PatternEntry{Pattern: e.Subject, Principal: strings.TrimPrefix(e.Principal, TypeUser)})
	if err != nil {
		t.Fatal(err)
	}
	name, ok := p.Name(subject)
	return TypeUser + name, ok
}
