// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// scenarios are what the controllers must do with any Kafka. They run against kfake, and under the build tag kafka
// against a real broker. Each gets an empty Kafka.
var scenarios = map[string]func(*testing.T, *harness){
	"UserLifecycle":                     userLifecycle,
	"Suspension":                        suspension,
	"Adoption":                          adoptionIsConfirmed,
	"DriftIsRepaired":                   driftIsRepaired,
	"ForeignACLsAreNotTouched":          foreignACLsAreNotTouched,
	"NamespaceAdmission":                namespaceAdmission,
	"PrincipalInDispute":                principalInDispute,
	"OnePrincipalTwoUsers":              onePrincipalTwoUsers,
	"NoPrincipalWithoutAServiceAccount": noPrincipalWithoutAServiceAccount,
	"RefusedDeclaration":                refusedDeclaration,
	"ClusterGone":                       clusterGone,
	"AbandonedPrincipal":                abandonedPrincipal,
	"ManyUsers":                         manyUsers,
	"ControllerEndsInBetween":           controllerEndsInBetween,
	"Quotas":                            quotas,
	"TwoSignets":                        twoSignets,
	"FollowsTheModel":                   followsTheModel,
	"Reachable":                         reachable,
	"LongestNames":                      longestNames,
	"EditedByHandMeanwhile":             editedByHandMeanwhile,
	"TopicLifecycle":                    topicLifecycle,
	"TopicDeletion":                     topicDeletion,
	"TopicConflict":                     topicConflict,
}

func userLifecycle(t *testing.T, h *harness) {
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	if !slices.Contains(user.Finalizers, Finalizer) {
		t.Error("ACLs without finalizer")
	}

	h.edit(user, func(s *v1alpha1.KafkaUserSpec) {
		s.Consume, s.Produce, s.ConsumerGroups = []string{"refunds-*"}, []string{"orders"}, []string{"batch"}
	})
	h.pass()
	h.wantSynced(user)

	version := user.ResourceVersion
	h.fullPass()
	if h.wantSynced(user); user.ResourceVersion != version {
		t.Error("a pass that changed nothing wrote the KafkaUser")
	}

	h.must(h.api.Delete(h.ctx, user))
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	h.pass()
	if !h.gone(user) {
		t.Errorf("deleted KafkaUser is still there, finalizers %v", user.Finalizers)
	}
	h.wantHeld("User:shop.orders", nil)

	never := h.user("shop", "never", v1alpha1.KafkaUserSpec{})
	h.pass()
	h.wantSynced(never)
	h.must(h.api.Delete(h.ctx, never))
	if !h.gone(never) {
		t.Error("a KafkaUser that was granted nothing has a finalizer")
	}
}

// suspension holds that a suspended user's ACLs go in the first pass, before the ledger has read the declaration, that none
// come back, and that resuming brings back exactly those that are declared.
func suspension(t *testing.T, h *harness) {
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}, Produce: []string{"orders"}})
	other := h.user("shop", "other", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	suspend := func(yes bool) {
		h.must(h.api.Get(h.ctx, client.ObjectKeyFromObject(user), user))
		user.Spec.Suspend = yes
		user.Generation++
		h.must(h.api.Update(h.ctx, user))
		h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	}
	wantNone := func() {
		t.Helper()
		h.wantHeld("User:shop.orders", nil)
		if h.wantReason(user, v1alpha1.ReasonSuspended); user.Status.ACLs == nil || *user.Status.ACLs != 0 {
			t.Errorf("status.acls of a suspended user: %v", user.Status.ACLs)
		}
	}
	suspend(true)
	h.pass()
	wantNone()
	h.record(user, metav1.ConditionTrue, v1alpha1.ReasonReady)
	h.must(h.admin().Apply(h.ctx, Change{Create: handMade("User:shop.orders")}))
	h.fullPass()
	wantNone()
	version := user.ResourceVersion
	h.fullPass()
	if wantNone(); user.ResourceVersion != version {
		t.Error("a pass that changed nothing wrote the KafkaUser")
	}
	h.wantSynced(other)

	suspend(false)
	h.pass()
	h.wantHeld("User:shop.orders", nil) // the ledger has not read this declaration
	h.record(user, metav1.ConditionTrue, v1alpha1.ReasonReady)
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	h.pass()
	h.wantSynced(user)

	suspend(true)
	h.must(h.api.Delete(h.ctx, user))
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	h.pass()
	h.wantHeld("User:shop.orders", nil)
	if !h.gone(user) {
		t.Errorf("a suspended KafkaUser that was deleted is still there, finalizers %v", user.Finalizers)
	}

	// Whoever is suspended from the start takes what was left behind from its principal, too.
	h.must(h.admin().Apply(h.ctx, Change{Create: handMade("User:shop.late")}))
	user = h.user("shop", "late", v1alpha1.KafkaUserSpec{Suspend: true, Consume: []string{"payments"}})
	h.pass()
	h.wantHeld("User:shop.late", nil)
	h.wantReason(user, v1alpha1.ReasonSuspended)
}

