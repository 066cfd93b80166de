// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// model is what Kafka has to hold once everything has settled.
type model struct {
	h       *harness
	r       *rand.Rand
	users   map[string]*v1alpha1.KafkaUser
	foreign Bindings
	// principals are all that were ever used.
	principals []string
}

const foreignPrincipal = "User:by.hand"

// followsTheModel makes random edits of KafkaUsers and of the policy, edits of ACLs by hand, faults and restarts, and holds
// after each that settled that the ACLs are those of the model, with nobody else's touched.
func followsTheModel(t *testing.T, h *harness) {
	seed := uint64(20261122)
	steps := 300
	if h.real {
		steps = 60
	}
	m := &model{h: h, r: rand.New(rand.NewPCG(seed, 1)), users: map[string]*v1alpha1.KafkaUser{}, foreign: Bindings{}}
	for i := range 5 {
		m.principals = append(m.principals, fmt.Sprintf("User:shop.user-%d", i))
	}
	actions := map[string]func(){
		"declare": m.declare, "delete": m.delete, "suspend": m.suspend, "edit by hand": m.editByHand, "take by hand": m.takeByHand,
		"edit another's": m.editForeign, "change the policy": m.changePolicy, "fail": m.fail, "restart": m.restart, "end in between": m.endInBetween,
	}
	var names []string
	for name := range actions {
		names = append(names, name)
	}
	slices.Sort(names)
	var trace []string
	for step := range steps {
		name := names[m.r.IntN(len(names))]
		trace = append(trace, name)
		actions[name]()
		if m.r.IntN(3) > 0 {
			h.pass()
		}
		if step%3 > 0 {
			continue
		}
		m.settle()
		if t.Failed() {
			t.Fatalf("seed %d, step %d, after %q", seed, step, trace[max(0, len(trace)-10):])
		}
	}
}

// settle has the controller look at everything, as it does by itself after a while, and compares.
func (m *model) settle() {
	m.h.t.Helper()
	m.h.now = m.h.now.Add(2 * time.Minute)
	m.h.fullPass()
	m.h.pass() // finalizers that collided
	for _, principal := range m.principals {
		m.h.wantHeld(principal, m.want(principal))
	}
	m.h.wantHeld(foreignPrincipal, sorted(m.foreign))
}

func (m *model) want(principal string) []Binding {
	var cluster v1alpha1.KafkaCluster
	m.h.must(m.h.api.Get(m.h.ctx, m.h.cluster, &cluster))
	for _, user := range m.users {
		if "User:"+user.Namespace+"."+user.Name == principal && !user.Spec.Suspend {
			return sorted(Grants(user, &cluster, Facts{}))
		}
	}
	return nil
}

// spec is a random declaration.
func (m *model) spec() v1alpha1.KafkaUserSpec {
	some := func(of ...string) []string {
		var out []string
		for _, entry := range of {
			if m.r.IntN(3) == 0 {
				out = append(out, entry)
			}
		}
		return out
	}
	return v1alpha1.KafkaUserSpec{
		ClusterRef:     v1alpha1.ClusterReference{Namespace: m.h.cluster.Namespace, Name: m.h.cluster.Name},
		Consume:        some("payments", "refunds", "pay*", "orders"),
		Produce:        some("payments", "orders", "shop-*"),
		Admin:          some("shop-a", "shop-b", "shop-*"),
		ConsumerGroups: some("batch", "batch*", "shop"),
	}
}

// declare creates a KafkaUser or changes its declaration.
func (m *model) declare() {
	name := fmt.Sprintf("user-%d", m.r.IntN(5))
	spec := m.spec()
	if user := m.users[name]; user != nil {
		spec.Suspend = user.Spec.Suspend
		m.h.edit(user, func(s *v1alpha1.KafkaUserSpec) { *s = spec })
		return
	}
	existing := &v1alpha1.KafkaUser{}
	key := client.ObjectKey{Namespace: "shop", Name: name}
	if m.h.api.Get(m.h.ctx, key, existing) == nil { // its deletion waits for its ACLs
		m.settle()
	}
	m.users[name] = m.h.user("shop", name, spec)
}

