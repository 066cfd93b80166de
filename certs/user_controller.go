// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/clientconfig"
	"github.com/signet-kafka/signet/internal/condition"
	"github.com/signet-kafka/signet/principal"
)

// usersAtOnce is how many KafkaUsers are looked after at once: what takes the time is the API server's answers, about eight
// for a new KafkaUser.
const usersAtOnce = 8

const fieldOwner = client.FieldOwner("signet-certs")

// UserController keeps, for each KafkaUser, its cert-manager Certificate (unless only the kubelet may have the key), its
// client ConfigMap and its trust bundle, and of its status the condition CertificateReady, certificate, delivery and
// signerName.
type UserController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server, to tell an object that is not there from one that the cache leaves out.
	Live client.Reader
	// Named tells of changes of the listeners' serverCAs.
	Named *Named
	// Authorities says whom to trust.
	Authorities *Authorities
	// PodCertificates tells whether the API server serves podcertificaterequests of certificates.k8s.io/v1. If so, the
	// controller watches Nodes; give their cache OnlyKubeletVersion.
	PodCertificates bool
	// Recorder takes an event for each change of the condition.
	Recorder events.EventRecorder
	// Now is the clock.
	Now func() time.Time

	kubelets kubelets
}

// SetupWithManager registers the controller.
func (r *UserController) SetupWithManager(mgr ctrl.Manager) error {
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	b := ctrl.NewControllerManagedBy(mgr).Named("kafkauser-certificate")
	if r.PodCertificates {
		// All nodes are known before the first user is looked at.
		b.Watches(&corev1.Node{}, r.nodeHandler())
	}
	return b.
		For(&v1alpha1.KafkaUser{}, changed).
		Owns(&cmv1.Certificate{}).
		Owns(&corev1.ConfigMap{}).
		Watches(&cmv1.CertificateRequest{}, handler.EnqueueRequestsFromMapFunc(userOfRequest)).
		Watches(&v1alpha1.KafkaCluster{}, handler.EnqueueRequestsFromMapFunc(r.usersOfCluster), changed).
		Watches(&v1alpha1.MeshIssuer{}, handler.EnqueueRequestsFromMapFunc(r.usersOfIssuer)).
		Watches(&cmv1.Issuer{}, handler.EnqueueRequestsFromMapFunc(r.usersOfStockIssuer("Issuer"))).
		Watches(&cmv1.ClusterIssuer{}, handler.EnqueueRequestsFromMapFunc(r.usersOfStockIssuer("ClusterIssuer"))).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.usersOfNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesRawSource(r.Named.Source(r.usersOfSource)).
		WatchesRawSource(r.Authorities.TrustSource(func(ctx context.Context, issuers map[string]bool) []reconcile.Request {
			return r.usersOfIssuers(ctx, issuers, nil)
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: usersAtOnce}).
		Complete(r)
}

// Reconcile brings one KafkaUser's objects and condition up to date.
func (r *UserController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var user v1alpha1.KafkaUser
	if err := r.Client.Get(ctx, req.NamespacedName, &user); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !user.DeletionTimestamp.IsZero() {
		// The garbage collector takes what it owns once the finalizer is gone, which waits for Kafka. Renewals end now.
		return ctrl.Result{}, r.removeCertificate(ctx, &user)
	}
	facts, err := r.facts(ctx, &user)
	if err != nil {
		return ctrl.Result{}, err
	}
	var transient error
	if facts.Cluster != nil && facts.Admitted {
		transient = r.carryOut(ctx, &facts)
	} else {
		transient = r.withdraw(ctx, &user)
		facts.Certificate, facts.Current, facts.Next = nil, nil, nil
	}
	if transient != nil {
		return ctrl.Result{}, fmt.Errorf("kafkauser %s: %w", req, transient)
	}
	return ctrl.Result{}, client.IgnoreNotFound(r.report(ctx, &user, facts))
}

// carryOut makes what the user of a cluster that admits it is to have, and removes what it is not to have, whatever stands in
// the way of the former. What an administrator has to do something about goes into the facts; the error is worth a retry.
func (r *UserController) carryOut(ctx context.Context, f *UserFacts) error {
	if f.certificateUnwanted() {
		if err := r.removeCertificate(ctx, f.User); err != nil {
			return err
		}
	}
	if f.Issuer == nil {
		return nil
	}
	err := r.write(ctx, f)
	if err != nil && blockedReason(err) == v1alpha1.ReasonPending {
		return err
	}
	f.Err, f.Rendered = err, f.Rendered || err == nil
	return nil
}

// facts reads what the user's certificate depends on. Its error is worth a retry.
func (r *UserController) facts(ctx context.Context, user *v1alpha1.KafkaUser) (UserFacts, error) {
	f := UserFacts{User: user}
	var cluster v1alpha1.KafkaCluster
	ref := user.Spec.ClusterRef.In(user.Namespace)
	found, err := lookup(ctx, r.Client, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &cluster)
	if err != nil || !found {
		return f, err
	}
	var namespace corev1.Namespace
	if err := r.Client.Get(ctx, client.ObjectKey{Name: user.Namespace}, &namespace); err != nil {
		return f, fmt.Errorf("read the namespace of kafkauser %s/%s: %w", user.Namespace, user.Name, err)
	}
	f.Cluster = &cluster
	// A malformed selector admits nobody.
	f.Admitted, _ = cluster.Admits(namespace.Labels)
	if f.Issuer, err = r.issuer(ctx, user.Issuer(&cluster), user.Namespace); err != nil {
		return f, err
	} else if f.Issuer != nil {
		f.Delivery = Deliver(user, *f.Issuer, r.kubelets.platform(r.PodCertificates))
	}
	f.Rendered = true
	for _, name := range []string{v1alpha1.ClientConfigName(user.Name), v1alpha1.TrustBundleName(user.Name)} {
		var configMap corev1.ConfigMap
		if found, err = lookup(ctx, r.Client, client.ObjectKey{Namespace: user.Namespace, Name: name}, &configMap); err != nil {
			return f, err
		}
		f.Rendered = f.Rendered && found && metav1.IsControlledBy(&configMap, user)
	}
	var certificate cmv1.Certificate
	key := client.ObjectKey{Namespace: user.Namespace, Name: v1alpha1.CertificateName(user.Name)}
	if found, err = lookup(ctx, r.Client, key, &certificate); err != nil || !found || !metav1.IsControlledBy(&certificate, user) {
		return f, err
	}
	f.Certificate = &certificate
	revision := 0
	if certificate.Status.Revision != nil {
		revision = *certificate.Status.Revision
	}
	f.Current, err = r.request(ctx, &certificate, revision)
	if err != nil {
		return f, err
	}
	f.Next, err = r.request(ctx, &certificate, revision+1)
	return f, err
}

// issuer reads the issuer of users in a namespace; nil where it does not exist.
func (r *UserController) issuer(ctx context.Context, ref v1alpha1.IssuerReference, namespace string) (*Issuer, error) {
	var found bool
	var err error
	var out Issuer
	switch ref.Kind {
	case "Issuer":
		var issuer cmv1.Issuer
		found, err = lookup(ctx, r.Client, client.ObjectKey{Namespace: namespace, Name: ref.Name}, &issuer)
		out = FromStockIssuer(ref, issuer.Status.Conditions)
	case "ClusterIssuer":
		var issuer cmv1.ClusterIssuer
		found, err = lookup(ctx, r.Client, client.ObjectKey{Name: ref.Name}, &issuer)
		out = FromStockIssuer(ref, issuer.Status.Conditions)
	default:
		var issuer v1alpha1.MeshIssuer
		found, err = lookup(ctx, r.Client, client.ObjectKey{Name: ref.Name}, &issuer)
		out = FromMeshIssuer(&issuer)
	}
	if err != nil || !found {
		return nil, err
	}
	return &out, nil
}

func (r *UserController) request(ctx context.Context, certificate *cmv1.Certificate, revision int) (*cmv1.CertificateRequest, error) {
	var request cmv1.CertificateRequest
	key := client.ObjectKey{Namespace: certificate.Namespace, Name: RequestName(certificate.Name, revision)}
	found, err := lookup(ctx, r.Client, key, &request)
	if err != nil || !found || !metav1.IsControlledBy(&request, certificate) {
		return nil, err
	}
	return &request, nil
}

// write makes the objects that the user is to have, or none where one of them cannot be made. An error without a reason of
// its own (see blockedReason) is worth a retry.
func (r *UserController) write(ctx context.Context, f *UserFacts) error {
	spec, err := f.Issuer.Certificate(f.User, f.Cluster)
	if err != nil {
		return fmt.Errorf("%w: %w", errInvalid, err)
	}
	config := &corev1.ConfigMap{ObjectMeta: owned(f.User, v1alpha1.ClientConfigName(f.User.Name)), Data: map[string]string{}}
	bundle := &corev1.ConfigMap{ObjectMeta: owned(f.User, v1alpha1.TrustBundleName(f.User.Name)), Data: map[string]string{}}
	failed, err := r.render(ctx, f, config.Data, bundle.Data)
	if err != nil {
		return err
	}
	var writes []*corev1.ConfigMap
	for _, want := range []*corev1.ConfigMap{config, bundle} {
		var have corev1.ConfigMap
		exists, err := r.find(ctx, f.User, client.ObjectKeyFromObject(want), &have)
		if err != nil {
			return err
		}
		for _, file := range failed {
			if before, ok := have.Data[file]; ok {
				want.Data[file] = before
			}
		}
		// What is no longer wanted goes by the apply, unless somebody else put it there.
		if !exists || !maps.Equal(want.Data, have.Data) || !isSubset(want.Labels, have.Labels) {
			writes = append(writes, want)
		}
	}
	certificate := &cmv1.Certificate{ObjectMeta: owned(f.User, v1alpha1.CertificateName(f.User.Name)), Spec: spec}
	var have cmv1.Certificate
	var exists bool
	if !f.certificateUnwanted() {
		if exists, err = r.find(ctx, f.User, client.ObjectKeyFromObject(certificate), &have); err != nil {
			return err
		}
	}
	for _, want := range writes {
		want.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
		if _, err := applyObject(ctx, r.Client, want); err != nil {
			return err
		}
	}
	if f.certificateUnwanted() {
		return nil
	}
	if exists && DifferingField(have.Spec, spec) == "" && isSubset(certificate.Labels, have.Labels) {
		return nil
	}
	certificate.TypeMeta = metav1.TypeMeta{APIVersion: cmv1.SchemeGroupVersion.String(), Kind: "Certificate"}
	return applyCertificate(ctx, r.Client, certificate)
}

// render puts the content of the user's client ConfigMap and of its trust bundle into config and bundle, for each listener
// that it has files for. Where one other than that of its pods is at fault, the facts say so, and failed are the files
// that it would have.
func (r *UserController) render(ctx context.Context, f *UserFacts, config, bundle map[string]string) (failed []string, err error) {
	name, err := principal.ForUser(f.Cluster, f.User)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errInvalid, err)
	}
	listeners, err := ClientListeners(f.Cluster)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errInvalid, err)
	}
	for _, l := range listeners {
		files, trust, err := r.renderListener(ctx, f, name, l)
		trustFile := v1alpha1.FileForScope(v1alpha1.FileCA, l.FileScope)
		switch {
		case err == nil:
			maps.Copy(config, files)
			bundle[trustFile] = string(trust)
		case l.FileScope == "" || blockedReason(err) == v1alpha1.ReasonPending:
			return nil, err
		default:
			f.Others = cmp.Or(f.Others, err)
			failed = slices.Concat(failed, clientconfig.Files(l.FileScope), clientconfig.KeystoreFiles(l.FileScope, f.User.Keystores()), []string{trustFile})
		}
	}
	if l, ok := f.Cluster.MeshListener(); ok {
		files, err := configFiles(f, name, l, v1alpha1.ScopeMesh)
		if err != nil {
			f.Others = cmp.Or(f.Others, err)
			return append(failed, slices.Concat(clientconfig.Files(v1alpha1.ScopeMesh), []string{v1alpha1.KeyMeshBootstrapServers, v1alpha1.KeyMeshSecurityProtocol})...), nil
		}
		maps.Copy(config, files)
	}
	return failed, nil
}