// adoptionIsConfirmed holds that nothing is taken from a principal that had access before Signet knew it, and nothing added,
// until somebody says so, on the KafkaUser or on the KafkaCluster; that what loses nothing is adopted in silence; and that
// what is put there by hand later is drift.
func adoptionIsConfirmed(t *testing.T, h *harness) {
	const me = "User:shop.orders"
	declared := v1alpha1.KafkaUserSpec{Consume: []string{"payments"}, Quotas: &v1alpha1.Quotas{ProducerByteRate: quantity("1Mi")}}
	waits := func(user *v1alpha1.KafkaUser, principal string, held []Binding, words ...string) {
		t.Helper()
		c := h.wantReason(user, v1alpha1.ReasonAdoptionPending)
		for _, word := range append(words, principal, v1alpha1.AnnotationAdopt+"="+v1alpha1.AdoptReplace) {
			if !strings.Contains(c.Message, word) {
				t.Errorf("message without %q: %s", word, c.Message)
			}
		}
		if len(user.Finalizers) > 0 || user.Status.ACLs != nil {
			t.Errorf("finalizers %v, status.acls %v of a user that nothing was done for", user.Finalizers, user.Status.ACLs)
		}
		h.wantHeld(principal, held)
	}
	h.must(h.admin().Apply(h.ctx, Change{Create: handMade(me)}))
	h.wantHeld(me, handMade(me))
	user := h.user("shop", "orders", declared)
	for range 2 {
		if wait := h.pass(); wait > retryRefused {
			t.Errorf("looked at again after %s", wait)
		}
		waits(user, me, handMade(me), `WRITE on topic "payments"`, `READ on topic "payments" from "10.0.0.1"`, `DENY DESCRIBE`, `ALL on group "stolen*"`, `ALTER on cluster`)
	}
	if events := h.drain(); strings.Count(events, v1alpha1.ReasonAdoptionPending) != 1 || strings.Contains(events, "AccessChanged") {
		t.Errorf("events: %s", events)
	}
	version := user.ResourceVersion
	h.fullPass()
	if waits(user, me, handMade(me)); user.ResourceVersion != version {
		t.Error("a pass that changed nothing wrote the KafkaUser")
	}
	before := user.DeepCopy()
	user.Annotations = map[string]string{v1alpha1.AnnotationAdopt: "yes"}
	h.must(h.api.Update(h.ctx, user))
	h.look(user)
	waits(user, me, handMade(me))
	user.Annotations[v1alpha1.AnnotationAdopt] = v1alpha1.AdoptReplace
	h.must(h.api.Update(h.ctx, user))
	if !concerns(before, user) {
		t.Error("the annotation is no reason to look at the user")
	}
	h.look(user)
	h.wantSynced(user)

	// From now on the principal is Signet's: the annotation may go, and what is put there by hand is drift.
	user.Annotations = nil
	h.must(h.api.Update(h.ctx, user))
	h.must(h.admin().Apply(h.ctx, Change{Create: handMade(me)}))
	h.fullPass()
	h.wantSynced(user)
	empty := h.user("shop", "empty", v1alpha1.KafkaUserSpec{})
	h.pass()
	h.wantSynced(empty)
	h.must(h.admin().Apply(h.ctx, Change{Create: handMade("User:shop.empty")}))
	h.fullPass()
	h.wantSynced(empty)

	// Deleted and made anew, it is as new, whatever a broker that is behind says.
	h.delete(user)
	user = h.user("shop", "orders", declared)
	h.pass()
	h.wantSynced(user)

	// What only lacks something loses nothing.
	part := sorted(Grants(user, h.current(), Facts{}))[:2]
	for i := range part {
		part[i].Principal = "User:shop.part"
	}
	h.must(h.admin().Apply(h.ctx, Change{Create: part}))
	h.wantHeld("User:shop.part", part)
	parted := h.user("shop", "part", declared)
	h.pass()
	h.wantSynced(parted)

	// A quota is access, too. Removing by hand what stands in the way is a way out.
	_, err := h.admin().AlterQuotas(h.ctx, []QuotaChange{{Principal: "User:shop.bounded", Set: Quotas{producerByteRate: 7}}})
	h.must(err)
	bounded := h.user("shop", "bounded", declared)
	h.eventually(func() bool {
		held, err := h.admin().DescribeQuotas(h.ctx, "User:shop.bounded")
		return err == nil && len(held["User:shop.bounded"]) == 1
	})
	h.pass()
	waits(bounded, "User:shop.bounded", nil, "the quota producer_byte_rate=7")
	_, err = h.admin().AlterQuotas(h.ctx, []QuotaChange{{Principal: "User:shop.bounded", Remove: []string{producerByteRate}}})
	h.must(err)
	h.eventually(func() bool {
		held, err := h.admin().DescribeQuotas(h.ctx, "User:shop.bounded")
		return err == nil && len(held["User:shop.bounded"]) == 0
	})
	h.look(bounded)
	h.wantSynced(bounded)

	// Many at once, by the KafkaCluster.
	var many []*v1alpha1.KafkaUser
	for i := range fewPrincipals + 2 {
		name := fmt.Sprintf("many-%d", i)
		h.must(h.admin().Apply(h.ctx, Change{Create: handMade("User:shop." + name)}))
		many = append(many, h.user("shop", name, v1alpha1.KafkaUserSpec{Consume: []string{"payments"}}))
	}
	last := "User:shop." + many[len(many)-1].Name
	h.wantHeld(last, handMade(last))
	h.fullPass()
	for _, user := range many {
		waits(user, "User:shop."+user.Name, handMade("User:shop."+user.Name))
	}
	h.wantSynced(bounded)
	cluster := h.current()
	cluster.Annotations = map[string]string{v1alpha1.AnnotationAdopt: v1alpha1.AdoptReplace}
	h.must(h.api.Update(h.ctx, cluster))
	h.fullPass()
	for _, user := range many {
		h.wantSynced(user)
	}
}

// handMade are bindings of a principal that Signet would never write.
func handMade(principal string) []Binding {
	return []Binding{
		{principal, AnyHost, kmsg.ACLResourceTypeTopic, "payments", kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationWrite, kmsg.ACLPermissionTypeAllow},
		{principal, "10.0.0.1", kmsg.ACLResourceTypeTopic, "payments", kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow},
		{principal, AnyHost, kmsg.ACLResourceTypeTopic, "payments", kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationDescribe, kmsg.ACLPermissionTypeDeny},
		{principal, AnyHost, kmsg.ACLResourceTypeGroup, "stolen", kmsg.ACLResourcePatternTypePrefixed, kmsg.ACLOperationAll, kmsg.ACLPermissionTypeAllow},
		{principal, AnyHost, kmsg.ACLResourceTypeCluster, kafkaCluster, kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationAlter, kmsg.ACLPermissionTypeAllow},
	}
}

