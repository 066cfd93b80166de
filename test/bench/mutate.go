// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/mutate"
)

// checkout is a cache that holds one KafkaUser, which is ready and means no pod by its workload, and its namespace.
type checkout struct {
	client.Reader
	user v1alpha1.KafkaUser
}

func newCheckout() checkout { return checkout{user: *readyUser("shop", "checkout")} }

func (c checkout) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if namespace, ok := into.(*metav1.PartialObjectMetadata); ok {
		namespace.Name, namespace.Labels = key.Name, map[string]string{corev1.LabelMetadataName: key.Name}
		return nil
	}
	user, ok := into.(*v1alpha1.KafkaUser)
	if !ok || key != client.ObjectKeyFromObject(&c.user) {
		return fmt.Errorf("the cache has no %T %s", into, key)
	}
	*user = c.user
	return nil
}

func (c checkout) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// emptyHandler admits everything.
var emptyHandler = admission.HandlerFunc(func(context.Context, admission.Request) admission.Response { return admission.Allowed("") })

// podsHandler is that of cmd/webhook.
func podsHandler(byWorkload bool) *mutate.Pods {
	return &mutate.Pods{Reader: newCheckout(), ByWorkload: byWorkload, Check: access.CheckDeclaration, Decisions: mutate.NewDecisions()}
}

// deploymentPod is a pod of a Deployment as the API server sends it to a webhook: with its defaults, and the token of the
// service account in each container.
func deploymentPod(containers int, annotations map[string]string) *corev1.Pod {
	truth, seconds, grace, mode := true, int64(300), int64(30), int32(0o644)
	expiration := int64(3607)
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "checkout-7d9c6b5f4d-", Namespace: "shop", Annotations: annotations,
			Labels: map[string]string{"app.kubernetes.io/name": "checkout", "app.kubernetes.io/instance": "checkout", "pod-template-hash": "7d9c6b5f4d"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "checkout-7d9c6b5f4d", UID: "0c6c9a2f-7a53-4b0e-9a53-0f6f5ad0c1de", Controller: &truth, BlockOwnerDeletion: &truth,
			}},
		},
		Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{{Name: "kube-api-access-x7zq2", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				DefaultMode: &mode,
				Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: &expiration, Path: "token"}},
					{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
					{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}}}}},
				},
			}}}},
			RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: &grace, DNSPolicy: corev1.DNSClusterFirst,
			ServiceAccountName: "checkout", DeprecatedServiceAccount: "checkout", SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &truth},
			SchedulerName: corev1.DefaultSchedulerName, EnableServiceLinks: &truth,
			Tolerations: []corev1.Toleration{
				{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds},
				{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds},
			},
		},
	}
	probe := &corev1.Probe{
		ProbeHandler:   corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080), Scheme: corev1.URISchemeHTTP}},
		TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
	}
	resources := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("256Mi")}
	for i := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: fmt.Sprintf("c%d", i), Image: "registry.example.com/checkout:1", ImagePullPolicy: corev1.PullIfNotPresent,
			Args: []string{"--listen=:8080", "--log-level=info"}, Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
			Env:            []corev1.EnvVar{{Name: "LOG_FORMAT", Value: "json"}, {Name: "GOMEMLIMIT", Value: "230MiB"}},
			Resources:      corev1.ResourceRequirements{Requests: resources, Limits: resources},
			VolumeMounts:   []corev1.VolumeMount{{Name: "kube-api-access-x7zq2", ReadOnly: true, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}},
			ReadinessProbe: probe, LivenessProbe: probe,
			TerminationMessagePath: corev1.TerminationMessagePathDefault, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		})
	}
	return pod
}

// declared asks for the files of the one KafkaUser.
var declared = map[string]string{v1alpha1.AnnotationUser: "checkout"}

// requestFor is the API server's for the creation of the pod.
func requestFor(pod *corev1.Pod) (*admissionv1.AdmissionRequest, error) {
	raw, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	kind, pods, dryRun := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, false
	return &admissionv1.AdmissionRequest{
		UID: "5d5a1f0e-6a56-4d0c-9b2c-3c4f7a4f1c11", Kind: kind, Resource: pods, RequestKind: &kind, RequestResource: &pods,
		Namespace: pod.Namespace, Operation: admissionv1.Create, DryRun: &dryRun, Object: apiruntime.RawExtension{Raw: raw},
		UserInfo: authenticationv1.UserInfo{
			Username: "system:serviceaccount:kube-system:replicaset-controller", UID: "e1b2f1de-5f0b-4f7e-8e0a-6d8f0a3c2b1a",
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
		},
		Options: apiruntime.RawExtension{Raw: []byte(`{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}`)},
	}, nil
}

// review is the body of the request.
func review(request *admissionv1.AdmissionRequest) ([]byte, error) {
	return json.Marshal(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: request})
}

// serve sends the webhook a request without a network.
func serve(webhook http.Handler, body []byte) func() error {
	return func() error {
		request := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		response := httptest.NewRecorder()
		webhook.ServeHTTP(response, request)
		if response.Code != http.StatusOK || !bytes.Contains(response.Body.Bytes(), []byte(`"allowed":true`)) {
			return fmt.Errorf("%d %s", response.Code, response.Body)
		}
		return nil
	}
}

