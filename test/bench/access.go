// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// aclsOfUser is how many ACLs each KafkaUser has: three on each of two topics, and four groups.
const aclsOfUser = 10

// accessRounds is how often a first pass over few users is measured, in turn with its baseline.
const accessRounds = 3

// singleRequests is how many ACLs are created one request each. It is known how the rate goes on: each waits for KRaft's log.
const singleRequests = 200

// noChangePasses is how many passes that change nothing are measured, in turn with describing everything.
const noChangePasses = 5

// changes is how many KafkaUsers are changed, one after the other.
const changes = 60

// changeBounds are for how long a changed KafkaUser may wait until the brokers enforce it, in ms.
const (
	changeMedian = 200
	changeP99    = 1000
)

// accessMemoryBound is the resident memory of the controllers that accessMode runs, in MiB.
const accessMemoryBound = 768

// accessPopulation are the KafkaUsers whose ACLs are measured: few, and all of them.
type accessPopulation struct{ few, all int }

func (n accessPopulation) versusSingle() string {
	return fmt.Sprintf("acl-first-pass-%d-vs-single", n.few)
}
func (n accessPopulation) versusRaw() string { return fmt.Sprintf("acl-first-pass-%d", n.few) }
func (n accessPopulation) firstPass() string { return fmt.Sprintf("acl-first-pass-%d", n.all) }

const (
	noChange       = "acl-no-change-pass"
	noChangeMemory = "acl-no-change-pass-memory"
	oneChangeP50   = "acl-one-change-p50"
	oneChangeP99   = "acl-one-change-p99"
)

func (n accessPopulation) names() []string {
	return []string{n.versusSingle(), n.versusRaw(), n.firstPass(), noChange, noChangeMemory, oneChangeP50, oneChangeP99}
}

// accessBench is a Kafka, an API server, and what runs on them.
type accessBench struct {
	*plane
	kafka   *kafka
	session *session
	// identity is the directory of accessMode.
	identity string
	cluster  *v1alpha1.KafkaCluster
	users    []*v1alpha1.KafkaUser
	// granted are the ACLs of the users, of which last is the principal that comes last.
	granted access.Bindings
	last    string
}

// measureAccess measures the ACLs of KafkaUsers on a real broker.
//
// A first pass begins with every KafkaUser in the cache of a controller, recorded in the ledger and with its finalizer, and
// a Kafka that has no ACL of theirs; it ends when the last ACL is in Kafka. What the API server takes for the finalizers
// before, and for the status of each KafkaUser after it, is not Kafka's time: it is a write for each KafkaUser, as many as
// the API server takes. A pass that changes nothing is what the controller itself measures of its
// work. A change begins when the API server has answered the update of a KafkaUser, and ends when the user's client has its
// first success with the topic that it is granted.
func (n accessPopulation) measureAccess(ctx context.Context, only string, out io.Writer) (err error) {
	wanted := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, only) })
	}
	p, err := newPlane(ctx, "access")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Down(context.WithoutCancel(ctx))) }()
	b := &accessBench{plane: p}
	if b.kafka, b.session, err = startKafka(ctx, p); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.session.end()) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if wanted(n.versusSingle(), n.versusRaw()) {
		if err := b.make(ctx, n.few); err != nil {
			return err
		}
		if err := n.measureFew(ctx, b, wanted, out); err != nil {
			return err
		}
	}
	if !wanted(n.firstPass(), noChange, noChangeMemory, oneChangeP50, oneChangeP99) {
		return nil
	}
	if err := b.make(ctx, n.all); err != nil {
		return err
	}
	return n.measureAll(ctx, b, wanted, out)
}

// prepare tells Signet of the Kafka, and makes the topic that clients look for.
func (b *accessBench) prepare(ctx context.Context) error {
	admin, err := b.kafka.identity(b.session, principal.UserSubject{Namespace: "kafka", Name: "kafka", Organization: "signet-controller"})
	if err != nil {
		return err
	}
	if err := b.session.attempt(func() { b.identity = b.session.TempDir() }); err != nil {
		return err
	}
	if err := writeIdentity(b.identity, b.kafka.authority.PEM(), admin.Certificates[0]); err != nil {
		return err
	}
	b.cluster = &v1alpha1.KafkaCluster{}
	if err := b.client.Get(ctx, client.ObjectKey{Namespace: "kafka", Name: "kafka"}, b.cluster); err != nil {
		return err
	}
	b.cluster.Spec.Listeners[0].BootstrapServers = []string{b.kafka.Address}
	if err := b.client.Update(ctx, b.cluster); err != nil {
		return err
	}
	for i := range userNamespaces {
		if err := b.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(i)}}); err != nil {
			return err
		}
	}
	return b.kafka.createTopic(ctx, grantedTopic)
}