func driftIsRepaired(t *testing.T, h *harness) {
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	lost := h.held("User:shop.orders")[:2]
	h.must(h.admin().Apply(h.ctx, Change{Create: handMade("User:shop.orders"), Delete: deletions(lost, Bindings{lost[0]: {}})}))
	h.eventually(func() bool { return len(h.held("User:shop.orders")) == 5-2+5 })
	wait := h.pass()
	if held := h.held("User:shop.orders"); len(held) != 8 {
		t.Fatal("a pass over no user looked for drift before it was due")
	}
	h.now = h.now.Add(wait)
	h.pass()
	h.wantSynced(user)
}

func foreignACLsAreNotTouched(t *testing.T, h *harness) {
	foreign := []string{"User:*", "User:shop.", "User:shop.orders2", "User:CN=shop.orders", "User:admin"}
	var all []Binding
	for _, principal := range foreign {
		all = append(all, handMade(principal)...)
	}
	h.must(h.admin().Apply(h.ctx, Change{Create: all}))
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Produce: []string{"payments"}})
	h.fullPass()
	h.wantSynced(user)
	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Produce = nil })
	h.fullPass()
	h.wantSynced(user)
	h.must(h.api.Delete(h.ctx, user))
	h.fullPass()
	for _, principal := range foreign {
		h.wantHeld(principal, handMade(principal))
	}
}

func namespaceAdmission(t *testing.T, h *harness) {
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	label := func(value string) {
		var namespace corev1.Namespace
		h.must(h.api.Get(h.ctx, types.NamespacedName{Name: "shop"}, &namespace))
		namespace.Labels["kafka"] = value
		h.must(h.api.Update(h.ctx, &namespace))
		h.users.namespaceChanged(h.ctx, &namespace)
	}
	label("no")
	h.pass()
	h.wantReason(user, v1alpha1.ReasonNamespaceNotAllowed)
	h.wantHeld("User:shop.orders", nil)
	if *user.Status.ACLs != 0 {
		t.Errorf("outside, but status.acls is %d", *user.Status.ACLs)
	}
	label("yes")
	h.pass()
	h.wantSynced(user)
}

