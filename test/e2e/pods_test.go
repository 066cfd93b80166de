// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/clientconfig"
	"github.com/signet-kafka/signet/mutate"
	"github.com/signet-kafka/signet/test/stack"
)

// files are what is in the directory of a KafkaUser whose KafkaCluster has a listener for external clients.
var files = []string{
	"ca-external.crt", "ca.crt", "client-external.properties", "client.properties", "kafka-external.json", "kafka.json", "keystore.pem",
	"librdkafka-external.conf", "librdkafka.conf", "tls.crt", "tls.key",
}

// readFiles is what a container's shell runs that wants the files of these KafkaUsers. It fails unless it is not root, can read
// them all, can write nowhere, and has the variables of the first.
func readFiles(users ...string) string {
	return fmt.Sprintf(`
for user in %[1]s; do
  for file in %[2]s; do
    path=%[3]s$user/$file
    cat $path >/dev/null && [ -s $path ] || exit 1
    if (echo x >$path) 2>/dev/null; then echo "$path can be written"; exit 1; fi
  done
done
if (echo x >/file) 2>/dev/null; then echo "the root file system can be written"; exit 1; fi
[ "$(id -u)" != 0 ] && [ "$KAFKA_CLIENT_JSON" = %[3]s%[4]s/kafka.json ] && [ "$KAFKA_BOOTSTRAP_SERVERS" = kafka.kafka.svc:9093 ] || { id; env; exit 1; }
`, strings.Join(users, " "), strings.Join(files, " "), mount, users[0])
}

// lacks says what a pod lacks of the volumes, mounts and variables of these KafkaUsers; "" if nothing.
func lacks(pod *corev1.Pod, users ...string) string {
	for _, user := range users {
		name := mutate.VolumeName(user)
		if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
			return v.Name == name && v.Projected != nil && len(v.Projected.Sources) >= 3 // key and certificate, configuration, trust
		}) {
			return "volume " + name
		}
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
				return m.Name == name && m.ReadOnly && m.MountPath == mount+user && m.SubPath == ""
			}) {
				return fmt.Sprintf("mount of volume %s in container %s", name, c.Name)
			}
		}
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, want := range clientconfig.Environment(users[0], "") {
			if !slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == want.Name }) {
				return fmt.Sprintf("variable %s in container %s", want.Name, c.Name)
			}
		}
	}
	return ""
}

