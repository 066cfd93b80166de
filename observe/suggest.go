// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// minPrefix is how many names a prefix stands for at least.
const minPrefix = 3

// Existing are the names that there are in a Kafka, whoever uses them.
type Existing struct {
	Topics, Groups []string
	// Complete tells that there are no others. Where there may be, no prefix is suggested.
	Complete bool
}

// Suggestion is what a KafkaUser has to declare to be allowed what was observed.
type Suggestion struct {
	// Consume, Produce, Admin and ConsumerGroups are the lists of the KafkaUser's spec, sorted.
	Consume, Produce, Admin, ConsumerGroups []string
	// Notes are sentences on what was left out, and why, and on what the lists allow beyond what was observed.
	Notes []string
}

// Apply puts the lists into a KafkaUser.
func (s Suggestion) Apply(user *v1alpha1.KafkaUser) {
	user.Spec.Consume, user.Spec.Produce, user.Spec.Admin, user.Spec.ConsumerGroups = s.Consume, s.Produce, s.Admin, s.ConsumerGroups
}

// Empty tells whether there is nothing to declare.
func (s Suggestion) Empty() bool {
	return len(s.Consume)+len(s.Produce)+len(s.Admin)+len(s.ConsumerGroups) == 0
}

func (s *Suggestion) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// Suggest returns the smallest lists by which the KafkaUser, whose namespace, name and workload count, would be allowed
// everything of these uses that succeeded since a time and that any KafkaUser of the cluster can be allowed. No entry can
// be left out without losing some of it. A group that is free is not listed; a prefix stands for at least three names and
// for nothing else that exists. uses may be those of another principal that the KafkaUser is to take the place of.
func Suggest(uses []Use, user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, existing Existing, since time.Time) Suggestion {
	s := suggester{cluster: cluster, user: user.DeepCopy(), verbOf: map[string]int{}}
	s.out.Apply(s.user)
	// Who has no principal is granted nothing, and allowed nothing by the rules of nobody.
	s.principal, _ = principal.ForUser(cluster, user)
	topics := map[string][]string{} // operations by topic
	var groups []string
	var served, old []Use
	for _, u := range uses {
		switch {
		case u.LastServed().IsZero():
			continue
		case u.LastServed().Before(since):
			old = append(old, u)
			continue
		}
		served = append(served, u)
		switch u.Type {
		case typeTopic:
			topics[u.Name] = append(topics[u.Name], u.Operation)
		case typeGroup:
			groups = append(groups, u.Name)
		}
	}
	slices.Sort(groups)
	s.topics(topics)
	s.groups(slices.Compact(groups), topics)
	if existing.Complete {
		s.compress(existing, topics, groups)
	}
	rules := s.rules(s.out)
	s.leftOut(slices.DeleteFunc(served, func(u Use) bool { return s.covers(rules, u.Access) }), s.why)
	s.leftOut(old, func(Access) string { return "that is too long ago" })
	s.beyond(topics, existing, user)
	return s.out
}

// suggester makes one Suggestion.
type suggester struct {
	cluster *v1alpha1.KafkaCluster
	// user has the lists so far.
	user *v1alpha1.KafkaUser
	// principal of the KafkaUser.
	principal string
	out       Suggestion
	// verbOf is the index in topicVerbs of the list that a topic's operations need.
	verbOf map[string]int
}

// topicVerbs put a topic into one of the lists, in the order in which they allow more; each allows what those before it
// do.
var topicVerbs = []func(s *Suggestion) *[]string{
	func(s *Suggestion) *[]string { return &s.Consume },
	func(s *Suggestion) *[]string { return &s.Produce },
	func(s *Suggestion) *[]string { return &s.Admin },
}

// rules are those of the KafkaUser with a Suggestion's lists.
func (s *suggester) rules(lists Suggestion) access.Rules {
	user := s.user.DeepCopy()
	lists.Apply(user)
	return access.RulesOf(access.Grants(user, s.cluster, access.Facts{}))
}

// covers tells whether the KafkaUser would be allowed an access with these rules.
func (s *suggester) covers(rules access.Rules, a Access) bool {
	a.Principal = s.principal
	return answer(rules, a) == access.AnswerAllowed
}

// topicName and groupName are what the lists of a KafkaUser may name (see its CRD), without a prefix's *.
var (
	topicName = regexp.MustCompile(`\A[a-zA-Z0-9._-]{1,249}\z`)
	groupName = regexp.MustCompile(`\A[^*\s\x00-\x1f\x7f][^*\x00-\x1f\x7f]{0,254}\z`)
)