func principalInDispute(t *testing.T, h *harness) {
	fresh := h.user("shop", "fresh", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.record(fresh, metav1.ConditionFalse, v1alpha1.ReasonConflict)
	holders := handMade("User:shop.fresh")
	h.must(h.admin().Apply(h.ctx, Change{Create: holders}))
	h.fullPass()
	h.wantReason(fresh, v1alpha1.ReasonPending)
	h.wantHeld("User:shop.fresh", holders)

	granted := h.user("shop", "granted", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(granted)
	before := h.held("User:shop.granted")
	h.edit(granted, func(s *v1alpha1.KafkaUserSpec) { s.Consume = append(s.Consume, "refunds") })
	h.record(granted, metav1.ConditionFalse, v1alpha1.ReasonPending)
	h.pass()
	h.wantHeld("User:shop.granted", before)
	h.record(granted, metav1.ConditionFalse, v1alpha1.ReasonConflict)
	h.fullPass()
	h.wantReason(granted, v1alpha1.ReasonPending)
	h.wantHeld("User:shop.granted", before)
	h.record(granted, metav1.ConditionFalse, v1alpha1.ReasonReserved)
	h.fullPass()
	h.wantReason(granted, v1alpha1.ReasonPending)
	h.wantHeld("User:shop.granted", nil)
	h.record(granted, metav1.ConditionTrue, v1alpha1.ReasonReady)
	h.fullPass()
	h.wantSynced(granted)
}

// template sets the cluster's principal template; the API server would refuse to change it.
func (h *harness) template(template string) {
	h.t.Helper()
	var cluster v1alpha1.KafkaCluster
	h.must(h.api.Get(h.ctx, h.cluster, &cluster))
	cluster.Spec.PrincipalTemplate = template
	h.must(h.api.Update(h.ctx, &cluster))
}

// ledgered puts a user's PrincipalMapping into the ledger, with the verdict on it.
func (h *harness) ledgered(user *v1alpha1.KafkaUser, principal, verdict string) *v1alpha1.PrincipalMapping {
	h.t.Helper()
	m := ledgered(v1alpha1.MappingName(user.Namespace, user.Name), user.Namespace+"/"+user.Name, principal, verdict)
	h.must(client.IgnoreNotFound(h.api.Delete(h.ctx, m.DeepCopy())))
	h.must(h.api.Create(h.ctx, &m))
	return &m
}

// look makes a pass over one user.
func (h *harness) look(user *v1alpha1.KafkaUser) {
	h.t.Helper()
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	h.pass()
}

// delete deletes a user, with a finalizer that is or is not there.
func (h *harness) delete(user *v1alpha1.KafkaUser) {
	h.t.Helper()
	h.must(h.api.Delete(h.ctx, user))
	h.look(user)
	if !h.gone(user) {
		h.t.Errorf("%s/%s is still there, finalizers %v", user.Namespace, user.Name, user.Finalizers)
	}
}

// onePrincipalTwoUsers holds that of two users whose names make one principal the one that the ledger does not give it
// to never touches its ACLs, whatever it was before and whatever its condition says still.
func onePrincipalTwoUsers(t *testing.T, h *harness) {
	const principal = "User:a-b-c"
	h.template("{namespace}-{name}")
	for _, name := range []string{"a", "a-b"} {
		h.must(h.api.Create(h.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kafka": "yes"}}}))
	}
	no, conflict, principalConflict := metav1.ConditionFalse, v1alpha1.ReasonConflict, v1alpha1.ReasonPrincipalConflict
	spec := func(topic string) v1alpha1.KafkaUserSpec { return v1alpha1.KafkaUserSpec{Consume: []string{topic}} }
	// In both orders, so that neither is always looked at first.
	for _, pair := range [][2][2]string{{{"a", "b-c"}, {"a-b", "c"}}, {{"a-b", "c"}, {"a", "b-c"}}} {
		holder := h.user(pair[0][0], pair[0][1], spec("holders"))
		h.ledgered(holder, principal, v1alpha1.ReasonReady)
		h.pass()
		if c := h.synced(holder); c.Status != metav1.ConditionTrue {
			t.Fatalf("holder: %s: %s", c.Reason, c.Message)
		}
		before := sorted(Grants(holder, h.current(), Facts{}))
		h.wantHeld(principal, before)
		untouched := func(what string) {
			t.Helper()
			if held := h.held(principal); !slices.Equal(held, before) {
				t.Fatalf("%s/%s %s, and %s holds\n%v\nwant\n%v", pair[1][0], pair[1][1], what, principal, held, before)
			}
			if c := h.synced(holder); c.Status != metav1.ConditionTrue || *holder.Status.ACLs != int32(len(before)) {
				t.Errorf("%s/%s %s, and the holder's status is %s: %s, %d ACLs", pair[1][0], pair[1][1], what, c.Reason, c.Message, *holder.Status.ACLs)
			}
		}
		h.drain()
		// What the other one may come from: its condition MappingRecorded, the verdict on its PrincipalMapping ("": there
		// is none), and whether it had been granted something.
		for name, was := range map[string]struct {
			status          metav1.ConditionStatus
			reason, verdict string
			guarded         bool
		}{
			"came late":                                   {no, principalConflict, principalConflict, false},
			"had the principal once":                      {no, principalConflict, principalConflict, true},
			"has not heard of its loss":                   {metav1.ConditionTrue, v1alpha1.ReasonReady, "", true},
			"is recorded anew":                            {no, v1alpha1.ReasonPending, "", true},
			"lost the principal in a dispute of subjects": {no, conflict, conflict, true},
			"is of a new namespace, late in the former":   {no, v1alpha1.ReasonReserved, principalConflict, false},
			"is of a new namespace, granted before":       {no, v1alpha1.ReasonReserved, principalConflict, true},
		} {
			other := h.user(pair[1][0], pair[1][1], spec("others"))
			if was.guarded {
				other.Finalizers = []string{Finalizer}
				h.must(h.api.Update(h.ctx, other))
			}
			if was.verdict != "" {
				h.ledgered(other, principal, was.verdict)
			}
			h.record(other, was.status, was.reason)
			if was.status != metav1.ConditionTrue { // such a condition lasts for a moment, or as long as a deletion
				h.look(other)
				untouched(name + ": looked at")
				if was.reason == v1alpha1.ReasonPending {
					if c := h.synced(other); c.Type != "" {
						t.Errorf("%s: AccessSynced of whom the ledger decides in a moment: %+v", name, c)
					}
				} else {
					if c := h.wantReason(other, v1alpha1.ReasonPending); !strings.Contains(c.Message, "waits") {
						t.Errorf("%s: %s", name, c.Message)
					}
					h.edit(other, func(s *v1alpha1.KafkaUserSpec) { s.Produce = []string{"more"} })
					h.record(other, was.status, was.reason)
					h.look(other)
					untouched(name + ": changed")
				}
			}
			h.fullPass()
			untouched(name + ": full pass")
			h.must(h.api.Delete(h.ctx, other))
			if was.guarded {
				h.look(other)
			}
			if !h.gone(other) {
				t.Errorf("%s: still there, finalizers %v", name, other.Finalizers)
			}
			untouched(name + ": deleted")
			h.fullPass()
			untouched(name + ": gone")
			if m := ledgered(v1alpha1.MappingName(other.Namespace, other.Name), "", "", ""); was.verdict != "" {
				h.must(h.api.Delete(h.ctx, &m))
			}
		}
		if events := h.drain(); events != "" {
			t.Errorf("events of users that have no principal: %s", events)
		}

		// The holder goes, and another's claim does not keep its ACLs: neither where it goes as it should, nor where its
		// finalizer was removed by hand.
		heir := h.user(pair[1][0], pair[1][1], spec("others"))
		h.ledgered(heir, principal, principalConflict)
		h.record(heir, no, principalConflict)
		if pair[0][0] == "a" {
			holder.Finalizers = nil
			h.must(h.api.Update(h.ctx, holder))
		}
		h.must(h.api.Delete(h.ctx, holder))
		h.fullPass()
		if !h.gone(holder) {
			t.Fatalf("the holder is still there, finalizers %v", holder.Finalizers)
		}
		h.wantHeld(principal, nil)
		h.wantReason(heir, v1alpha1.ReasonPending)

		// An administrator releases the principal: the heir has it, and its own ACLs.
		released := ledgered(v1alpha1.MappingName(holder.Namespace, holder.Name), "", "", "")
		h.must(h.api.Delete(h.ctx, &released))
		mapping := h.ledgered(heir, principal, v1alpha1.ReasonReady)
		h.record(heir, metav1.ConditionTrue, v1alpha1.ReasonReady)
		h.look(heir)
		if c := h.synced(heir); c.Status != metav1.ConditionTrue {
			t.Errorf("heir: %s: %s", c.Reason, c.Message)
		}
		h.wantHeld(principal, sorted(Grants(heir, h.current(), Facts{})))

		// It loses it again: its status does not go on to say that its declaration is in force.
		h.ledgered(heir, principal, principalConflict)
		h.record(heir, no, principalConflict)
		h.look(heir)
		if c := h.wantReason(heir, v1alpha1.ReasonPending); !strings.Contains(c.Message, "because") {
			t.Errorf("heir that lost the principal: %s", c.Message)
		}
		h.ledgered(heir, principal, v1alpha1.ReasonReady)
		h.record(heir, metav1.ConditionTrue, v1alpha1.ReasonReady)
		h.look(heir)
		h.delete(heir)
		h.wantHeld(principal, nil)
		h.must(h.api.Delete(h.ctx, mapping))
	}
}

// noPrincipalWithoutAServiceAccount holds that a user whose principal cannot be told is granted nothing, and that
// nothing of an empty principal is asked of Kafka.
func noPrincipalWithoutAServiceAccount(t *testing.T, h *harness) {
	h.template("{namespace}-{serviceAccount}")
	foreign := append(handMade("User:*"), handMade("User:shop-")...)
	h.must(h.admin().Apply(h.ctx, Change{Create: foreign}))
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	refused := func() {
		t.Helper()
		if c := h.wantReason(user, v1alpha1.ReasonInvalid); !strings.Contains(c.Message, "spec.workload.serviceAccountName") {
			t.Errorf("message does not name the field: %s", c.Message)
		}
		h.eventually(func() bool {
			return len(h.all()) == len(foreign)
		})
	}
	h.pass()
	refused()
	h.fullPass()
	refused()
	if len(user.Finalizers) > 0 {
		t.Errorf("a user that was granted nothing has finalizers %v", user.Finalizers)
	}

	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Workload = &v1alpha1.Workload{ServiceAccountName: "web"} })
	h.ledgered(user, "User:shop-web", v1alpha1.ReasonReady)
	h.pass()
	if c := h.synced(user); c.Status != metav1.ConditionTrue || *user.Status.ACLs == 0 {
		t.Errorf("with a service account: %s: %s", c.Reason, c.Message)
	}
	h.wantHeld("User:shop-web", sorted(Grants(user, h.current(), Facts{})))

	// Without it again, what it was granted is withdrawn with the next look at everything.
	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Workload = nil })
	h.record(user, metav1.ConditionFalse, v1alpha1.ReasonInvalid)
	h.fullPass()
	h.wantHeld("User:shop-web", nil)
	refused()
	h.delete(user)
	h.wantHeld("User:*", handMade("User:*"))
	h.wantHeld("User:shop-", handMade("User:shop-"))
}