// TestBurst: 1,000 pods that ask for Kafka are created as fast as the API server takes them, while every five seconds, or as
// soon as there are two again, one of the webhook's two replicas is killed. Each pod in storage has its files, those that run
// can read them, and a pod is refused for no other reason than that no replica answered: then whoever creates it tries again,
// as a controller does.
func TestBurst(t *testing.T) {
	const (
		burst   = 1000
		running = 25 // of them; the others wait for a gate that nobody opens
		kills   = 4
		period  = 5 * time.Second
	)
	ns := namespace(t, "burst")
	kafkaUser(t, ns, "orders", "consume: []")
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1 // no limit
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	pods := api.CoreV1().Pods(ns)
	manifest := podManifest(ns, "load", stack.ImageKcat, map[string]string{"kafka.signet.dev/user": "orders"})
	var load corev1.Pod
	if err := yaml.Unmarshal([]byte(manifest), &load); err != nil {
		t.Fatal(err)
	}
	load.Name, load.GenerateName, load.Spec.RestartPolicy = "", "load-", corev1.RestartPolicyNever
	load.Spec.Containers[0].Command = []string{"sh", "-c", readFiles("orders")}

	ctx, stop := context.WithCancel(t.Context())
	var creators sync.WaitGroup
	defer creators.Wait()
	defer stop()
	var numbers, stored, dry, unanswered, took atomic.Int64
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := pods.DeleteCollection(ctx, *metav1.NewDeleteOptions(0), metav1.ListOptions{}); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	create := func(p *corev1.Pod, options metav1.CreateOptions) bool {
		for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			created, err := pods.Create(ctx, p, options)
			switch {
			case ctx.Err() != nil:
				return false
			case err != nil && !isUnanswered(err):
				t.Errorf("refused for another reason: %v", err)
				return false
			case err != nil && time.Now().After(deadline):
				t.Errorf("still refused after %s: %v", patience, err)
				return false
			case err != nil:
				unanswered.Add(1)
				continue
			}
			if what := lacks(created, "orders"); what != "" {
				t.Errorf("a pod was admitted that lacks %s", what)
			}
			return true
		}
	}
	begun := time.Now()
	for range 32 {
		creators.Go(func() {
			for ctx.Err() == nil {
				// With all of them stored the load goes on until enough replicas were killed: a server-side dry run passes
				// through admission as the real thing does.
				n := numbers.Add(1)
				p, options, count := load.DeepCopy(), metav1.CreateOptions{}, &stored
				if n > burst {
					options.DryRun, count = []string{metav1.DryRunAll}, &dry
				}
				if n <= burst && n%(burst/running) == 0 {
					p.Labels = map[string]string{"runs": "true"}
				} else {
					p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "signet.test/never"}}
				}
				if !create(p, options) {
					stop()
				} else if count.Add(1) == burst && count == &stored {
					took.Store(int64(time.Since(begun)))
				}
			}
		})
	}
	killed := 0
	for ctx.Err() == nil && (killed < kills || stored.Load() < burst) {
		killReplica(t, api)
		killed++
		select {
		case <-time.After(period):
		case <-ctx.Done():
		}
	}
	stop()
	creators.Wait()
	kubectl(t, "-n", stack.Namespace, "rollout", "status", "deployment/signet-webhook", "--timeout=120s")
	settled(t, manifest)

	list, err := pods.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if what := lacks(&list.Items[i], "orders"); what != "" {
			t.Errorf("pod %s is in storage and lacks %s", list.Items[i].Name, what)
		}
	}
	if len(list.Items) != burst {
		t.Fatalf("%d pods are in storage, want %d", len(list.Items), burst)
	}
	eventually(t, "the pods that run have read their files", func() (bool, string) {
		list, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: "runs=true"})
		if err != nil {
			return false, err.Error()
		}
		phases := map[corev1.PodPhase]int{}
		for i := range list.Items {
			phases[list.Items[i].Status.Phase]++
		}
		if phases[corev1.PodFailed] > 0 {
			t.Fatalf("pods could not read their files: %v", phases)
		}
		return phases[corev1.PodSucceeded] == running, fmt.Sprint(phases)
	})
	seconds := time.Duration(took.Load()).Seconds()
	t.Logf("%d pods stored in %.1f s (%.0f a second), then %d dry runs; %d times a replica was killed; %d attempts refused because none answered",
		burst, seconds, burst/seconds, dry.Load(), killed, unanswered.Load())
}

// isUnanswered tells whether the API server refused a pod because it could not reach the webhook: it says so, and what the
// connection came to. What a webhook that answers has against a pod reads differently.
func isUnanswered(err error) bool {
	return apierrors.IsInternalError(err) &&
		strings.Contains(err.Error(), `failed calling webhook "pods.kafka.signet.dev": failed to call webhook: Post "https://signet-webhook.`)
}