// topics puts each topic into the first list that allows all of its operations that any list allows.
func (s *suggester) topics(topics map[string][]string) {
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		if !topicName.MatchString(topic) || topic == "." || topic == ".." {
			continue
		}
		best, most := -1, 0
		for i, list := range topicVerbs {
			var only Suggestion
			*list(&only) = []string{topic}
			rules, allowed := s.rules(only), 0
			for _, o := range topics[topic] {
				if s.covers(rules, Access{Type: typeTopic, Name: topic, Operation: o}) {
					allowed++
				}
			}
			if allowed > most {
				best, most = i, allowed
			}
		}
		if best >= 0 {
			s.verbOf[topic] = best
			list := topicVerbs[best](&s.out)
			*list = append(*list, topic)
		}
	}
}

// groups lists the groups that are not free. Those that are free for a user which consumes are so for one that reads what it
// produces if it says that it consumes one of these topics.
func (s *suggester) groups(groups []string, topics map[string][]string) {
	uncovered := func(lists Suggestion) []string {
		rules := s.rules(lists)
		return slices.DeleteFunc(slices.Clone(groups), func(g string) bool {
			return s.covers(rules, Access{Type: typeGroup, Name: g, Operation: "READ"})
		})
	}
	rest := uncovered(s.out)
	if len(rest) > 0 {
		for _, topic := range s.out.Produce {
			if slices.Contains(topics[topic], "READ") {
				more := s.out
				more.Consume = append(slices.Clone(more.Consume), topic)
				slices.Sort(more.Consume)
				if free := uncovered(more); len(free) < len(rest) {
					s.out.Consume, rest = more.Consume, free
				}
				break
			}
		}
	}
	for _, g := range rest {
		if groupName.MatchString(g) {
			s.out.ConsumerGroups = append(s.out.ConsumerGroups, g)
		}
	}
}

// compress replaces names by prefixes.
func (s *suggester) compress(existing Existing, topics map[string][]string, groups []string) {
	all := slices.Concat(existing.Topics, slices.Collect(maps.Keys(topics)))
	for i, list := range topicVerbs {
		names := list(&s.out)
		*names = s.prefixes("topic", *names, all, func(topic string) bool {
			verb, listed := s.verbOf[topic]
			return listed && verb >= i
		}, func(prefix string) bool {
			user := s.user.DeepCopy()
			var only Suggestion
			*list(&only) = []string{prefix}
			only.Apply(user)
			return len(access.CheckDeclaration(user, s.cluster)) == 0
		})
	}
	rules := s.rules(s.out)
	s.out.ConsumerGroups = s.prefixes("group", s.out.ConsumerGroups, slices.Concat(existing.Groups, groups), func(group string) bool {
		return s.covers(rules, Access{Type: typeGroup, Name: group, Operation: "READ"})
	}, func(string) bool { return true })
}

// separators end the part of a name that may become a prefix.
const separators = "-._"

// prefixes replaces at least minPrefix names at once by a prefix that stands, among all names that there are, for those only
// which may have what the list grants. It is the longest one that stands for as many.
func (s *suggester) prefixes(what string, names, all []string, may func(name string) bool, permitted func(prefix string) bool) []string {
	slices.Sort(names)
	forbidden := slices.DeleteFunc(slices.Clone(all), may)
	slices.Sort(forbidden)
	var out []string
	for i := 0; i < len(names); {
		count, prefix := longestRun(names[i:], forbidden)
		if count < minPrefix || !permitted(prefix+"*") {
			out = append(out, names[i])
			i++
			continue
		}
		s.out.note("%s %s* stands for %s", what, prefix, enumerate(names[i:i+count]))
		out = append(out, prefix+"*")
		i += count
	}
	return out
}

// longestRun returns how many of the sorted names, from the first on, one prefix can stand for, and the longest such prefix.
func longestRun(names, forbidden []string) (int, string) {
	first := names[0]
	// The shortest prefix stands for the most names.
	for end := 1; end < len(first); end++ {
		if !strings.ContainsRune(separators, rune(first[end-1])) || taken(first[:end], forbidden) {
			continue
		}
		prefix := first[:end]
		count := 0
		for count < len(names) && strings.HasPrefix(names[count], prefix) {
			count++
		}
		if count < minPrefix {
			return 0, ""
		}
		return count, common(first, names[count-1])
	}
	return 0, ""
}