// current returns the KafkaCluster as it is.
func (h *harness) current() *v1alpha1.KafkaCluster {
	h.t.Helper()
	var cluster v1alpha1.KafkaCluster
	h.must(h.api.Get(h.ctx, h.cluster, &cluster))
	return &cluster
}

func refusedDeclaration(t *testing.T, h *harness) {
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments", "refunds"}})
	h.pass()
	h.wantSynced(user)
	h.edit(user, func(s *v1alpha1.KafkaUserSpec) {
		s.Consume, s.Produce, s.Admin = []string{"payments"}, []string{"new"}, []string{"foreign"}
	})
	h.pass()
	if c := h.wantReason(user, v1alpha1.ReasonInvalid); !strings.Contains(c.Message, "spec.admin[0]") {
		t.Errorf("message does not name the field: %s", c.Message)
	}
	h.wantHeld("User:shop.orders", sorted(Grants(newUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"payments"} }), newCluster(v1alpha1.ClusterPolicy{}), Facts{})))
	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Admin = []string{"shop-own"} })
	h.pass()
	h.wantSynced(user)
}

func clusterGone(t *testing.T, h *harness) {
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	leaving := h.user("shop", "leaving", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	var cluster v1alpha1.KafkaCluster
	h.must(h.api.Get(h.ctx, h.cluster, &cluster))
	h.must(h.api.Delete(h.ctx, &cluster))
	h.must(h.api.Delete(h.ctx, leaving))
	h.fullPass()
	h.wantReason(user, v1alpha1.ReasonClusterNotFound)
	if !h.gone(leaving) {
		t.Error("a KafkaUser without KafkaCluster cannot be deleted")
	}
	if text := h.drain(); !strings.Contains(text, "AccessAbandoned") {
		t.Errorf("no event that ACLs stay behind: %s", text)
	}
	cluster.ResourceVersion, cluster.UID = "", "uid-second"
	h.must(h.api.Create(h.ctx, &cluster))
	h.fullPass()
	h.wantSynced(user)
}

// drain returns the events so far.
func (h *harness) drain() string {
	var out []string
	for {
		select {
		case e := <-h.events.Events:
			out = append(out, e)
		default:
			return strings.Join(out, "\n")
		}
	}
}

func abandonedPrincipal(t *testing.T, h *harness) {
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	mapping := &v1alpha1.PrincipalMapping{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "shop.orders"},
		Spec: v1alpha1.PrincipalMappingSpec{Cluster: "kafka", Principal: "User:shop.orders",
			Owner: &v1alpha1.MappingOwner{Namespace: "shop", Name: "orders", NamespaceUID: "uid"}},
	}
	h.must(h.api.Create(h.ctx, mapping))
	h.fullPass()
	h.wantSynced(user)
	user.Finalizers = nil
	h.must(h.api.Update(h.ctx, user))
	h.must(h.api.Delete(h.ctx, user))
	h.fullPass()
	h.wantHeld("User:shop.orders", nil)
}

func manyUsers(t *testing.T, h *harness) {
	const count = 120
	var users []*v1alpha1.KafkaUser
	for i := range count {
		users = append(users, h.user([]string{"shop", "bank"}[i%2], fmt.Sprintf("u%03d", i), v1alpha1.KafkaUserSpec{
			Consume: []string{"shared", fmt.Sprintf("topic-%d-*", i)}, Produce: []string{fmt.Sprintf("out-%d", i)},
		}))
	}
	h.fullPass()
	for _, user := range users[:10] {
		h.wantSynced(user)
	}
	for _, user := range users[:count/2] {
		h.must(h.api.Delete(h.ctx, user))
	}
	for _, user := range users[count/2:] {
		h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Consume = s.Consume[:1] })
	}
	h.fullPass()
	for _, user := range users[:count/2] {
		if !h.gone(user) {
			t.Fatalf("%s is still there", user.Name)
		}
	}
	want := 0
	for _, user := range users[count/2:] {
		h.wantSynced(user)
		want += int(*user.Status.ACLs)
	}
	h.eventually(func() bool {
		return len(h.all()) == want
	})
}