// The bounds of the mutation of a pod with one container. patchBound is 2 KiB, of the 1.5 MiB that etcd takes.
const (
	mutateBound      = 40 // µs, from the pod's JSON to that of the patch
	allocationsBound = 200
	reviewBound      = 100 // µs, from the request's body to the response's
	skipBound        = 5   // µs, of a pod that declares nothing
	emptyBound       = 2.5 // times controller-runtime's empty handler
	patchBound       = 2048
)

// cost is what one processor does once, the garbage collector included, and its upper bound: a number of microseconds, or,
// where there is a baseline, its ratio to that.
type cost struct {
	name           string
	once, baseline func() error
	bound          float64
}

// costTime is how long a cost is measured, costBatch at once, in turn with its baseline.
const (
	costTime  = 4 * time.Second
	costBatch = 100
)

// measure returns the line.
func (c cost) measure() (string, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	functions := []func() error{c.once}
	if c.baseline != nil {
		functions = append(functions, c.baseline)
	}
	took := make([][]float64, len(functions))
	for begin := time.Now(); time.Since(begin) < costTime; {
		for i, once := range functions {
			before, err := processorTime()
			if err != nil {
				return "", err
			}
			for range costBatch {
				if err := once(); err != nil {
					return "", fmt.Errorf("%s: %w", c.name, err)
				}
			}
			after, err := processorTime()
			if err != nil {
				return "", err
			}
			took[i] = append(took[i], float64((after-before).Nanoseconds())/1000/costBatch)
		}
	}
	if value := median(took[0]); c.baseline == nil {
		return bounded(c.name, "us", value, c.bound), nil
	}
	value, baseline := median(took[0]), median(took[1])
	return line(c.name, "us", value, baseline, value/baseline, c.bound, value/baseline <= c.bound), nil
}

// bounded is the line of a measurement and its upper bound.
func bounded(name, unit string, value, bound float64) string {
	return line(name, unit, value, bound, value/bound, 1, value <= bound)
}

// measureMutation writes what the mutation of one pod with one container costs, what a pod costs that gets nothing (one that
// declares nothing, and one whose namespace has its KafkaUsers asked whether they mean it), and, for pods with so many
// containers, all from the bytes of the request to those of the response against controller-runtime's own work for a handler
// that does nothing.
func measureMutation(only string, out io.Writer) (ran bool, err error) {
	mutated, err := requestFor(deploymentPod(1, declared))
	if err != nil {
		return false, err
	}
	skipped, err := requestFor(deploymentPod(1, nil))
	if err != nil {
		return false, err
	}
	body, err := review(mutated)
	if err != nil {
		return false, err
	}
	mutation := handle(podsHandler(false).Webhook(), mutated, true)
	costs := []cost{
		{"mutate-pod", mutation, nil, mutateBound},
		{"mutate-review", serve(podsHandler(false).Webhook(), body), nil, reviewBound},
		{"mutate-skip", handle(podsHandler(false).Webhook(), skipped, false), nil, skipBound},
		{"mutate-skip-workload", handle(podsHandler(true).Webhook(), skipped, false), nil, mutateBound},
	}
	for _, containers := range []int{1, 5, 15} {
		request, err := requestFor(deploymentPod(containers, declared))
		if err != nil {
			return false, err
		}
		body, err := review(request)
		if err != nil {
			return false, err
		}
		costs = append(costs, cost{
			fmt.Sprintf("mutate-%d-containers", containers),
			serve(podsHandler(false).Webhook(), body), serve(&admission.Webhook{Handler: emptyHandler}, body), emptyBound,
		})
	}
	for _, c := range costs {
		if !strings.Contains(c.name, only) {
			continue
		}
		ran = true
		measured, err := c.measure()
		if err != nil {
			return ran, err
		}
		fmt.Fprintln(out, measured)
	}
	if name := "mutate-allocs"; strings.Contains(name, only) {
		ran = true
		var failed error
		allocations := testing.AllocsPerRun(1000, func() { failed = errors.Join(failed, mutation()) })
		if failed != nil {
			return ran, failed
		}
		fmt.Fprintln(out, bounded(name, "allocations", allocations, allocationsBound))
	}
	if name := "mutate-patch-bytes"; strings.Contains(name, only) {
		ran = true
		response := podsHandler(false).Handle(context.Background(), admission.Request{AdmissionRequest: *mutated})
		if len(response.Patch) == 0 {
			return ran, fmt.Errorf("%s: no patch in %+v", name, response)
		}
		fmt.Fprintln(out, bounded(name, "bytes", float64(len(response.Patch)), patchBound))
	}
	return ran, nil
}

// handle gives the webhook a request that controller-runtime has decoded, and takes the response before it is encoded.
func handle(webhook *admission.Webhook, request *admissionv1.AdmissionRequest, mutates bool) func() error {
	return func() error {
		response := webhook.Handle(context.Background(), admission.Request{AdmissionRequest: *request})
		if !response.Allowed || (len(response.Patch) > 0) != mutates {
			return fmt.Errorf("allowed %v with a patch of %d bytes: %s", response.Allowed, len(response.Patch), response.Result.Message)
		}
		return nil
	}
}