// taken tells whether one of the sorted names starts with the prefix.
func taken(prefix string, sorted []string) bool {
	at, _ := slices.BinarySearch(sorted, prefix)
	return at < len(sorted) && strings.HasPrefix(sorted[at], prefix)
}

// common is the longest prefix of both, and of every name between them, that ends with a separator.
func common(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:strings.LastIndexAny(a[:n], separators)+1]
}

// leftOut notes uses, those alike together.
func (s *suggester) leftOut(uses []Use, why func(Access) string) {
	type kind struct{ operation, resource, why string }
	names := map[kind][]string{}
	last := map[kind]time.Time{}
	for _, u := range uses {
		k := kind{u.Operation, u.Type, why(u.Access)}
		names[k] = append(names[k], u.Name)
		if u.LastServed().After(last[k]) {
			last[k] = u.LastServed()
		}
	}
	kinds := slices.SortedFunc(maps.Keys(names), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.resource, b.resource), cmp.Compare(a.operation, b.operation), cmp.Compare(a.why, b.why))
	})
	for _, k := range kinds {
		s.out.note("left out: %s (last seen %s): %s", phrase(Access{Type: k.resource, Operation: k.operation, Name: enumerate(names[k])}), day(last[k]), k.why)
	}
}

// why says why no list of the KafkaUser allows an access.
func (s *suggester) why(a Access) string {
	switch a.Type {
	case typeTopic:
		user := s.user.DeepCopy()
		Suggestion{Admin: []string{a.Name}}.Apply(user)
		anyone := s.cluster.DeepCopy()
		anyone.Spec.Policy.AdminTopicExemptions = []string{a.Name}
		refused := access.CheckDeclaration(user, s.cluster)
		if len(refused) > 0 && s.covers(access.RulesOf(access.Grants(user, anyone, access.Facts{})), a) {
			return "it takes admin, and " + refused[0].Error()
		}
	case typeGroup:
		if !groupName.MatchString(a.Name) {
			return "no KafkaUser can name this group: it has a * or a control character, begins with a blank, or is longer than 255"
		}
	case typeTransactionalID:
		return fmt.Sprintf("users that produce have the transactional ids %s and %s.*; configure the client so", s.user.Namespace, s.user.Namespace)
	case typeCluster:
		if a.Operation == "IDEMPOTENT_WRITE" {
			return "since Kafka 3.0 the right to write to a topic includes it"
		}
		return "no KafkaUser is granted operations on the cluster; topics are created by those who administer them"
	}
	return "no list of a KafkaUser grants it"
}

// beyond notes what the lists allow that was not observed, and what was declared and not observed.
func (s *suggester) beyond(topics map[string][]string, existing Existing, declared *v1alpha1.KafkaUser) {
	known := map[string]bool{}
	for _, topic := range existing.Topics {
		known[topic] = true
	}
	gone := func(topic string) bool { return existing.Complete && !known[topic] }
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		if _, listed := s.verbOf[topic]; listed && gone(topic) {
			s.out.note("topic %s does not exist (any more)", topic)
		}
		reads := func(o string) bool { return o != "DESCRIBE" && o != "DESCRIBE_CONFIGS" }
		if verb, listed := s.verbOf[topic]; listed && verb == 0 && !slices.ContainsFunc(topics[topic], reads) {
			s.out.note("topic %s was only described; consume lets it be read as well", topic)
		}
	}
	for _, list := range []struct {
		name          string
		before, after []string
	}{
		{"consume", declared.Spec.Consume, s.out.Consume},
		{"produce", declared.Spec.Produce, s.out.Produce},
		{"admin", declared.Spec.Admin, s.out.Admin},
		{"consumerGroups", declared.Spec.ConsumerGroups, s.out.ConsumerGroups},
	} {
		unseen := slices.DeleteFunc(slices.Clone(list.before), func(entry string) bool { return slices.Contains(list.after, entry) })
		if len(unseen) > 0 {
			s.out.note("declared and not needed for what was observed: %s: %s", list.name, enumerate(unseen))
		}
		if len(list.after) > 1000 {
			s.out.note("%s has %d entries and may have 1000: name prefixes", list.name, len(list.after))
		}
	}
}

// phrase is an access in words: "READ on topic orders".
func phrase(a Access) string {
	return fmt.Sprintf("%s on %s %s", a.Operation, strings.ReplaceAll(strings.ToLower(a.Type), "_", " "), a.Name)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// enumerate names a few of many.
func enumerate(names []string) string {
	const few = 5
	text := strings.Join(names[:min(few, len(names))], ", ")
	if more := len(names) - few; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