// controllerEndsInBetween ends a pass after the creations, where a killed controller would, and lets a new controller
// with an empty memory go on.
func controllerEndsInBetween(t *testing.T, h *harness) {
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"refunds"} })
	var cluster v1alpha1.KafkaCluster
	h.must(h.api.Get(h.ctx, h.cluster, &cluster))
	change := Diff(map[string]Bindings{"User:shop.orders": Grants(user, &cluster, Facts{})}, h.held("User:shop.orders"), nil)
	if len(change.Create) == 0 || len(change.Delete) == 0 {
		t.Fatalf("no change to end in between: %+v", change)
	}
	h.must(h.admin().Apply(h.ctx, Change{Create: change.Create}))
	h.users = &UserController{Client: h.api, Connections: h.users.Connections, Events: h.events, Period: 5 * time.Minute, Now: func() time.Time { return h.now }}
	h.pass()
	h.wantSynced(user)
}

// twoSignets holds that the second Signet of a Kafka changes nothing and names the first, until an administrator says that
// the first is gone, which then is refused itself.
func twoSignets(t *testing.T, h *harness) {
	first := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(first)
	held := h.held("User:shop.orders")
	holder := "this-kubernetes:" + h.cluster.String()

	other := h.beside("other-kubernetes")
	second := other.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"refunds"}})
	for range 2 {
		other.fullPass()
		if c := other.wantReason(second, v1alpha1.ReasonConflict); !strings.Contains(c.Message, v1alpha1.AnnotationTakeOver+"="+holder) {
			t.Errorf("AccessSynced: %s", c.Message)
		}
	}
	if c := other.ask(); c.Reason != v1alpha1.ReasonConflict {
		t.Errorf("Reachable: %s: %s", c.Reason, c.Message)
	}
	h.wantHeld("User:shop.orders", held)

	var cluster v1alpha1.KafkaCluster
	other.must(other.api.Get(other.ctx, other.cluster, &cluster))
	cluster.Annotations = map[string]string{v1alpha1.AnnotationTakeOver: holder}
	other.must(other.api.Update(other.ctx, &cluster))
	other.fullPass()
	other.wantReason(second, v1alpha1.ReasonAdoptionPending) // what the first one granted is not taken in silence
	h.wantHeld("User:shop.orders", held)
	cluster.Annotations[v1alpha1.AnnotationAdopt] = v1alpha1.AdoptReplace
	other.must(other.api.Update(other.ctx, &cluster))
	other.fullPass()
	other.wantSynced(second)

	h.admin().claimed = time.Time{} // it is looked at again after a while
	h.edit(first, func(s *v1alpha1.KafkaUserSpec) { s.Produce = []string{"payments"} })
	h.pass()
	h.wantReason(first, v1alpha1.ReasonConflict)
	other.wantSynced(second)
}

// quotas holds that Kafka has the quotas that are declared, or the cluster's default ones, that drift is repaired, that the
// quotas of others are not touched, and that nothing is left of a user that is gone.
func quotas(t *testing.T, h *harness) {
	const me, byHand = "User:shop.orders", "User:by.hand"
	want := func(principal string, want Quotas) {
		t.Helper()
		var got Quotas
		if !h.eventually(func() bool {
			held, err := h.admin().DescribeQuotas(h.ctx, principal)
			h.must(err)
			got = held[principal]
			return maps.Equal(got, want)
		}) {
			t.Errorf("quotas of %s: %v, want %v", principal, got, want)
		}
	}
	byHandQuotas := Quotas{producerByteRate: 7}
	_, err := h.admin().AlterQuotas(h.ctx, []QuotaChange{{Principal: byHand, Set: byHandQuotas}})
	h.must(err)
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}, Quotas: &v1alpha1.Quotas{ProducerByteRate: quantity("1Mi")}})
	only := h.user("shop", "only", v1alpha1.KafkaUserSpec{Quotas: &v1alpha1.Quotas{ConsumerByteRate: quantity("1k")}})
	h.pass()
	h.wantSynced(user)
	want(me, Quotas{producerByteRate: 1 << 20})
	want("User:shop.only", Quotas{consumerByteRate: 1000})
	h.wantSynced(only)
	if !slices.Contains(only.Finalizers, Finalizer) {
		t.Error("quotas without finalizer")
	}

	h.edit(user, func(s *v1alpha1.KafkaUserSpec) {
		s.Quotas = &v1alpha1.Quotas{RequestPercentage: quantity("50"), ControllerMutationRate: quantity("500m")}
	})
	h.pass()
	want(me, Quotas{requestPercentage: 50, controllerMutationRate: 0.5})

	_, err = h.admin().AlterQuotas(h.ctx, []QuotaChange{{Principal: me, Set: Quotas{requestPercentage: 1, consumerByteRate: 1}, Remove: []string{controllerMutationRate}}})
	h.must(err)
	want(me, Quotas{requestPercentage: 1, consumerByteRate: 1})
	h.fullPass()
	want(me, Quotas{requestPercentage: 50, controllerMutationRate: 0.5})

	var cluster v1alpha1.KafkaCluster
	h.must(h.api.Get(h.ctx, h.cluster, &cluster))
	cluster.Spec.Policy.DefaultQuotas = &v1alpha1.Quotas{RequestPercentage: quantity("20"), ProducerByteRate: quantity("2Mi")}
	h.must(h.api.Update(h.ctx, &cluster))
	h.fullPass()
	want(me, Quotas{requestPercentage: 50, controllerMutationRate: 0.5, producerByteRate: 2 << 20})
	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Quotas = nil })
	h.pass()
	want(me, Quotas{requestPercentage: 20, producerByteRate: 2 << 20})

	h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Quotas = &v1alpha1.Quotas{ProducerByteRate: quantity("-1")} }) // the API server refuses it
	h.pass()
	if h.real {
		c := h.wantReason(user, v1alpha1.ReasonRefusedByBroker)
		if !strings.Contains(c.Message, "quotas of "+me) {
			t.Errorf("AccessSynced: %s", c.Message)
		}
		h.wantHeld(me, sorted(Grants(user, &cluster, Facts{}))) // what is refused holds up nothing else
	}

	for _, u := range []*v1alpha1.KafkaUser{user, only} {
		h.must(h.api.Get(h.ctx, client.ObjectKeyFromObject(u), u))
		h.must(h.api.Delete(h.ctx, u))
		h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(u))
	}
	h.pass()
	want(me, nil)
	want("User:shop.only", nil)
	if !h.gone(user) || !h.gone(only) {
		t.Error("a deleted KafkaUser is still there")
	}
	want(byHand, byHandQuotas)
	_, err = h.admin().AlterQuotas(h.ctx, []QuotaChange{{Principal: byHand, Remove: []string{producerByteRate}}})
	h.must(err)
}