// killReplica kills the older of the webhook's two replicas, once both are ready, as the loss of its node would: the process is
// gone without a word, and then the pod is, so that another takes its place.
func killReplica(t *testing.T, api kubernetes.Interface) {
	t.Helper()
	pods := api.CoreV1().Pods(stack.Namespace)
	var ready []corev1.Pod
	eventually(t, "two replicas of the webhook are ready", func() (bool, string) {
		list, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook"})
		if err != nil {
			return false, err.Error()
		}
		ready = slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
			return !p.DeletionTimestamp.IsZero() || !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
		})
		return len(ready) == 2, fmt.Sprintf("%d are", len(ready))
	})
	oldest := slices.MinFunc(ready, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	// The node's processes are below the host's, each in the control group that is named after its container.
	_, container, _ := strings.Cut(oldest.Status.ContainerStatuses[0].ContainerID, "://")
	if len(container) != 64 {
		t.Fatalf("pod %s: container %q is not known by the 64 digits of containerd", oldest.Name, container)
	}
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, group := range groups {
		content, err := os.ReadFile(group)
		if err != nil || !strings.Contains(string(content), "/"+container) {
			continue // another's, or it has ended meanwhile
		}
		process, err := strconv.Atoi(filepath.Base(filepath.Dir(group)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(process, syscall.SIGKILL); err != nil {
			t.Fatalf("kill %d: %v", process, err)
		}
		found = true
	}
	if !found {
		t.Fatalf("pod %s: container %s has no process", oldest.Name, container)
	}
	if err := pods.Delete(t.Context(), oldest.Name, *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
}

// restricted is a container of an image with a shell, as restricted Pod Security wants it; more are further fields.
func restricted(name, more string, command ...string) string {
	encoded, err := json.Marshal(command)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{name: %s, image: %q, imagePullPolicy: Never, command: %s, %ssecurityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}}`,
		name, stack.ImageKcat, encoded, more)
}

// TestWorkloadKinds: pods of every kind of workload have the files, with the modes of docs/access.md, from their first init
// container on; those that are to end do, and no pod template is changed.
func TestWorkloadKinds(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "kinds")
	kafkaUser(t, ns, "orders", "certificate: {delivery: PodCertificate}")
	kafkaUser(t, ns, "ledger", "certificate: {delivery: Secret}")
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	waitCondition(t, ns, "kafkauser", "ledger", "Ready", "True", "")

	read := readFiles("orders", "ledger")
	template := func(kind, identity, spec string) string {
		return fmt.Sprintf(`{metadata: {labels: {kind: %s}, annotations: {kafka.signet.dev/user: "orders,ledger"}}, spec: {terminationGracePeriodSeconds: 1, automountServiceAccountToken: false, securityContext: {runAsNonRoot: true, runAsUser: 4242, %sseccompProfile: {type: RuntimeDefault}}, %s}}`,
			kind, identity, spec)
	}
	sleeps := "containers: [" + restricted("app", "", "sleep", "100000") + "]"
	ends := "restartPolicy: Never, containers: [" + restricted("app", "", "sh", "-c", read+"exec kcat -F $KAFKA_LIBRDKAFKA_CONFIG -L -J") + "]"
	probe, err := json.Marshal([]string{"sh", "-c", read})
	if err != nil {
		t.Fatal(err)
	}
	before := "initContainers: [" + restricted("first", "", "sh", "-c", read) + ", " +
		restricted("sidecar", fmt.Sprintf("restartPolicy: Always, startupProbe: {periodSeconds: 1, timeoutSeconds: 30, exec: {command: %s}}, ", probe), "sleep", "100000") + "]"
	apply(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: %[1]s}
spec: {replicas: 2, selector: {matchLabels: {kind: deployment}}, template: %[2]s}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: app, namespace: %[1]s}
spec: {serviceName: app, selector: {matchLabels: {kind: statefulset}}, template: %[3]s}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: app, namespace: %[1]s}
spec: {selector: {matchLabels: {kind: daemonset}}, template: %[4]s}
---
apiVersion: batch/v1
kind: Job
metadata: {name: app, namespace: %[1]s}
spec: {backoffLimit: 0, template: %[5]s}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: app, namespace: %[1]s}
spec: {schedule: "0 0 1 1 *", suspend: true, jobTemplate: {spec: {backoffLimit: 0, template: %[6]s}}}
`, ns, template("deployment", "", sleeps), template("statefulset", "fsGroup: 2000, ", sleeps), template("daemonset", "", sleeps),
		template("job", "", ends+", "+before), template("cronjob", "", ends))
	templates := func() (all []string) {
		for _, kind := range []string{"deployment", "statefulset", "daemonset", "job"} {
			all = append(all, kubectl(t, "-n", ns, "get", kind, "app", "-o", "jsonpath={.spec.template}"))
		}
		return append(all, kubectl(t, "-n", ns, "get", "cronjob", "app", "-o", "jsonpath={.spec.jobTemplate.spec.template}"))
	}
	written := templates()
	kubectl(t, "-n", ns, "create", "job", "once", "--from=cronjob/app")
	for _, workload := range []string{"deployment/app", "statefulset/app", "daemonset/app"} {
		kubectl(t, "-n", ns, "rollout", "status", workload, "--timeout=90s")
	}
	kubectl(t, "-n", ns, "wait", "--for=condition=Complete", "job/app", "job/once", "--timeout=90s")

	var list corev1.PodList
	if err := json.Unmarshal([]byte(kubectl(t, "-n", ns, "get", "pods", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for i := range list.Items {
		p := &list.Items[i]
		kind := p.Labels["kind"]
		kinds[kind]++
		if what := lacks(p, "orders", "ledger"); what != "" || p.GenerateName == "" {
			t.Errorf("pod %s, made from generateName %q, lacks %s", p.Name, p.GenerateName, what)
		}
		var names []string
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			names = append(names, c.Name)
		}
		want, phase := []string{"app"}, corev1.PodRunning
		switch kind {
		case "job":
			want, phase = []string{"first", "sidecar", "app"}, corev1.PodSucceeded
		case "cronjob":
			phase = corev1.PodSucceeded
		}
		if !slices.Equal(names, want) || p.Status.Phase != phase {
			t.Errorf("the pod of the %s has containers %v and is %s, want %v and %s", kind, names, p.Status.Phase, want, phase)
		}
	}
	if want := map[string]int{"deployment": 2, "statefulset": 1, "daemonset": 1, "job": 1, "cronjob": 1}; !maps.Equal(kinds, want) {
		t.Errorf("pods by kind: %v, want %v", kinds, want)
	}
	for i, now := range templates() {
		if now != written[i] {
			t.Errorf("a pod template was changed, from\n%s\nto\n%s", written[i], now)
		}
		for _, field := range []string{`"volumes"`, `"volumeMounts"`, `"env"`} {
			if strings.Contains(now, field) {
				t.Errorf("a pod template that had none has got %s:\n%s", field, now)
			}
		}
	}

	for _, test := range []struct{ workload, kubelets, others string }{
		{"deployment/app", "-rw------- 4242 0", "-r--r--r-- 0 0"},
		{"statefulset/app", "-rw-r----- 4242 2000", "-r--r----- 0 2000"},
		{"daemonset/app", "-rw------- 4242 0", "-r--r--r-- 0 0"},
	} {
		if out, err := s.Kubectl(t.Context(), "", "-n", ns, "exec", test.workload, "-c", "app", "--", "sh", "-c", read); err != nil {
			t.Errorf("%s: %v\n%s", test.workload, err, out)
		}
		for _, user := range []string{"orders", "ledger"} {
			want := map[string]string{}
			for _, file := range files {
				want[file] = test.others
				if user == "orders" && slices.Contains([]string{"keystore.pem", "tls.crt", "tls.key"}, file) {
					want[file] = test.kubelets
				}
			}
			if got := modes(t, ns, test.workload, user); !maps.Equal(got, want) {
				t.Errorf("%s: the files of %s are %v, want %v", test.workload, user, got, want)
			}
		}
	}

	// What somebody adds to a running pod to look at it gets nothing and breaks nothing; it sees the files of the container
	// beside it by way of that one's process.
	state := func() string {
		return kubectl(t, "-n", ns, "get", "pod", "app-0", "-o", "jsonpath={.spec.containers}{.spec.volumes}{.status.containerStatuses[0].containerID}")
	}
	found := state()
	kubectl(t, "-n", ns, "debug", "app-0", "--image="+stack.ImageKcat, "--profile=restricted", "--target=app", "--container=look", "--", "sh", "-c",
		`[ -z "$KAFKA_CLIENT_JSON" ] && [ ! -e `+mount+` ] && cat /proc/1/root`+mount+`orders/tls.key >/dev/null`)
	eventually(t, "the ephemeral container ends", func() (bool, string) {
		out := kubectl(t, "-n", ns, "get", "pod", "app-0", "-o", "jsonpath={.status.ephemeralContainerStatuses[0].state}")
		if strings.Contains(out, "terminated") && !strings.Contains(out, `"exitCode":0`) {
			t.Fatalf("it is not as it should be in the ephemeral container: %s\n%s", out, kubectl(t, "-n", ns, "logs", "app-0", "-c", "look"))
		}
		return strings.Contains(out, "terminated"), out
	})
	if now := state(); now != found {
		t.Errorf("an ephemeral container changed the pod from\n%s\nto\n%s", found, now)
	}
}

// modes are mode, user and group of the files of a KafkaUser in a pod of a workload.
func modes(t *testing.T, namespace, workload, user string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(kubectl(t, "-n", namespace, "exec", workload, "-c", "app", "--", "ls", "-lnL", mount+user)) {
		if fields := strings.Fields(line); len(fields) == 9 {
			all[fields[8]] = strings.Join([]string{fields[0], fields[2], fields[3]}, " ")
		}
	}
	return all
}

// TestConfigChangeArrives: a Kafka gets another address, and the files in a pod that runs say so, without a restart of
// anything.
func TestConfigChangeArrives(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "moves")
	kubectl(t, "-n", ns, "create", "configmap", "broker-ca", "--from-literal=ca.crt="+secretKey(t, "kafka", "kafka-broker-tls", "ca.crt"))
	apply(t, "%s", clusterManifest(ns, "moves", "mesh", "127.0.0.1:1", "{}"))
	kubectl(t, "-n", ns, "patch", "kafkacluster", "moves", "--type=json", "-p", `[{"op":"add","path":"/spec/listeners/0/serverCA","value":{"configMap":"broker-ca"}}]`)
	apply(t, "%s", ownUser(ns, "orders", "moves"))
	waitCondition(t, ns, "kafkauser", "orders", "CertificateReady", "True", "")
	waitCondition(t, ns, "kafkauser", "orders", "MappingRecorded", "True", "")
	p := startPod(t, ns, stack.ImageKcat, map[string]string{"kafka.signet.dev/user": "orders"})
	life := func() string {
		return kubectl(t, "-n", ns, "get", "pod", p.name, "-o", "jsonpath={.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}")
	}
	begun := life()
	arrived := func(address string) {
		t.Helper()
		eventually(t, "the files name "+address, func() (bool, string) {
			for _, file := range []string{"client.properties", "librdkafka.conf", "kafka.json"} {
				out, err := p.exec(t, "cat", mount+"orders/"+file)
				if err != nil || !strings.Contains(out, address) {
					return false, fmt.Sprintf("%s: %v: %s", file, err, out)
				}
			}
			return true, ""
		})
	}
	arrived("127.0.0.1:1")
	kubectl(t, "-n", ns, "patch", "kafkacluster", "moves", "--type=json", "-p", `[{"op":"replace","path":"/spec/listeners/0/bootstrapServers","value":["kafka.kafka.svc:9093"]}]`)
	arrived("kafka.kafka.svc:9093")
	out, err := p.exec(t, "kcat", "-F", mount+"orders/librdkafka.conf", "-L", "-J")
	if err != nil {
		t.Fatalf("with the new configuration no Kafka answers: %v", err)
	}
	if names := topicNames(t, out); len(names) != 0 {
		t.Errorf("without a grant it sees %v", names)
	}
	if now := life(); now != begun {
		t.Errorf("the pod was %s and is %s", begun, now)
	}
}
