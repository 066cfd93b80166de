// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	applymetav1 "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
)

// batchDelay gathers changes of many users into one judgement of a cluster's ledger: the judgement is linear in the
// ledger, and a thousand users are often created at once.
const batchDelay = 200 * time.Millisecond

// verdictsAtOnce bounds the concurrent writes of one judgement: what takes the time is the API server's answers.
const verdictsAtOnce = 16

// generationAnnotation carries the generation of the broker configuration on its ConfigMaps.
const generationAnnotation = v1alpha1.AnnotationPrefix + "generation"

// ClientTrust returns the certificates (PEM) that the brokers of a cluster must trust for clients.
type ClientTrust func(ctx context.Context, cluster *v1alpha1.KafkaCluster) ([]byte, error)

// Clusters judges the ledger of each KafkaCluster, writes the verdicts into the PrincipalMappings' status, and renders
// the broker ConfigMap. It keeps the KafkaCluster's condition BrokerConfigRendered, users, adminPrincipal and
// brokerConfig.
type Clusters struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server, to tell a ConfigMap that is not there from one that the cache leaves out.
	Live client.Reader
	// ClientTrust says whom brokers trust.
	ClientTrust ClientTrust
	// TrustReason gives the condition reason of an error of ClientTrust; "" of one that is worth a retry.
	TrustReason func(error) string
	// TrustChanges ask for a cluster when what ClientTrust says of it may have changed.
	TrustChanges []source.Source
	// Now is the clock.
	Now func() time.Time

	rendering rendering
}

// rendering remembers when the broker configuration of each cluster was last rendered, and how long that took: of a ledger
// with 10,000 KafkaUsers it is more than a megabyte, and while they come one after the other it would be made and written
// again for each few of them.
type rendering struct {
	mu   sync.Mutex
	last map[types.NamespacedName]rendered
}

type rendered struct {
	at   time.Time
	took time.Duration
}

// restFactor is how many times as long as the last rendering took a cluster is left alone: a tenth of the time goes into
// it. maxRest is the longest rest; until a kubelet brings a changed ConfigMap to a broker it takes longer than that.
const (
	restFactor = 9
	maxRest    = 10 * time.Second
)

// rest returns how long the rendering of a cluster has to wait.
func (r *rendering) rest(cluster types.NamespacedName, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last[cluster]
	return last.at.Add(min(restFactor*last.took, maxRest)).Sub(now)
}

func (r *rendering) done(cluster types.NamespacedName, begun, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[types.NamespacedName]rendered{}
	}
	r.last[cluster] = rendered{now, now.Sub(begun)}
}

// SetupWithManager registers the controller.
func (r *Clusters) SetupWithManager(mgr ctrl.Manager) error {
	clusterOfMapping := func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.(*v1alpha1.PrincipalMapping).Spec.Cluster}}}
	}
	clusterOfUser := func(_ context.Context, o client.Object) []reconcile.Request {
		ref := o.(*v1alpha1.KafkaUser).Spec.ClusterRef.In(o.GetNamespace())
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}}}
	}
	building := ctrl.NewControllerManagedBy(mgr).Named("kafkacluster-principal").
		For(&v1alpha1.KafkaCluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.ConfigMap{}).
		Watches(&v1alpha1.PrincipalMapping{}, batched(clusterOfMapping)).
		Watches(&v1alpha1.KafkaUser{}, batched(clusterOfUser), builder.WithPredicates(predicate.Funcs{UpdateFunc: ofTheLedger})).
		Watches(&v1alpha1.MeshIssuer{}, handler.EnqueueRequestsFromMapFunc(r.clustersOfIssuer))
	for _, changes := range r.TrustChanges {
		building.WatchesRawSource(changes)
	}
	return building.Complete(r)
}

// ofTheLedger tells whether a change of a KafkaUser is one that the brokers' configuration looks at: whether it is there,
// whose, and whether its denials count. What else it declares is in its PrincipalMapping, or none of the ledger's business.
func ofTheLedger(e event.UpdateEvent) bool {
	before, after := e.ObjectOld.(*v1alpha1.KafkaUser), e.ObjectNew.(*v1alpha1.KafkaUser)
	return before.UID != after.UID ||
		before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		before.Spec.ClusterRef.In(before.Namespace) != after.Spec.ClusterRef.In(after.Namespace) ||
		before.Spec.Enforcement != after.Spec.Enforcement
}