// any returns one of the KafkaUsers, or nil.
func (m *model) any() *v1alpha1.KafkaUser {
	var names []string
	for name := range m.users {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return m.users[names[m.r.IntN(len(names))]]
}

func (m *model) delete() {
	user := m.any()
	if user == nil {
		return
	}
	m.h.must(m.h.api.Get(m.h.ctx, client.ObjectKeyFromObject(user), user))
	m.h.must(m.h.api.Delete(m.h.ctx, user))
	m.h.users.backlog.add(m.h.cluster, client.ObjectKeyFromObject(user))
	delete(m.users, user.Name)
	if len(user.Finalizers) == 0 { // what is there was put there by hand: nobody's any more
		m.takeAll("User:shop." + user.Name)
	}
}

func (m *model) suspend() {
	if user := m.any(); user != nil {
		m.h.edit(user, func(s *v1alpha1.KafkaUserSpec) { s.Suspend = !s.Suspend })
	}
}

// editByHand adds ACLs to a principal that is managed.
func (m *model) editByHand() {
	if user := m.any(); user != nil && len(user.Finalizers) > 0 {
		m.h.must(m.h.admin().Apply(m.h.ctx, Change{Create: handMade("User:shop." + user.Name)[:1+m.r.IntN(4)]}))
	}
}

// takeByHand takes some of a principal's ACLs away.
func (m *model) takeByHand() {
	held := m.h.held(m.principals[m.r.IntN(len(m.principals))])
	if len(held) > 0 {
		m.h.must(m.h.admin().Apply(m.h.ctx, Change{Delete: exactly(held[:1+m.r.IntN(len(held))])}))
	}
}

func (m *model) takeAll(principal string) {
	if held := m.h.held(principal); len(held) > 0 {
		m.h.must(m.h.admin().Apply(m.h.ctx, Change{Delete: exactly(held)}))
	}
}

func (m *model) editForeign() {
	b := handMade(foreignPrincipal)[m.r.IntN(4)]
	if _, ok := m.foreign[b]; ok {
		m.h.must(m.h.admin().Apply(m.h.ctx, Change{Delete: exactly([]Binding{b})}))
		delete(m.foreign, b)
		return
	}
	m.h.must(m.h.admin().Apply(m.h.ctx, Change{Create: []Binding{b}}))
	m.foreign[b] = struct{}{}
}

func (m *model) changePolicy() {
	var cluster v1alpha1.KafkaCluster
	m.h.must(m.h.api.Get(m.h.ctx, m.h.cluster, &cluster))
	free := m.r.IntN(2) == 0
	cluster.Spec.Policy.FreeGroups = &free
	cluster.Generation++
	m.h.must(m.h.api.Update(m.h.ctx, &cluster))
	m.h.users.backlog.addAll(m.h.cluster)
}

// fail makes one pass without a connection. It must not change what anybody holds.
func (m *model) fail() {
	before := map[string][]Binding{}
	for _, principal := range m.principals {
		before[principal] = m.h.held(principal)
	}
	identity := m.h.identity.(*adminTLS)
	m.h.users.Connections.CloseAll()
	config := identity.config
	identity.answer(nil, errors.New("no certificate"))
	m.h.users.backlog.addAll(m.h.cluster)
	m.h.pass()
	identity.answer(config, nil)
	m.h.users.Connections.CloseAll()
	m.h.now = m.h.now.Add(2 * time.Minute)
	for _, principal := range m.principals {
		m.h.wantHeld(principal, before[principal])
	}
}

// restart forgets all that the controller has in memory.
func (m *model) restart() {
	m.h.users.Connections.CloseAll()
	m.h.users = &UserController{Client: m.h.api, Connections: m.h.users.Connections, Events: m.h.events, Period: 5 * time.Minute, Now: func() time.Time { return m.h.now }}
}

// endInBetween does a part of what a pass would do, as a controller does that is killed, and restarts it. At no moment a
// principal has what neither the former nor the new declaration allows.
func (m *model) endInBetween() {
	user := m.any()
	if user == nil || len(user.Finalizers) == 0 {
		return
	}
	principal := "User:shop." + user.Name
	before := m.h.held(principal)
	spec := m.spec()
	spec.Suspend = user.Spec.Suspend
	m.h.edit(user, func(s *v1alpha1.KafkaUserSpec) { *s = spec })
	desired := Bindings{}
	for _, b := range m.want(principal) {
		desired[b] = struct{}{}
	}
	change := Diff(map[string]Bindings{principal: desired}, before, nil)
	if m.r.IntN(2) == 0 {
		change.Delete = change.Delete[:m.r.IntN(len(change.Delete)+1)]
	} else {
		change.Create, change.Delete = change.Create[:m.r.IntN(len(change.Create)+1)], nil
	}
	m.h.must(m.h.admin().Apply(m.h.ctx, change))
	for _, b := range m.h.held(principal) {
		_, wanted := desired[b]
		if !wanted && !slices.Contains(before, b) && b.Permission == kmsg.ACLPermissionTypeAllow {
			m.h.t.Errorf("neither the former nor the new declaration allows %s", b)
		}
	}
	m.restart()
}