func reachable(t *testing.T, h *harness) {
	if c := h.ask(); c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonReady {
		t.Errorf("Reachable: %s %s: %s", c.Status, c.Reason, c.Message)
	}
	var cluster v1alpha1.KafkaCluster
	h.must(h.api.Get(h.ctx, h.cluster, &cluster))
	if cluster.Status.Brokers != 1 {
		t.Errorf("status.brokers %d, want 1", cluster.Status.Brokers)
	}
}

func topicLifecycle(t *testing.T, h *harness) {
	topic := newTopic(func(k *v1alpha1.KafkaTopic) {
		k.Spec.Config = map[string]string{"retention.ms": "60000", "cleanup.policy": "compact"}
	})
	ready := func(partitions int32, config map[string]string) {
		t.Helper()
		if c := h.topic(topic); c.Status != metav1.ConditionTrue {
			t.Fatalf("Ready: %s: %s", c.Reason, c.Message)
		}
		var actual *Topic
		if !h.eventually(func() bool {
			var err error
			actual, err = h.admin().Topic(h.ctx, "shop-orders")
			return err == nil && actual != nil && actual.Partitions == partitions && maps.Equal(actual.Config, config)
		}) {
			t.Fatalf("topic in kafka: %+v, want %d partitions and %v", actual, partitions, config)
		}
		if topic.Status.Partitions != partitions || topic.Status.Topic != "shop-orders" || topic.Status.ReplicationFactor != 1 {
			t.Errorf("status %+v", topic.Status)
		}
	}
	edit := func(change func(*v1alpha1.KafkaTopic)) {
		t.Helper()
		change(topic)
		topic.Generation++
		h.must(h.api.Update(h.ctx, topic))
	}
	h.must(h.api.Create(h.ctx, topic))
	ready(3, topic.Spec.Config)
	if len(topic.Finalizers) != 0 {
		t.Error("a topic that stays has a finalizer")
	}
	version := topic.ResourceVersion
	if ready(3, topic.Spec.Config); topic.ResourceVersion != version {
		t.Error("a look that changed nothing wrote the KafkaTopic")
	}
	edit(func(k *v1alpha1.KafkaTopic) { k.Spec.Partitions = 5 })
	ready(5, topic.Spec.Config)
	edit(func(k *v1alpha1.KafkaTopic) {
		k.Spec.Config = map[string]string{"retention.ms": "120000", "min.insync.replicas": "1"}
	})
	ready(5, topic.Spec.Config)

	h.must(h.admin().AlterTopicConfig(h.ctx, "shop-orders", map[string]string{"retention.ms": "7", "segment.bytes": "1048576"}, nil))
	ready(5, map[string]string{"retention.ms": "120000", "min.insync.replicas": "1", "segment.bytes": "1048576"})

	three := int32(3)
	edit(func(k *v1alpha1.KafkaTopic) { k.Spec.ReplicationFactor = &three })
	if c := h.topic(topic); c.Reason != v1alpha1.ReasonInvalid || !strings.Contains(c.Message, "kafka-reassign-partitions.sh") {
		t.Errorf("another replication factor: %s: %s", c.Reason, c.Message)
	}
	edit(func(k *v1alpha1.KafkaTopic) { k.Spec.ReplicationFactor, k.Spec.Partitions = nil, 2 })
	if c := h.topic(topic); c.Reason != v1alpha1.ReasonInvalid || !strings.Contains(c.Message, "cannot remove partitions") {
		t.Errorf("fewer partitions: %s: %s", c.Reason, c.Message)
	}
	edit(func(k *v1alpha1.KafkaTopic) { k.Spec.Partitions = 5 })
	ready(5, map[string]string{"retention.ms": "120000", "min.insync.replicas": "1", "segment.bytes": "1048576"})

	// Retain, also once it was Delete: the topic survives its KafkaTopic.
	edit(func(k *v1alpha1.KafkaTopic) { k.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	h.topic(topic)
	if !slices.Contains(topic.Finalizers, TopicFinalizer) {
		t.Error("a topic to delete has no finalizer")
	}
	edit(func(k *v1alpha1.KafkaTopic) { k.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
	h.must(h.api.Delete(h.ctx, topic))
	if h.topic(topic); !h.gone(topic) {
		t.Error("the KafkaTopic is still there")
	}
	if actual, err := h.admin().Topic(h.ctx, "shop-orders"); err != nil || actual == nil {
		t.Errorf("a retained topic is gone: %v", err)
	}

	foreign := newTopic(func(k *v1alpha1.KafkaTopic) { k.Name, k.Spec.Topic = "foreign", "bank-ledger" })
	h.must(h.api.Create(h.ctx, foreign))
	if c := h.topic(foreign); c.Reason != v1alpha1.ReasonInvalid || !strings.Contains(c.Message, "must start with shop-") {
		t.Errorf("another namespace's topic: %s: %s", c.Reason, c.Message)
	}
	if actual, err := h.admin().Topic(h.ctx, "bank-ledger"); err != nil || actual != nil {
		t.Errorf("another namespace's topic was created: %+v, %v", actual, err)
	}
}

// longestNames holds that names as long as Kafka takes them work, by name and by prefix.
func longestNames(t *testing.T, h *harness) {
	const longest = 249
	topicName := "shop-" + strings.Repeat("x", longest-len("shop-"))
	prefix := "shop-" + strings.Repeat("y", longest-len("shop-")-1)
	group := strings.Repeat("g", 254)
	user := h.user("shop", "long", v1alpha1.KafkaUserSpec{
		Consume: []string{topicName, prefix + "*"}, Produce: []string{topicName}, Admin: []string{topicName, prefix + "*"}, ConsumerGroups: []string{group + "g", group + "*"},
	})
	h.pass()
	h.wantSynced(user)
	topic := newTopic(func(k *v1alpha1.KafkaTopic) {
		k.Name, k.Spec.Topic, k.Spec.DeletionPolicy = "long", topicName, v1alpha1.DeletionDelete
	})
	h.must(h.api.Create(h.ctx, topic))
	if c := h.topic(topic); c.Status != metav1.ConditionTrue || topic.Status.Topic != topicName {
		t.Errorf("a topic of %d characters: %s: %s", len(topicName), c.Reason, c.Message)
	}
	h.must(h.api.Delete(h.ctx, topic))
	if h.topic(topic); !h.gone(topic) {
		t.Error("the KafkaTopic is still there")
	}
	if h.real { // the API server refuses these; whatever comes past it is Kafka's to refuse, and half of nothing is made
		for _, name := range []string{topicName + "x", "shop-a/b", "shop- "} {
			illegal := newTopic(func(k *v1alpha1.KafkaTopic) { k.Name, k.Spec.Topic = "illegal", name })
			h.must(h.api.Create(h.ctx, illegal))
			if c := h.topic(illegal); c.Reason != v1alpha1.ReasonRefusedByBroker || !strings.Contains(c.Message, "INVALID_TOPIC_EXCEPTION") {
				t.Errorf("topic %q: %s: %s", name, c.Reason, c.Message)
			}
			h.must(h.api.Delete(h.ctx, illegal))
		}
	}
	h.delete(user)
	h.wantHeld("User:shop.long", nil)
}

// editedByHandMeanwhile has somebody create and delete ACLs, of a managed principal and of another, while passes are under way.
// What is declared is there in the end and nothing else, and what is the other's is as it was made.
func editedByHandMeanwhile(t *testing.T, h *harness) {
	user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(user)
	const other = "User:by.hand"
	admin, stop, edited := h.admin(), make(chan struct{}), make(chan error)
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				edited <- admin.Apply(h.ctx, Change{Create: handMade(other)})
				return
			default:
			}
			mine, others := handMade("User:shop.orders"), handMade(other)
			for i := range mine {
				if err == nil {
					err = admin.Apply(h.ctx, Change{Create: []Binding{mine[i], others[i]}})
				}
			}
			held, failure := admin.Describe(h.ctx, "User:shop.orders")
			if err == nil {
				err = failure
			}
			if err == nil && len(held) > 2 {
				err = admin.Apply(h.ctx, Change{Delete: exactly(append(held[:2], others[0]))})
			}
		}
		<-stop
		edited <- err
	}()
	for i := range 20 {
		h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"payments", fmt.Sprintf("topic-%d", i%3)} })
		h.fullPass()
	}
	close(stop)
	h.must(<-edited)
	h.now = h.now.Add(2 * settling)
	h.fullPass()
	h.wantSynced(user)
	h.wantHeld(other, handMade(other))
}