// grantedTopic is granted to the users that are changed.
const grantedTopic = "granted"

func namespaceOf(i int) string { return fmt.Sprintf("team-%d", i%userNamespaces) }

// aclUser is a KafkaUser with aclsOfUser ACLs.
func aclUser(i int) *v1alpha1.KafkaUser {
	namespace := namespaceOf(i)
	return &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("user-%d", i), Finalizers: []string{access.Finalizer}},
		Spec: v1alpha1.KafkaUserSpec{
			ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"},
			Consume:    []string{namespace + "-orders", "payments-" + namespace}, ConsumerGroups: []string{"batch-" + namespace, "report-" + namespace},
		},
	}
}

// make makes as many KafkaUsers as are missing to count, and lets the ledger record them.
func (b *accessBench) make(ctx context.Context, count int) (err error) {
	begin, missing := time.Now(), count-len(b.users)
	group, together := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := len(b.users); i < count; i++ {
		user := aclUser(i)
		b.users = append(b.users, user)
		group.Go(func() error { return b.client.Create(together, user) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	b.Say("%d KafkaUsers after %s", count, time.Since(begin).Round(time.Second))
	b.granted, b.last = access.Bindings{}, ""
	for _, user := range b.users {
		bindings := access.Grants(user, b.cluster, access.Facts{})
		if len(bindings) != aclsOfUser {
			return fmt.Errorf("a kafkauser has %d acls", len(bindings))
		}
		maps.Copy(b.granted, bindings)
		for binding := range bindings {
			b.last = max(b.last, binding.Principal)
		}
	}
	ledger, err := b.startAccessControllers(ctx, b.identity)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.stop()) }()
	if err := ledger.begin(ctx, ledgerPath); err != nil {
		return err
	}
	// A PrincipalMapping, the verdict, and the KafkaUser's status.
	if err := b.rest(ctx, ledger, 3*missing); err != nil {
		return err
	}
	b.Say("recorded after %s", time.Since(begin).Round(time.Second))
	var users v1alpha1.KafkaUserList
	if err := b.client.List(ctx, &users); err != nil {
		return err
	}
	for i := range users.Items {
		if !meta.IsStatusConditionTrue(users.Items[i].Status.Conditions, v1alpha1.ConditionMappingRecorded) {
			return fmt.Errorf("kafkauser %s/%s is not recorded", users.Items[i].Namespace, users.Items[i].Name)
		}
	}
	if len(users.Items) != count {
		return fmt.Errorf("%d kafkausers, want %d", len(users.Items), count)
	}
	return nil
}

// rest waits until the controllers have made at least so many calls of the API server, and make no more.
func (b *accessBench) rest(ctx context.Context, controllers *process, atLeast int) error {
	before, since := -1.0, time.Now()
	return controllers.until(ctx, "the controllers come to rest", 250*time.Millisecond, 30*time.Minute, func() (bool, error) {
		calls, err := controllers.scrape(ctx, "rest_client_requests_total")
		if err != nil {
			return false, err
		}
		if calls != before {
			before, since = calls, time.Now()
		}
		return calls >= float64(atLeast) && time.Since(since) > 1500*time.Millisecond, nil
	})
}

// raw returns the ACLs of as many principals as there are users, none of them a user's, in the order of principals, as Signet
// creates them.
func (b *accessBench) raw() []access.Binding {
	out := make([]access.Binding, 0, len(b.granted))
	for binding := range b.granted {
		binding.Principal = strings.Replace(binding.Principal, principal.TypeUser, principal.TypeUser+"raw.", 1)
		out = append(out, binding)
	}
	byPrincipal(out)
	return out
}

// firstPass lets a new controller make its first pass over an empty Kafka, and returns how long it took and the controller,
// which runs.
func (b *accessBench) firstPass(ctx context.Context) (time.Duration, *process, error) {
	controllers, err := b.startAccessControllers(ctx, b.identity)
	if err != nil {
		return 0, nil, err
	}
	took, err := b.passOf(ctx, controllers)
	if err != nil {
		return 0, nil, errors.Join(err, controllers.stop())
	}
	return took, controllers, nil
}

func (b *accessBench) passOf(ctx context.Context, controllers *process) (time.Duration, error) {
	// Asking is not free for the broker, which walks through all its ACLs each time: a hundred times in an expected pass.
	period := max(5*time.Millisecond, time.Duration(len(b.users))*10*time.Microsecond)
	begin := time.Now()
	if err := controllers.begin(ctx, accessPath); err != nil {
		return 0, err
	}
	err := controllers.until(ctx, "the first pass", period, 10*time.Minute, func() (bool, error) {
		held, err := b.kafka.describe(ctx, &b.last)
		return len(held) == aclsOfUser, err
	})
	took := time.Since(begin)
	if err != nil {
		return 0, err
	}
	all, err := b.kafka.describe(ctx, nil)
	if err != nil {
		return 0, err
	}
	if !maps.Equal(all, b.granted) {
		return 0, fmt.Errorf("when %s has its ACLs, %d are in Kafka, of %d", b.last, len(all), len(b.granted))
	}
	return took, nil
}

// baseline creates the ACLs of raw and deletes them, and returns how long the creation took.
func (b *accessBench) baseline(ctx context.Context) (time.Duration, error) {
	took, err := b.kafka.create(ctx, b.raw(), rawBatch)
	if err != nil {
		return 0, err
	}
	return took, b.kafka.wipe(ctx)
}

func (n accessPopulation) measureFew(ctx context.Context, b *accessBench, wanted func(...string) bool, out io.Writer) error {
	if _, err := b.baseline(ctx); err != nil { // which warms the broker up
		return err
	}
	single, err := b.kafka.create(ctx, b.raw()[:singleRequests], 1)
	if err != nil {
		return err
	}
	if err := b.kafka.wipe(ctx); err != nil {
		return err
	}
	rate := func(count int, took time.Duration) float64 { return float64(count) / took.Seconds() }
	var passes, raws, ratios []float64
	for range accessRounds {
		raw, err := b.baseline(ctx)
		if err != nil {
			return err
		}
		pass, controllers, err := b.firstPass(ctx)
		if err != nil {
			return err
		}
		if err := errors.Join(b.rest(ctx, controllers, 0), controllers.stop()); err != nil {
			return err
		}
		if err := b.kafka.wipe(ctx); err != nil {
			return err
		}
		passes, raws = append(passes, rate(len(b.granted), pass)), append(raws, rate(len(b.granted), raw))
		ratios = append(ratios, raw.Seconds()/pass.Seconds())
	}
	if wanted(n.versusSingle()) {
		value, baseline := median(passes), rate(singleRequests, single)
		fmt.Fprintln(out, line(n.versusSingle(), "ACLs/s", value, baseline, value/baseline, 200, value/baseline >= 200))
	}
	if wanted(n.versusRaw()) {
		fmt.Fprintln(out, line(n.versusRaw(), "ACLs/s", median(passes), median(raws), median(ratios), 0.5, median(ratios) >= 0.5))
	}
	return nil
}

func (n accessPopulation) measureAll(ctx context.Context, b *accessBench, wanted func(...string) bool, out io.Writer) (err error) {
	if _, err := b.baseline(ctx); err != nil {
		return err
	}
	raw, err := b.baseline(ctx)
	if err != nil {
		return err
	}
	pass, controllers, err := b.firstPass(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, controllers.stop()) }()
	if wanted(n.firstPass()) {
		ratio := pass.Seconds() / raw.Seconds()
		fmt.Fprintln(out, line(n.firstPass(), "ms", milliseconds(pass), milliseconds(raw), ratio, 3, ratio <= 3))
	}
	if !wanted(noChange, noChangeMemory, oneChangeP50, oneChangeP99) {
		return nil
	}
	begin := time.Now()
	if err := errors.Join(controllers.begin(ctx, ledgerPath), b.rest(ctx, controllers, n.all-n.few)); err != nil {
		return err
	}
	b.Say("every status written after another %s", time.Since(begin).Round(time.Second))
	if wanted(noChange, noChangeMemory) {
		if err := b.measureNoChange(ctx, controllers, wanted, out); err != nil {
			return err
		}
	}
	if wanted(oneChangeP50, oneChangeP99) {
		return b.measureChanges(ctx, controllers, wanted, out)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// passTime returns how many passes the controller has made, and how long they took altogether.
func passTime(ctx context.Context, controllers *process) (passes, seconds float64, err error) {
	const controller = `controller="kafkauser-access"`
	passes, err = controllers.scrape(ctx, "controller_runtime_reconcile_time_seconds_count", controller)
	if err != nil {
		return 0, 0, err
	}
	seconds, err = controllers.scrape(ctx, "controller_runtime_reconcile_time_seconds_sum", controller)
	return passes, seconds, err
}

func (b *accessBench) measureNoChange(ctx context.Context, controllers *process, wanted func(...string) bool, out io.Writer) error {
	var passes, raws, ratios []float64
	for i := range noChangePasses {
		begin := time.Now()
		if _, err := b.kafka.describeRaw(ctx, nil); err != nil {
			return err
		}
		raw := milliseconds(time.Since(begin))
		before, spent, err := passTime(ctx, controllers)
		if err != nil {
			return err
		}
		// An annotation of the KafkaCluster asks for a pass over all users.
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/look":"`+strconv.Itoa(i)+`"}}}`))
		if err := b.client.Patch(ctx, b.cluster.DeepCopy(), patch); err != nil {
			return err
		}
		var after, sum float64
		err = controllers.until(ctx, "a pass", 50*time.Millisecond, time.Minute, func() (bool, error) {
			var err error
			after, sum, err = passTime(ctx, controllers)
			return after > before, err
		})
		if err != nil {
			return err
		}
		if after != before+1 {
			return fmt.Errorf("%.0f passes for one change of the KafkaCluster", after-before)
		}
		pass := (sum - spent) * 1000
		passes, raws, ratios = append(passes, pass), append(raws, raw), append(ratios, pass/raw)
		if err := b.rest(ctx, controllers, 0); err != nil {
			return err
		}
	}
	if wanted(noChange) {
		fmt.Fprintln(out, line(noChange, "ms", median(passes), median(raws), median(ratios), 3, median(ratios) <= 3))
	}
	memory, err := controllers.scrape(ctx, "process_resident_memory_bytes")
	if err != nil {
		return err
	}
	if wanted(noChangeMemory) {
		fmt.Fprintln(out, bounded(noChangeMemory, "MiB", memory/(1<<20), accessMemoryBound))
	}
	return nil
}

func (b *accessBench) measureChanges(ctx context.Context, controllers *process, wanted func(...string) bool, out io.Writer) error {
	var took []time.Duration
	for i := range min(changes, len(b.users)) {
		one, err := b.change(ctx, b.users[i*len(b.users)/changes%len(b.users)])
		if err != nil {
			return err
		}
		took = append(took, one)
		if err := controllers.alive(); err != nil {
			return err
		}
		select { // until what the change brought along, such as the ledger's judgement, is over
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(400 * time.Millisecond):
		}
	}
	for _, q := range []struct {
		name        string
		part, bound float64
	}{{oneChangeP50, 0.5, changeMedian}, {oneChangeP99, 0.99, changeP99}} {
		if wanted(q.name) {
			fmt.Fprintln(out, bounded(q.name, "ms", quantile(took, q.part)/1000, q.bound))
		}
	}
	return nil
}

// change gives a KafkaUser the granted topic in place of another, and returns how long it takes from the API server's
// answer to the first success of a client that was refused before.
func (b *accessBench) change(ctx context.Context, user *v1alpha1.KafkaUser) (time.Duration, error) {
	user = user.DeepCopy()
	if err := b.client.Get(ctx, client.ObjectKeyFromObject(user), user); err != nil {
		return 0, err
	}
	identity, err := b.kafka.identity(b.session, principal.UserSubject{Namespace: user.Namespace, Name: user.Name, Organization: "signet"})
	if err != nil {
		return 0, err
	}
	connection, err := kgo.NewClient(kgo.SeedBrokers(b.kafka.Address), kgo.DialTLSConfig(identity))
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	if sees, err := seesGranted(ctx, connection); err != nil || sees {
		return 0, errors.Join(err, fmt.Errorf("kafkauser %s/%s sees the topic, or nothing, before it is granted", user.Namespace, user.Name))
	}
	user.Spec.Consume[1] = grantedTopic
	if err := b.client.Update(ctx, user); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = b.kafka.until(ctx, "a changed KafkaUser", 2*time.Millisecond, func() (bool, error) { return seesGranted(ctx, connection) })
	return time.Since(begin), err
}

// seesGranted tells whether a client may describe the granted topic.
func seesGranted(ctx context.Context, connection *kgo.Client) (bool, error) {
	request, name := kmsg.NewPtrMetadataRequest(), grantedTopic
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	response, err := request.RequestWith(ctx, connection)
	if err != nil {
		return false, err
	}
	if len(response.Topics) != 1 {
		return false, fmt.Errorf("%d topics in the answer", len(response.Topics))
	}
	err = kerr.ErrorForCode(response.Topics[0].ErrorCode)
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return false, nil
	}
	return err == nil, err
}