// batched enqueues after batchDelay; requests for one object in that time become one.
func batched(requests handler.MapFunc) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(ctx context.Context, o client.Object, q queue) {
		for _, request := range requests(ctx, o) {
			q.AddAfter(request, batchDelay)
		}
	}
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, e.Object, q) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q queue) { add(ctx, e.ObjectNew, q) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, e.Object, q) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { add(ctx, e.Object, q) },
	}
}

func (r *Clusters) clustersOfIssuer(ctx context.Context, o client.Object) []reconcile.Request {
	var clusters v1alpha1.KafkaClusterList
	if err := r.Client.List(ctx, &clusters); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list kafkaclusters", "meshissuer", o.GetName())
		return nil
	}
	var requests []reconcile.Request
	for _, c := range clusters.Items {
		if c.Spec.Certificates.IssuerRef.Name == o.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&c)})
		}
	}
	return requests
}

// Reconcile judges one cluster's ledger and renders its broker configuration.
func (r *Clusters) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var cluster v1alpha1.KafkaCluster
	if err := r.Client.Get(ctx, req.NamespacedName, &cluster); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !cluster.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	alive, err := r.usersOf(ctx, &cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	entries, asked, err := r.judge(ctx, &cluster, alive)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("judge ledger of kafkacluster %s: %w", req, err)
	}
	begun := r.Now()
	if rest := r.rendering.rest(req.NamespacedName, begun); rest > 0 {
		return ctrl.Result{RequeueAfter: rest}, nil
	}
	before := cluster.Status.BrokerConfigGeneration
	want, err := r.render(ctx, &cluster, entries, asked)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("render broker configuration of kafkacluster %s: %w", req, err)
	}
	r.rendering.done(req.NamespacedName, begun, r.Now())
	want.Type, want.ObservedGeneration, want.LastTransitionTime = v1alpha1.ConditionBrokerConfigRendered, cluster.Generation, metav1.NewTime(r.Now())
	next, changed := condition.Next(cluster.Status.Conditions, want)
	users, admin, config := int32(min(len(alive), 1<<30)), ForAdmin(&cluster), v1alpha1.BrokerConfigName(cluster.Name)
	generation := cluster.Status.BrokerConfigGeneration
	if !changed && before == generation && cluster.Status.Users == users && cluster.Status.AdminPrincipal == admin && cluster.Status.BrokerConfig == config {
		return ctrl.Result{}, nil
	}
	status := apply.KafkaClusterStatus().WithUsers(users).WithBrokerConfig(config).WithBrokerConfigGeneration(generation).WithConditions(next)
	// What a token says is read, and written, by whoever has the token.
	if sasl := cluster.Spec.Admin.SASL; sasl == nil || sasl.Mechanism.IsSCRAM() {
		status.WithAdminPrincipal(admin)
	}
	if err := r.Client.Status().Apply(ctx, apply.KafkaCluster(cluster.Name, cluster.Namespace).WithStatus(status), fieldOwner, client.ForceOwnership); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("write status of kafkacluster %s: %w", req, err)
	}
	return ctrl.Result{}, nil
}

// usersOf returns the KafkaUsers that refer to the cluster and are not being deleted, with what they ask of the brokers'
// authorizer.
func (r *Clusters) usersOf(ctx context.Context, cluster *v1alpha1.KafkaCluster) (map[types.NamespacedName]v1alpha1.Enforcement, error) {
	var users v1alpha1.KafkaUserList
	if err := r.Client.List(ctx, &users, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list kafkausers: %w", err)
	}
	alive := map[types.NamespacedName]v1alpha1.Enforcement{}
	for i := range users.Items {
		u := &users.Items[i]
		if u.DeletionTimestamp.IsZero() && u.Spec.ClusterRef.In(u.Namespace) == (v1alpha1.ClusterReference{Name: cluster.Name, Namespace: cluster.Namespace}) {
			alive[client.ObjectKeyFromObject(u)] = u.Spec.Enforcement
		}
	}
	return alive, nil
}