func topicDeletion(t *testing.T, h *harness) {
	topic := newTopic(func(k *v1alpha1.KafkaTopic) { k.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	h.must(h.api.Create(h.ctx, topic))
	if c := h.topic(topic); c.Status != metav1.ConditionTrue {
		t.Fatalf("Ready: %s: %s", c.Reason, c.Message)
	}
	h.must(h.api.Delete(h.ctx, topic))
	h.topic(topic)
	if !h.gone(topic) {
		t.Error("the KafkaTopic is still there")
	}
	h.eventually(func() bool {
		actual, err := h.admin().Topic(h.ctx, "shop-orders")
		return err == nil && actual == nil
	})
}

func topicConflict(t *testing.T, h *harness) {
	at := func(name string, second int64) *v1alpha1.KafkaTopic {
		return newTopic(func(k *v1alpha1.KafkaTopic) {
			k.Name, k.UID, k.Spec.Topic, k.Spec.DeletionPolicy = name, types.UID("uid-"+name), "shop-orders", v1alpha1.DeletionDelete
			k.CreationTimestamp = metav1.NewTime(time.Unix(second, 0))
		})
	}
	first, second := at("first", 1), at("second", 2)
	h.must(h.api.Create(h.ctx, first))
	h.must(h.api.Create(h.ctx, second))
	if c := h.topic(second); c.Reason != v1alpha1.ReasonConflict || !strings.Contains(c.Message, "shop/first") {
		t.Errorf("second claim: %s: %s", c.Reason, c.Message)
	}
	if c := h.topic(first); c.Status != metav1.ConditionTrue {
		t.Errorf("first claim: %s: %s", c.Reason, c.Message)
	}
	h.must(h.api.Delete(h.ctx, second))
	if h.topic(second); !h.gone(second) {
		t.Error("the second KafkaTopic is still there")
	}
	if actual, err := h.admin().Topic(h.ctx, "shop-orders"); err != nil || actual == nil {
		t.Errorf("deleting the second KafkaTopic deleted the first one's topic: %v", err)
	}
}