// renderListener returns the files of a user with this principal for one listener, and whom to trust there.
func (r *UserController) renderListener(ctx context.Context, f *UserFacts, name string, l ScopedListener) (files map[string]string, trust []byte, err error) {
	if trust, err = r.Authorities.ServerTrust(ctx, f.Cluster, l.Listener); err != nil {
		return nil, nil, err
	}
	files, err = configFiles(f, name, l.Listener, l.FileScope)
	return files, trust, err
}

// configFiles returns the configuration of a user with this principal for one listener.
func configFiles(f *UserFacts, name string, l v1alpha1.Listener, scope v1alpha1.ListenerScope) (map[string]string, error) {
	c := clientconfig.Client{
		User: f.User.Name, Namespace: f.User.Namespace,
		Principal:        name,
		Cluster:          f.Cluster.Namespace + "/" + f.Cluster.Name,
		BootstrapServers: l.BootstrapServers,
		Authentication:   l.Authentication,
		Scope:            scope,
		Dir:              v1alpha1.MountRoot + "/" + f.User.Name,
	}
	if scope != v1alpha1.ScopeMesh {
		c.Keystores = f.User.Keystores()
	}
	files, err := clientconfig.Render(c)
	if err != nil {
		return nil, fmt.Errorf("%w: listener %s: %w", errInvalid, l.Name, err)
	}
	return files, nil
}

