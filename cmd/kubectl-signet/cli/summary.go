// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/readiness"
)

// Cluster is what status saw of a Kubernetes cluster.
type Cluster struct {
	// Now is when.
	Now time.Time
	// SignetNamespace is where Signet should be installed; empty where the caller may not see its Deployments.
	SignetNamespace string
	// Deployments are Signet's own.
	Deployments []appsv1.Deployment
	// Issuers, Clusters, Users and Topics are the declarations.
	Issuers  []v1alpha1.MeshIssuer
	Clusters []v1alpha1.KafkaCluster
	Users    []v1alpha1.KafkaUser
	Topics   []v1alpha1.KafkaTopic
	// Pods of the namespaces of Users; nil where the caller may not see them.
	Pods []corev1.Pod
	// Notes name what the caller may not see.
	Notes []string
}

// Report is what status prints.
type Report struct {
	// Ready is true where nothing that was seen is not ready.
	Ready bool `json:"ready"`
	// Signet are Signet's own Deployments.
	Signet []Entry `json:"signet"`
	// MeshIssuers, KafkaClusters, KafkaUsers and KafkaTopics are ordered by namespace and name.
	MeshIssuers   []Entry `json:"meshIssuers"`
	KafkaClusters []Entry `json:"kafkaClusters"`
	KafkaUsers    []Entry `json:"kafkaUsers"`
	KafkaTopics   []Entry `json:"kafkaTopics"`
	// Pods are those that ask for a KafkaUser in vain.
	Pods []Entry `json:"pods"`
	// Notes name what the caller may not see.
	Notes []string `json:"notes,omitempty"`
}