// judge writes the verdicts that changed and returns every subject in force, and what the KafkaUsers ask whose principals
// are. The mappings are the cache's own and must not be changed.
func (r *Clusters) judge(ctx context.Context, cluster *v1alpha1.KafkaCluster, alive map[types.NamespacedName]v1alpha1.Enforcement) ([]Entry, []Asked, error) {
	var list v1alpha1.PrincipalMappingList
	if err := r.Client.List(ctx, &list, client.InNamespace(cluster.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list principalmappings: %w", err)
	}
	mappings := slices.DeleteFunc(list.Items, func(m v1alpha1.PrincipalMapping) bool { return m.Spec.Cluster != cluster.Name })
	namespaces, err := r.namespaceUIDs(ctx)
	if err != nil {
		return nil, nil, err
	}
	// A KafkaUser of the same name in a namespace that was deleted and made anew is another one.
	verdicts := Judge(cluster, mappings, func(o v1alpha1.MappingOwner) bool {
		_, there := alive[types.NamespacedName{Namespace: o.Namespace, Name: o.Name}]
		return there && namespaces[o.Namespace] == o.NamespaceUID
	})
	var entries []Entry
	var patches []*apply.PrincipalMappingApplyConfiguration
	var asked []Asked
	for i := range mappings {
		v := verdicts[mappings[i].Name]
		entries = append(entries, v.Entries...)
		if owner := mappings[i].Spec.Owner; owner != nil && v.Reason == v1alpha1.ReasonReady {
			asked = append(asked, Asked{mappings[i].Spec.Principal, alive[types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}]})
		}
		if patch := verdictPatch(&mappings[i], v, metav1.NewTime(r.Now())); patch != nil {
			patches = append(patches, patch)
		}
	}
	return entries, asked, r.writeVerdicts(ctx, patches)
}

func (r *Clusters) namespaceUIDs(ctx context.Context) (map[string]types.UID, error) {
	var list corev1.NamespaceList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	uids := make(map[string]types.UID, len(list.Items))
	for i := range list.Items {
		uids[list.Items[i].Name] = list.Items[i].UID
	}
	return uids, nil
}

// verdictPatch is what to apply to the status of a mapping of which the ledger decided this; nil where it says so already.
func verdictPatch(m *v1alpha1.PrincipalMapping, v Verdict, now metav1.Time) *apply.PrincipalMappingApplyConfiguration {
	status := metav1.ConditionFalse
	if v.Reason == v1alpha1.ReasonReady {
		status = metav1.ConditionTrue
	}
	next, changed := condition.Next(m.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: status, Reason: v.Reason, Message: v.Message,
		ObservedGeneration: m.Generation, LastTransitionTime: now,
	})
	effective := int32(min(len(v.Entries), 1<<30))
	if !changed && m.Status.Effective == effective && slices.Equal(m.Status.PendingSubjects, v.Pending) {
		return nil
	}
	return apply.PrincipalMapping(m.Name, m.Namespace).WithStatus(apply.PrincipalMappingStatus().
		WithEffective(effective).WithPendingSubjects(v.Pending...).WithConditions(next))
}

// writeVerdicts writes a few at a time. One that cannot be written does not hold up the others.
func (r *Clusters) writeVerdicts(ctx context.Context, patches []*apply.PrincipalMappingApplyConfiguration) error {
	failed := make([]error, len(patches))
	var writers sync.WaitGroup
	places := make(chan struct{}, verdictsAtOnce)
	for i, patch := range patches {
		places <- struct{}{}
		writers.Go(func() {
			defer func() { <-places }()
			if err := r.Client.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); client.IgnoreNotFound(err) != nil {
				failed[i] = fmt.Errorf("write status of principalmapping %s/%s: %w", *patch.Namespace, *patch.Name, err)
			}
		})
	}
	writers.Wait()
	return errors.Join(failed...)
}