// applyCertificate applies the Certificate, and replaces its spec where others added fields to it: an apply alone leaves
// those, and the issuer signs only for a Certificate that is exactly what Signet makes.
func applyCertificate(ctx context.Context, writer client.Client, want *cmv1.Certificate) error {
	applied, err := applyObject(ctx, writer, want)
	if err != nil {
		return err
	}
	var have cmv1.Certificate
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, &have); err != nil {
		return fmt.Errorf("read back certificate %s: %w", want.Name, err)
	}
	field := DifferingField(have.Spec, want.Spec)
	if field == "" {
		return nil
	}
	ctrl.LoggerFrom(ctx).Info("certificate was changed by somebody else; restoring it", "certificate", client.ObjectKeyFromObject(want).String(), "field", field)
	have.Spec = want.Spec
	if err := writer.Update(ctx, &have, fieldOwner); err != nil {
		return fmt.Errorf("restore certificate %s: %w", want.Name, err)
	}
	return nil
}

// applyObject writes the object by server-side apply and returns it as it is then.
func applyObject(ctx context.Context, writer client.Client, object client.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", object.GetName(), err)
	}
	u := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	kind := strings.ToLower(u.GetKind())
	if err := writer.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), fieldOwner, client.ForceOwnership); err != nil {
		return nil, fmt.Errorf("apply %s %s/%s: %w", kind, object.GetNamespace(), object.GetName(), err)
	}
	return u, nil
}