// Entry is one object of a Report. Which of the facts it has depends on its kind.
type Entry struct {
	// Namespace is empty for what has none.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name"`
	// Ready is true where there is no problem.
	Ready bool `json:"ready"`
	// Problems say what is missing, the cause first.
	Problems []Problem `json:"problems,omitempty"`

	// Replicas is ready/desired, of a Deployment.
	Replicas string `json:"replicas,omitempty"`
	// CA is the subject of a MeshIssuer's CA.
	CA string `json:"ca,omitempty"`
	// Rotation is the phase of a MeshIssuer's change of CA, RotationMessage what that waits for.
	Rotation        v1alpha1.RotationPhase `json:"rotation,omitempty"`
	RotationMessage string                 `json:"rotationMessage,omitempty"`
	// NotAfter is when a KafkaUser's certificate or a MeshIssuer's CA expires.
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
	// RenewalTime is when a KafkaUser's certificate is renewed.
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`
	// Principal of a KafkaUser; of a KafkaCluster, Signet's own.
	Principal string `json:"principal,omitempty"`
	// Delivery is how the next pod of a KafkaUser gets its key and certificate.
	Delivery v1alpha1.Delivery `json:"delivery,omitempty"`
	// Suspended is true for a KafkaUser whose rights are taken away for the time being.
	Suspended bool `json:"suspended,omitempty"`
	// Cluster of a KafkaUser or KafkaTopic, namespace/name.
	Cluster string `json:"cluster,omitempty"`
	// Issuer of a KafkaCluster.
	Issuer string `json:"issuer,omitempty"`
	// Topic of a KafkaTopic, as Kafka calls it.
	Topic string `json:"topic,omitempty"`
	// ACLs of a KafkaUser, Users and Brokers of a KafkaCluster, Partitions of a KafkaTopic.
	ACLs       *int32 `json:"acls,omitempty"`
	Users      *int32 `json:"users,omitempty"`
	Brokers    *int32 `json:"brokers,omitempty"`
	Partitions *int32 `json:"partitions,omitempty"`
	// Pods is ready/all of the pods that ask for a KafkaUser; none where they cannot be seen.
	Pods string `json:"pods,omitempty"`
}

// Problem is one thing that keeps an object from being ready.
type Problem struct {
	// Condition is the condition that is not True, or what else was looked at.
	Condition string `json:"condition"`
	// Reason is one of package v1alpha1, or Expired, Unavailable, Missing.
	Reason string `json:"reason"`
	// Message is for people.
	Message string `json:"message"`
}

// Summarize judges everything that was seen.
func Summarize(c Cluster) Report {
	r := Report{
		Signet:        entries(c.Deployments, deploymentEntry),
		MeshIssuers:   entries(c.Issuers, func(i *v1alpha1.MeshIssuer) Entry { return issuerEntry(i, c.Now) }),
		KafkaClusters: entries(c.Clusters, clusterEntry),
		KafkaUsers:    entries(c.Users, func(u *v1alpha1.KafkaUser) Entry { return userEntry(u, c.Pods, c.Now) }),
		KafkaTopics:   entries(c.Topics, topicEntry),
		Pods:          strandedPods(c),
		Notes:         c.Notes,
		Ready:         true,
	}
	if c.SignetNamespace != "" && len(c.Deployments) == 0 {
		r.Signet = []Entry{{Namespace: c.SignetNamespace, Name: "signet", Problems: []Problem{{Condition: "Available", Reason: "Missing", Message: "this namespace has no Deployment of Signet; name the right one with --signet-namespace"}}}}
	}
	for _, section := range [][]Entry{r.Signet, r.MeshIssuers, r.KafkaClusters, r.KafkaUsers, r.KafkaTopics, r.Pods} {
		for i := range section {
			section[i].Ready = len(section[i].Problems) == 0
			r.Ready = r.Ready && section[i].Ready
		}
	}
	return r
}

func entries[T any](objects []T, entry func(*T) Entry) []Entry {
	found := make([]Entry, len(objects))
	for i := range objects {
		found[i] = entry(&objects[i])
	}
	slices.SortFunc(found, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return found
}

func deploymentEntry(d *appsv1.Deployment) Entry {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	e := Entry{Namespace: d.Namespace, Name: d.Name, Replicas: fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, want)}
	if d.Status.ReadyReplicas < want || want == 0 {
		e.Problems = []Problem{{Condition: "Available", Reason: "Unavailable", Message: fmt.Sprintf("%d of %d replicas are ready", d.Status.ReadyReplicas, want)}}
	}
	return e
}

func issuerEntry(i *v1alpha1.MeshIssuer, now time.Time) Entry {
	e := Entry{Name: i.Name, Problems: problems(i, i.Status.Conditions, nil)}
	if ca := i.Status.CA; ca != nil {
		e.CA, e.NotAfter = ca.Subject, ca.NotAfter
		e.Problems = append(e.Problems, expiry("the CA", ca.NotAfter, now)...)
	}
	if r := i.Status.Rotation; r != nil {
		e.Rotation, e.RotationMessage = r.Phase, r.Message
	}
	return e
}

func clusterEntry(c *v1alpha1.KafkaCluster) Entry {
	return Entry{
		Namespace: c.Namespace, Name: c.Name,
		Problems:  problems(c, c.Status.Conditions, readiness.ClusterParts),
		Principal: c.Status.AdminPrincipal,
		Issuer:    c.Spec.Certificates.IssuerRef.Name,
		Users:     &c.Status.Users,
		Brokers:   &c.Status.Brokers,
	}
}

func userEntry(u *v1alpha1.KafkaUser, pods []corev1.Pod, now time.Time) Entry {
	e := Entry{
		Namespace: u.Namespace, Name: u.Name,
		Problems:  problems(u, u.Status.Conditions, readiness.UserParts),
		Principal: u.Status.Principal,
		Cluster:   u.Spec.ClusterRef.In(u.Namespace).String(),
		ACLs:      u.Status.ACLs,
		Delivery:  u.Status.Delivery,
		Suspended: u.Spec.Suspend,
	}
	if ready := meta.FindStatusCondition(u.Status.Conditions, v1alpha1.ConditionReady); e.Suspended && ready != nil && ready.Reason == v1alpha1.ReasonSuspended && u.DeletionTimestamp == nil {
		// Ready says until when certificates still open connections; what the parts say follows from the suspension.
		e.Problems = problem(u, u.Status.Conditions, v1alpha1.ConditionReady)
	}
	if cert := u.Status.Certificate; cert != nil {
		e.NotAfter, e.RenewalTime = cert.NotAfter, cert.RenewalTime
		e.Problems = append(e.Problems, expiry("the certificate", cert.NotAfter, now)...)
	}
	if pods != nil {
		ready, all := 0, 0
		for i := range pods {
			if pods[i].Namespace != u.Namespace || !slices.Contains(usersOf(&pods[i]), u.Name) {
				continue
			}
			all++
			if podReady(&pods[i]) {
				ready++
			}
		}
		e.Pods = fmt.Sprintf("%d/%d", ready, all)
	}
	return e
}

func topicEntry(t *v1alpha1.KafkaTopic) Entry {
	return Entry{
		Namespace: t.Namespace, Name: t.Name,
		Problems:   problems(t, t.Status.Conditions, nil),
		Cluster:    t.Spec.ClusterRef.In(t.Namespace).String(),
		Topic:      cmp.Or(t.Spec.Topic, t.Name),
		Partitions: &t.Spec.Partitions,
	}
}

// problems are the conditions that are not True at the object's generation: the parts, and where nothing is wrong with
// them Ready itself.
func problems(o metav1.Object, conditions []metav1.Condition, parts []string) []Problem {
	if o.GetDeletionTimestamp() != nil {
		message := "is being deleted"
		if finalizers := o.GetFinalizers(); len(finalizers) > 0 {
			message += "; waits for " + strings.Join(finalizers, ", ")
		}
		return []Problem{{Condition: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonPending, Message: message}}
	}
	if len(conditions) == 0 {
		return []Problem{{Condition: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonPending, Message: "the controller has not looked at it yet"}}
	}
	var found []Problem
	for _, part := range parts {
		found = append(found, problem(o, conditions, part)...)
	}
	if len(found) == 0 {
		found = problem(o, conditions, v1alpha1.ConditionReady)
	}
	// What is merely pending usually waits for what is wrong.
	slices.SortStableFunc(found, func(a, b Problem) int {
		return cmp.Compare(pending(a), pending(b))
	})
	return found
}

func pending(p Problem) int {
	if p.Reason == v1alpha1.ReasonPending {
		return 1
	}
	return 0
}

func problem(o metav1.Object, conditions []metav1.Condition, conditionType string) []Problem {
	c := meta.FindStatusCondition(conditions, conditionType)
	switch {
	case c == nil:
		return []Problem{{Condition: conditionType, Reason: v1alpha1.ReasonPending, Message: "not decided yet"}}
	case c.ObservedGeneration != o.GetGeneration():
		return []Problem{{Condition: conditionType, Reason: v1alpha1.ReasonPending, Message: "the controller has not seen the latest change yet"}}
	case c.Status != metav1.ConditionTrue:
		return []Problem{{Condition: c.Type, Reason: c.Reason, Message: c.Message}}
	default:
		return nil
	}
}

func expiry(what string, notAfter *metav1.Time, now time.Time) []Problem {
	if notAfter == nil || now.Before(notAfter.Time) {
		return nil
	}
	return []Problem{{Condition: "Certificate", Reason: "Expired", Message: fmt.Sprintf("%s expired %s ago", what, duration.HumanDuration(now.Sub(notAfter.Time)))}}
}

// usersOf are the KafkaUsers that a pod asks for; none where it opted out or has finished.
func usersOf(pod *corev1.Pod) []string {
	if pod.Annotations[v1alpha1.AnnotationInject] == "false" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	var users []string
	for user := range strings.SplitSeq(pod.Annotations[v1alpha1.AnnotationUser], ",") {
		if user = strings.TrimSpace(user); user != "" {
			users = append(users, user)
		}
	}
	return users
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// strandedPods are those that ask for a KafkaUser that does not exist, or that were created without its files.
func strandedPods(c Cluster) []Entry {
	exists := map[string]bool{}
	for _, u := range c.Users {
		exists[u.Namespace+"/"+u.Name] = true
	}
	var stranded []corev1.Pod
	why := map[string][]Problem{}
	for i := range c.Pods {
		pod := &c.Pods[i]
		var found []Problem
		for _, user := range usersOf(pod) {
			switch {
			case !mounts(pod, user):
				found = append(found, Problem{Condition: "Files", Reason: "Missing", Message: fmt.Sprintf("was created without the files of KafkaUser %s; annotate the pod template and let the pod be created again", user)})
			case !exists[pod.Namespace+"/"+user]:
				found = append(found, Problem{Condition: "KafkaUser", Reason: "Missing", Message: fmt.Sprintf("waits for KafkaUser %s, which does not exist", user)})
			}
		}
		if len(found) > 0 {
			stranded = append(stranded, *pod)
			why[pod.Namespace+"/"+pod.Name] = found
		}
	}
	return entries(stranded, func(p *corev1.Pod) Entry {
		return Entry{Namespace: p.Namespace, Name: p.Name, Problems: why[p.Namespace+"/"+p.Name]}
	})
}

// mounts tells whether a pod has the user's key and certificate, in the one or the other form of delivery.
func mounts(pod *corev1.Pod, user string) bool {
	secret := v1alpha1.CertificateName(user)
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.Secret != nil && s.Secret.Name == secret ||
				s.PodCertificate != nil && s.PodCertificate.UserAnnotations[v1alpha1.AnnotationUser] == user
		})
	})
}