// render writes the broker ConfigMaps where their content changed, and sets the generation in the cluster's status. Where the client CA cannot be had, the last one stays.
func (r *Clusters) render(ctx context.Context, cluster *v1alpha1.KafkaCluster, entries []Entry, asked []Asked) (metav1.Condition, error) {
	no := func(reason string, err error) (metav1.Condition, error) {
		return metav1.Condition{Status: metav1.ConditionFalse, Reason: reason, Message: err.Error()}, nil
	}
	trust, err := r.ClientTrust(ctx, cluster)
	if err != nil {
		if reason := r.TrustReason(err); reason != "" {
			return no(reason, err)
		}
		return metav1.Condition{}, err
	}
	generation := max(cluster.Status.BrokerConfigGeneration, 1)
	config, err := RenderBrokerConfig(cluster, trust, entries, asked, generation)
	if err != nil {
		return no(v1alpha1.ReasonInvalid, err)
	}
	changed, err := r.brokerConfigChanged(ctx, cluster, config)
	var foreign *foreignConfigMap
	if errors.As(err, &foreign) {
		return no(v1alpha1.ReasonConflict, err)
	} else if err != nil {
		return metav1.Condition{}, err
	}
	if changed && cluster.Status.BrokerConfigGeneration > 0 {
		generation++
		if config, err = RenderBrokerConfig(cluster, trust, entries, asked, generation); err != nil {
			return no(v1alpha1.ReasonInvalid, err)
		}
	}
	if changed {
		if err := r.applyBrokerConfig(ctx, cluster, config, generation); apierrors.IsNotFound(err) {
			return no(v1alpha1.ReasonPending, errors.New("the namespace is going"))
		} else if err != nil {
			return metav1.Condition{}, err
		}
	}
	cluster.Status.BrokerConfigGeneration = generation
	yes := metav1.Condition{Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: fmt.Sprintf("ConfigMap %s, generation %d", v1alpha1.BrokerConfigName(cluster.Name), generation)}
	if len(config.Shards) > 0 {
		yes.Message += fmt.Sprintf("; mount ConfigMaps %s to %s beside it", v1alpha1.BrokerShardName(cluster.Name, 1), v1alpha1.BrokerShardName(cluster.Name, len(config.Shards)))
	}
	if a := cluster.Spec.Authorization; a != nil {
		enforced, audited := Authorization(a, asked)
		switch a.Mode {
		case v1alpha1.AuthorizationHybrid:
			yes.Message += fmt.Sprintf("; of all principals, %d are enforced", len(enforced))
		case v1alpha1.AuthorizationEnforce:
			yes.Message += fmt.Sprintf("; all principals are enforced but %d", len(audited))
		default:
			yes.Message += "; no principal is enforced"
		}
	}
	if len(config.Skipped) > 0 {
		yes.Message += fmt.Sprintf("; %d subjects cannot be told to a stock broker and are in mapping.json only, such as %s", len(config.Skipped), config.Skipped[0])
	}
	return yes, nil
}

// foreignConfigMap says that a name is taken by an object that is not the cluster's.
type foreignConfigMap struct{ key types.NamespacedName }

func (e *foreignConfigMap) Error() string {
	return fmt.Sprintf("configmap %s exists and is not this KafkaCluster's: delete or rename it", e.key)
}

// brokerConfigMaps are the names and data of the ConfigMaps of a broker configuration.
func brokerConfigMaps(cluster *v1alpha1.KafkaCluster, config BrokerConfig) map[string]map[string]string {
	maps := map[string]map[string]string{v1alpha1.BrokerConfigName(cluster.Name): config.Data}
	for i, shard := range config.Shards {
		maps[v1alpha1.BrokerShardName(cluster.Name, i+1)] = shard
	}
	return maps
}

// brokerConfigChanged tells whether any ConfigMap differs from what is rendered. It errs with a *foreignConfigMap.
func (r *Clusters) brokerConfigChanged(ctx context.Context, cluster *v1alpha1.KafkaCluster, config BrokerConfig) (bool, error) {
	changed := false
	for name, data := range brokerConfigMaps(cluster, config) {
		key := types.NamespacedName{Namespace: cluster.Namespace, Name: name}
		var existing corev1.ConfigMap
		err := r.Client.Get(ctx, key, &existing)
		if apierrors.IsNotFound(err) {
			err = r.Live.Get(ctx, key, &existing)
		}
		switch {
		case apierrors.IsNotFound(err):
			changed = true
		case err != nil:
			return false, fmt.Errorf("read configmap %s: %w", key, err)
		case !metav1.IsControlledBy(&existing, cluster):
			return false, &foreignConfigMap{key}
		case !maps.Equal(existing.Data, data):
			changed = true
		}
	}
	return changed, nil
}

// applyBrokerConfig writes the shards first, for the file that names them comes into force with its last one.
func (r *Clusters) applyBrokerConfig(ctx context.Context, cluster *v1alpha1.KafkaCluster, config BrokerConfig, generation int64) error {
	all := brokerConfigMaps(cluster, config)
	main := v1alpha1.BrokerConfigName(cluster.Name)
	names := append(slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(name string) bool { return name == main }), main)
	for _, name := range names {
		patch := applycorev1.ConfigMap(name, cluster.Namespace).
			WithLabels(map[string]string{"app.kubernetes.io/managed-by": "signet"}).
			WithAnnotations(map[string]string{generationAnnotation: strconv.FormatInt(generation, 10)}).
			WithOwnerReferences(applymetav1.OwnerReference().
				WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("KafkaCluster").
				WithName(cluster.Name).WithUID(cluster.UID).WithController(true).WithBlockOwnerDeletion(true)).
			WithData(all[name])
		if err := r.Client.Apply(ctx, patch, fieldOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("apply configmap %s/%s: %w", cluster.Namespace, name, err)
		}
	}
	return nil
}