// find reads an object that is the user's or does not exist; anything else of that name is a conflict, which is left
// alone. The cache may hold only objects with Signet's labels, so an absent one is looked up at the API server.
func (r *UserController) find(ctx context.Context, user *v1alpha1.KafkaUser, key client.ObjectKey, into client.Object) (bool, error) {
	found, err := lookup(ctx, r.Client, key, into)
	if err == nil && !found {
		found, err = lookup(ctx, r.Live, key, into)
	}
	if err != nil || !found {
		return false, err
	}
	if metav1.IsControlledBy(into, user) {
		return true, nil
	}
	gone := metav1.GetControllerOf(into)
	if gone != nil && gone.Kind == "KafkaUser" && gone.Name == user.Name {
		return false, fmt.Errorf("%T %s still belongs to a deleted kafkauser of the same name; waiting for the garbage collector", into, key)
	}
	return false, fmt.Errorf("%w: an object named %s exists in namespace %s and is not Signet's; delete or rename it", errConflict, key.Name, key.Namespace)
}

// withdraw deletes what was made for the user while it was entitled. The Secret with the last certificate stays, unless
// cert-manager runs with --enable-certificate-owner-ref: Signet has no permission on the Secrets of users. It expires,
// and without ACLs it opens nothing.
func (r *UserController) withdraw(ctx context.Context, user *v1alpha1.KafkaUser) error {
	if err := r.removeCertificate(ctx, user); err != nil {
		return err
	}
	for _, object := range []client.Object{
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.ClientConfigName(user.Name)}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.TrustBundleName(user.Name)}},
	} {
		if err := r.remove(ctx, user, object); err != nil {
			return err
		}
	}
	return nil
}

func (r *UserController) removeCertificate(ctx context.Context, user *v1alpha1.KafkaUser) error {
	return r.remove(ctx, user, &cmv1.Certificate{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.CertificateName(user.Name)}})
}

// remove deletes the object with the name of the given one, if it is the user's.
func (r *UserController) remove(ctx context.Context, user *v1alpha1.KafkaUser, object client.Object) error {
	name := object.GetName()
	found, err := lookup(ctx, r.Client, client.ObjectKey{Namespace: user.Namespace, Name: name}, object)
	if err != nil || !found || !metav1.IsControlledBy(object, user) {
		return err
	}
	uid := object.GetUID()
	if err := r.Client.Delete(ctx, object, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// report writes the condition, status.certificate and how the next pod gets its own, where they changed.
func (r *UserController) report(ctx context.Context, user *v1alpha1.KafkaUser, facts UserFacts) error {
	want, shown := Assess(facts, r.Now())
	existing := user.Status.Conditions
	if _, before := suspendedSince(user); want.Reason == v1alpha1.ReasonSuspended && !before {
		existing = nil // a transition, whatever was there
	}
	next, changed := condition.Next(existing, want)
	delivery := facts.Delivery
	if !changed && equality.Semantic.DeepEqual(user.Status.Certificate, shown) && user.Status.Delivery == delivery.By && user.Status.SignerName == delivery.SignerName {
		return nil
	}
	status := apply.KafkaUserStatus().WithConditions(next)
	if delivery.By != "" {
		status.WithDelivery(delivery.By)
	}
	if delivery.SignerName != "" {
		status.WithSignerName(delivery.SignerName)
	}
	if shown != nil {
		c := apply.CertificateStatus().WithSecret(shown.Secret).WithSerial(shown.Serial)
		if shown.NotAfter != nil {
			c.WithNotAfter(*shown.NotAfter)
		}
		if shown.RenewalTime != nil {
			c.WithRenewalTime(*shown.RenewalTime)
		}
		status.WithCertificate(c)
	}
	if err := r.Client.Status().Apply(ctx, apply.KafkaUser(user.Name, user.Namespace).WithStatus(status), fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("write %s of kafkauser %s/%s: %w", want.Type, user.Namespace, user.Name, err)
	}
	if changed && want.Reason != v1alpha1.ReasonPending {
		kind := corev1.EventTypeNormal
		if want.Status != metav1.ConditionTrue && want.Reason != v1alpha1.ReasonSuspended {
			kind = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(user, nil, kind, want.Reason, "Certificate", "%s", want.Message)
	}
	return nil
}

func userOfRequest(_ context.Context, object client.Object) []reconcile.Request {
	owner := metav1.GetControllerOf(object)
	if owner == nil || owner.Kind != "Certificate" {
		return nil
	}
	user, ok := strings.CutSuffix(owner.Name, v1alpha1.CertificateName(""))
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: object.GetNamespace(), Name: user}}}
}

func (r *UserController) usersOfCluster(ctx context.Context, object client.Object) []reconcile.Request {
	ref := v1alpha1.ClusterReference{Namespace: object.GetNamespace(), Name: object.GetName()}
	return r.users(ctx, "", func(u *v1alpha1.KafkaUser) bool { return u.Spec.ClusterRef.In(u.Namespace) == ref })
}

func (r *UserController) usersOfNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	return r.users(ctx, object.GetName(), func(*v1alpha1.KafkaUser) bool { return true })
}

func (r *UserController) usersOfIssuer(ctx context.Context, object client.Object) []reconcile.Request {
	return r.usersOfIssuers(ctx, map[string]bool{object.GetName(): true}, nil)
}

// usersOfSource returns the users whose trust bundle depends on a Secret or ConfigMap.
func (r *UserController) usersOfSource(ctx context.Context, ref Reference) []reconcile.Request {
	_, clusters, err := listReferrers(ctx, r.Client)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "find the users that a CA source concerns", "source", ref.String())
		return nil
	}
	byReference := map[v1alpha1.ClusterReference]bool{}
	for _, c := range Affected(ref, clusters) {
		byReference[v1alpha1.ClusterReference{Namespace: c.Namespace, Name: c.Name}] = true
	}
	return r.usersOfIssuers(ctx, nil, byReference)
}

// usersOfIssuers returns the users of these issuers, by their own reference or their cluster's, and of these clusters.
func (r *UserController) usersOfIssuers(ctx context.Context, issuers map[string]bool, clusters map[v1alpha1.ClusterReference]bool) []reconcile.Request {
	_, all, err := listReferrers(ctx, r.Client)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "find the users of an issuer")
		return nil
	}
	hit := map[v1alpha1.ClusterReference]bool{}
	for i := range all {
		ref := v1alpha1.ClusterReference{Namespace: all[i].Namespace, Name: all[i].Name}
		own := all[i].Spec.Certificates.IssuerRef
		hit[ref] = clusters[ref] || own.IsMeshIssuer() && issuers[own.Name]
	}
	return r.users(ctx, "", func(u *v1alpha1.KafkaUser) bool {
		if c := u.Spec.Certificate; c != nil && c.IssuerRef != nil && c.IssuerRef.IsMeshIssuer() && issuers[c.IssuerRef.Name] {
			return true
		}
		return hit[u.Spec.ClusterRef.In(u.Namespace)]
	})
}

// usersOfStockIssuer returns the users of an issuer of cert-manager's own: an Issuer's are in its namespace.
func (r *UserController) usersOfStockIssuer(kind string) handler.MapFunc {
	return func(ctx context.Context, object client.Object) []reconcile.Request {
		_, clusters, err := listReferrers(ctx, r.Client)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "find the users of an issuer", "kind", kind, "name", object.GetName())
			return nil
		}
		byReference := make(map[v1alpha1.ClusterReference]*v1alpha1.KafkaCluster, len(clusters))
		for i := range clusters {
			byReference[v1alpha1.ClusterReference{Namespace: clusters[i].Namespace, Name: clusters[i].Name}] = &clusters[i]
		}
		return r.users(ctx, object.GetNamespace(), func(u *v1alpha1.KafkaUser) bool {
			cluster := byReference[u.Spec.ClusterRef.In(u.Namespace)]
			if cluster == nil {
				return false
			}
			ref := u.Issuer(cluster)
			return ref.Kind == kind && ref.Name == object.GetName()
		})
	}
}

// nodeHandler takes note of kubelets, and has every user looked at again whose delivery may be another by that.
func (r *UserController) nodeHandler() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	enqueue := func(ctx context.Context, q queue, able, named bool) {
		if !able && !named {
			return
		}
		for _, request := range r.users(ctx, "", func(u *v1alpha1.KafkaUser) bool {
			return able || u.Spec.Certificate != nil && u.Spec.Certificate.Delivery == v1alpha1.DeliveryPodCertificate
		}) {
			q.Add(request)
		}
	}
	observe := func(ctx context.Context, object client.Object, q queue) {
		if node, ok := object.(*corev1.Node); ok {
			able, named := r.kubelets.observe(node.Name, node.Status.NodeInfo.KubeletVersion)
			enqueue(ctx, q, able, named)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { observe(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { observe(ctx, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			able, named := r.kubelets.forget(e.Object.GetName())
			enqueue(ctx, q, able, named)
		},
	}
}

func (r *UserController) users(ctx context.Context, namespace string, wanted func(*v1alpha1.KafkaUser) bool) []reconcile.Request {
	var users v1alpha1.KafkaUserList
	if err := r.Client.List(ctx, &users, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list kafkausers")
		return nil
	}
	var out []reconcile.Request
	for i := range users.Items {
		if wanted(&users.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&users.Items[i])})
		}
	}
	return out
}

func lookup(ctx context.Context, reader client.Reader, key client.ObjectKey, into client.Object, opts ...client.GetOption) (bool, error) {
	err := reader.Get(ctx, key, into, opts...)
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsNotFound(err):
		return false, nil
	}
	return false, fmt.Errorf("read %T %s: %w", into, key, err)
}

func owned(user *v1alpha1.KafkaUser, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       user.Namespace,
		Name:            name,
		Labels:          UserLabels(user.Name),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(user, v1alpha1.GroupVersion.WithKind("KafkaUser"))},
	}
}

func isSubset(want, have map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}
