// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/test/await"
	"github.com/signet-kafka/signet/test/stack"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const controllerAccount = "system:serviceaccount:signet-system:signet-controller"

// TestUpgradeAndUninstall takes the chart through its life, by helm, on a real API server: an installation of the oldest
// chart there is (testdata/signet-oldest.tgz, the directory charts/signet of the first commit that had one) with objects of
// its kinds, the upgrade to the present chart, and its removal.
//
// What it cannot have is the old controller, of which no image was published, and a node. So what the old one would have
// written is written here, in the form of that time; the Deployments' pods are there and wait for a node; and the present
// controller runs in this process, as the service account that the chart gives it, with no right beyond.
func TestUpgradeAndUninstall(t *testing.T) { //nolint:tparallel // one after the other
	t.Parallel()
	s, restConfig := controlPlane(t, "upgrade")
	c := &installation{Stack: s, admin: restConfig, chart: filepath.Join(s.Root, "charts", "signet")}
	crds(t, s, certManagerCRDs(t))
	c.bare = c.inventory(t)
	if !t.Run("upgrade", c.upgrade) {
		return
	}
	t.Run("permissions", c.permissions)
	t.Run("Secrets", c.secrets)
	t.Run("uninstall", c.uninstall)
	t.Run("install again", c.again)
}

// installation is the chart on an API server.
type installation struct {
	*stack.Stack
	admin *rest.Config
	// chart is the directory of the present chart.
	chart string
	// bare is what the cluster had before.
	bare map[string]entry
	// mounted is what the running pod mounts, and the pod, as they were before the upgrade.
	mounted map[string]entry
}

// entry is one object of an inventory.
type entry struct {
	uid, version string
	owners       []string
}

func (c *installation) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *installation) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.Helm(t.Context(), append(args, "--namespace", stack.Namespace)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// inventory lists all objects but those that come and go by themselves.
func (c *installation) inventory(t *testing.T) map[string]entry {
	t.Helper()
	kinds := slices.DeleteFunc(strings.Fields(c.kubectl(t, "api-resources", "--verbs=list,delete", "--no-headers", "-o", "name")), func(kind string) bool {
		return regexp.MustCompile(`^(events|endpoint|ipaddresses\.|apiservices\.)`).MatchString(kind)
	})
	out := c.kubectl(t, "get", strings.Join(kinds, ","), "-A", "-o",
		`jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid} {.metadata.resourceVersion} {.metadata.ownerReferences[*].uid}{"\n"}{end}`)
	found := map[string]entry{}
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) >= 4 {
			found[words[0]+" "+strings.TrimPrefix(words[1], "/")] = entry{words[2], words[3], words[4:]}
		}
	}
	if len(found) < 20 {
		t.Fatalf("the cluster has only %d objects:\n%s", len(found), out)
	}
	return found
}

// only returns the objects with these names.
func only(all map[string]entry, names ...string) map[string]entry {
	some := map[string]entry{}
	for _, name := range names {
		some[name] = all[name]
	}
	return some
}

// run runs the controller with the rights of its service account until the test ends.
func (c *installation) run(t *testing.T) (stop func()) {
	t.Helper()
	config := rest.CopyConfig(c.admin)
	config.Impersonate.UserName = controllerAccount
	o := quick()
	o.leaderElect = true
	ctx, cancel := context.WithCancel(t.Context())
	ended, _ := startWith(ctx, t, config, o, 0, time.Now)
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the controller ends with %v", err)
		}
	}
}

// old are objects as an administrator, a team, cert-manager and the old controller made them.
const old = `
apiVersion: kafka.signet.dev/v1alpha1
kind: MeshIssuer
metadata: {name: mesh}
spec: {ca: {secretRef: {namespace: istio-system, name: istio-ca-secret}}}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: kafka, namespace: kafka}
spec:
  listeners: [{name: mtls, scope: Cluster, bootstrapServers: ["127.0.0.1:1"]}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}}
  namespaceSelector: {}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaTopic
metadata: {name: placed, namespace: kafka}
spec: {clusterRef: {name: kafka}}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: orders, namespace: shop}
spec: {clusterRef: {name: kafka, namespace: kafka}, consume: [placed], externalSubjects: ["CN=legacy,O=Acme"]}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: PrincipalMapping
metadata: {name: shop.orders, namespace: kafka}
spec:
  cluster: kafka
  principal: User:shop.orders
  owner: {name: orders, namespace: shop, namespaceUID: %[1]s}
  subjects:
  - exact: CN=orders,OU=shop,O=signet
  - spiffe: spiffe://kafka.signet.dev/user/shop/orders
  - external: CN=legacy,O=Acme
  approvedSubjects: ["CN=legacy,O=Acme"]
---
apiVersion: v1
kind: Secret
metadata: {name: orders-kafka-tls, namespace: shop}
type: kubernetes.io/tls
stringData: {tls.crt: certificate, tls.key: key, ca.crt: root}
---
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: shop, annotations: {kafka.signet.dev/user: orders}}
spec:
  automountServiceAccountToken: false
  containers: [{name: app, image: app, volumeMounts: [{name: kafka-signet-orders, mountPath: /var/run/secrets/kafka.signet.dev/orders}]}]
  volumes: [{name: kafka-signet-orders, projected: {sources: [{secret: {name: orders-kafka-tls}}]}}]
`

const oldStatus = `{"status": {
  "principal": "User:shop.orders", "subject": "CN=orders,OU=shop,O=signet", "acls": 5,
  "certificate": {"secret": "orders-kafka-tls", "serial": "0a1b", "notAfter": "2026-01-02T09:00:00Z", "renewalTime": "2026-01-02T07:00:00Z"},
  "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "ready", "observedGeneration": 1, "lastTransitionTime": "2026-01-02T03:00:00Z"}]
}}`

func (c *installation) upgrade(t *testing.T) {
	certificate, key := testCA(t)
	for _, namespace := range []string{"istio-system", "kafka", "shop"} {
		c.kubectl(t, "create", "namespace", namespace)
	}
	if err := c.Apply(t.Context(), fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: istio-ca-secret, namespace: istio-system}\ndata: {ca-cert.pem: %s, ca-key.pem: %s}\n", certificate, key)); err != nil {
		t.Fatal(err)
	}
	// No node runs the webhook, which KafkaUsers would otherwise have to wait for.
	c.helm(t, "install", "signet", filepath.Join("cmd", "controller", "testdata", "signet-oldest.tgz"), "--create-namespace", "--set", "webhook.failurePolicy=Ignore,webhook.timeoutSeconds=1")
	c.kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	uid := c.kubectl(t, "get", "namespace", "shop", "-o", "jsonpath={.metadata.uid}")
	await.Until(t, time.Minute, "the objects of the old chart's kinds are there", func() (bool, string) {
		err := c.Apply(t.Context(), fmt.Sprintf(old, uid)) // pods wait for the namespace's service account
		return err == nil, fmt.Sprint(err)
	})
	c.kubectl(t, "-n", "shop", "patch", "kafkauser", "orders", "--subresource=status", "--type=merge", "-p", oldStatus)
	declared := []string{"meshissuer/mesh", "-n=kafka kafkacluster/kafka", "-n=kafka kafkatopic/placed", "-n=shop kafkauser/orders", "-n=kafka principalmapping/shop.orders"}
	before := map[string]map[string]any{}
	for _, name := range declared {
		before[name] = c.object(t, name)
	}
	c.mounted = only(c.inventory(t), "Pod shop/app", "Secret shop/orders-kafka-tls")

	// As a user does who read nothing: the values of the old release stay.
	c.helm(t, "upgrade", "signet", c.chart)
	files, err := filepath.Glob(filepath.Join(c.chart, "files", "crds", "*.yaml"))
	if err != nil || len(files) != 5 {
		t.Fatalf("CRDs %q: %v", files, err)
	}
	for _, file := range files {
		c.sameVersions(t, file)
	}
	for _, name := range declared {
		after := c.object(t, name)
		if lost := missing(before[name], after, ""); len(lost) > 0 {
			t.Errorf("%s: the upgrade changed %q", name, lost)
		}
	}
	// What the old version stored has the defaults of the new one, and can be changed.
	for path, want := range map[string]string{
		"meshissuer/mesh {.spec.ca.mode}":                       "Intermediate",
		"meshissuer/mesh {.spec.keyTypes[*]}":                   "ECDSAP256 ECDSAP384",
		"-n=kafka kafkacluster/kafka {.spec.principalTemplate}": "{namespace}.{name}",
	} {
		object, field, _ := strings.Cut(path, " {")
		if got := c.kubectl(t, append([]string{"get", "-o", "jsonpath={" + field}, strings.Fields(object)...)...); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	c.kubectl(t, "-n", "shop", "patch", "kafkauser", "orders", "--type=merge", "-p", `{"spec":{"consume":["placed","paid"]}}`)
	c.kubectl(t, "-n", "kafka", "patch", "kafkacluster", "kafka", "--type=merge", "-p", `{"spec":{"superUsers":["User:broker"]}}`)

	stop := c.run(t)
	c.works(t)
	if got := c.kubectl(t, "-n", "shop", "get", "kafkauser", "orders", "-o", "jsonpath={.status.principal}"); got != "User:shop.orders" {
		t.Errorf("the KafkaUser's principal is %s", got)
	}
	if got := c.kubectl(t, "-n", "kafka", "get", "principalmapping", "shop.orders", "-o", "jsonpath={.metadata.uid} {.spec.approvedSubjects[0]}"); got != fmt.Sprint(uidOf(before["-n=kafka principalmapping/shop.orders"]), " CN=legacy,O=Acme") {
		t.Errorf("the ledger has another entry: %s", got)
	}
	stop()
	if now := only(c.inventory(t), "Pod shop/app", "Secret shop/orders-kafka-tls"); !same(now, c.mounted) {
		t.Errorf("the running pod and its Secret were %v, are %v", c.mounted, now)
	}
	// No pod that asks for Kafka gets by without the webhook.
	c.helm(t, "upgrade", "signet", c.chart, "--reuse-values", "--set", "webhook.failurePolicy=Fail")
}

// works waits until the controller has done what it can without a Kafka, and has filled in the webhooks' CA.
func (c *installation) works(t *testing.T) {
	t.Helper()
	c.kubectl(t, "wait", "--for=condition=Ready", "meshissuer/mesh", "--timeout=60s")
	c.kubectl(t, "-n", "shop", "wait", "--for=condition=MappingRecorded", "kafkauser/orders", "--timeout=60s")
	await.Until(t, time.Minute, "the controller has made everything", func() (bool, string) {
		bundles, err := c.Kubectl(t.Context(), "", "get", "mutatingwebhookconfiguration,validatingwebhookconfiguration", "-o", `jsonpath={range .items[*].webhooks[*]}{.clientConfig.caBundle},{end}`)
		if err != nil || bundles == "" || strings.Contains(","+bundles, ",,") {
			return false, fmt.Sprintf("caBundle %.100s: %v", bundles, err)
		}
		out, err := c.Kubectl(t.Context(), "", "-n", "shop", "get", "certificate/orders-kafka-tls", "configmap/orders-kafka-client", "configmap/orders-kafka-trust", "-o", "name")
		if err == nil {
			out, err = c.Kubectl(t.Context(), "", "-n", "kafka", "get", "configmap/kafka-signet-broker", "-o", "name")
		}
		if err == nil {
			out, err = c.Kubectl(t.Context(), "", "get", "clustertrustbundle/kafka.signet.dev:mesh:roots", "-o", "name")
		}
		return err == nil, fmt.Sprint(out, err)
	})
}

// object reads one object: "-n=namespace kind/name" or "kind/name".
func (c *installation) object(t *testing.T, name string) map[string]any {
	t.Helper()
	read := map[string]any{}
	if err := json.Unmarshal([]byte(c.kubectl(t, append([]string{"get", "-o", "json"}, strings.Fields(name)...)...)), &read); err != nil {
		t.Fatal(err)
	}
	if metadata, ok := read["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
		delete(metadata, "resourceVersion")
	}
	return read
}

func uidOf(object map[string]any) any {
	metadata, _ := object["metadata"].(map[string]any)
	return metadata["uid"]
}

// missing names what is in before and not the same in after.
func missing(before, after any, path string) (lost []string) {
	switch before := before.(type) {
	case map[string]any:
		now, _ := after.(map[string]any)
		for key, value := range before {
			lost = append(lost, missing(value, now[key], path+"."+key)...)
		}
		return lost
	case []any:
		now, _ := after.([]any)
		if len(now) != len(before) {
			return []string{path}
		}
		for i := range before {
			lost = append(lost, missing(before[i], now[i], fmt.Sprintf("%s[%d]", path, i))...)
		}
		return lost
	}
	if before != after {
		return []string{fmt.Sprintf("%s: %v to %v", path, before, after)}
	}
	return nil
}

func same(a, b map[string]entry) bool {
	for name, was := range b {
		if now := a[name]; now.uid != was.uid || now.version != was.version || now.uid == "" {
			return false
		}
	}
	return len(a) == len(b)
}

// sameVersions holds that the cluster has the CRD of a file.
func (c *installation) sameVersions(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want, got apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(c.kubectl(t, "get", "crd", want.Name, "-o", "json")), &got); err != nil {
		t.Fatal(err)
	}
	encode := func(versions []apiextensionsv1.CustomResourceDefinitionVersion) string {
		encoded, err := json.Marshal(versions)
		if err != nil {
			t.Fatal(err)
		}
		return string(encoded)
	}
	if encode(got.Spec.Versions) != encode(want.Spec.Versions) {
		t.Errorf("%s is not the CRD of this chart", want.Name)
	}
}

// permissions compares what the API server says that each service account may do, beside what every account may, with a
// golden file.
func (c *installation) permissions(t *testing.T) {
	namespaces := []string{stack.Namespace, "istio-system", "kafka", "shop"}
	var b strings.Builder
	for _, account := range []string{"signet-controller", "signet-webhook"} {
		name := "system:serviceaccount:" + stack.Namespace + ":" + account
		may := map[string][]string{}
		for _, namespace := range namespaces {
			nobody := c.rules(t, "system:serviceaccount:"+stack.Namespace+":default", namespace)
			may[namespace] = slices.DeleteFunc(c.rules(t, name, namespace), func(rule string) bool { return slices.Contains(nobody, rule) })
		}
		everywhere := slices.DeleteFunc(slices.Clone(may["shop"]), func(rule string) bool {
			return slices.ContainsFunc(namespaces, func(namespace string) bool { return !slices.Contains(may[namespace], rule) })
		})
		fmt.Fprintf(&b, "%s\n", name)
		for _, rule := range everywhere {
			fmt.Fprintf(&b, "  everywhere: %s\n", rule)
		}
		for _, namespace := range namespaces {
			for _, rule := range may[namespace] {
				if !slices.Contains(everywhere, rule) {
					fmt.Fprintf(&b, "  in %s: %s\n", namespace, rule)
				}
			}
		}
	}
	golden := filepath.Join("testdata", "permissions.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the accounts may\n%swant\n%s(go test ./cmd/controller -run TestUpgradeAndUninstall -update, and look at the difference)", b.String(), want)
	}
}

// as is a client with the rights of an account.
func (c *installation) as(t *testing.T, account string) kubernetes.Interface {
	t.Helper()
	config := rest.CopyConfig(c.admin)
	config.Impersonate.UserName = account
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// rules asks the API server what an account may do in a namespace.
func (c *installation) rules(t *testing.T, account, namespace string) (rules []string) {
	t.Helper()
	review, err := c.as(t, account).AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(),
		&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The node authorizer cannot list what it permits; it permits nothing to service accounts.
	if e := review.Status.EvaluationError; e != "" && e != "node authorizer does not support user rule resolution" {
		t.Fatalf("the list is incomplete: %s", e)
	}
	for _, rule := range review.Status.ResourceRules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				verbs := slices.Sorted(slices.Values(rule.Verbs))
				line := strings.Join(verbs, ",") + " " + strings.TrimPrefix(group+"/"+resource, "/")
				if len(rule.ResourceNames) > 0 {
					line += " named " + strings.Join(slices.Sorted(slices.Values(rule.ResourceNames)), ",")
				}
				rules = append(rules, line)
			}
		}
	}
	for _, rule := range review.Status.NonResourceRules {
		rules = append(rules, fmt.Sprint(rule.Verbs, rule.NonResourceURLs))
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

// secrets tries to read every Secret of the cluster, one by one and all at once.
func (c *installation) secrets(t *testing.T) {
	var all []string
	for name := range c.inventory(t) {
		if name, ok := strings.CutPrefix(name, "Secret "); ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	for account, want := range map[string][]string{
		"signet-webhook":    nil,
		"signet-controller": {"istio-system/istio-ca-secret", "signet-system/signet-authorities", "signet-system/signet-webhook-ca", "signet-system/signet-webhook-tls"},
	} {
		client := c.as(t, "system:serviceaccount:"+stack.Namespace+":"+account)
		var reads []string
		for _, secret := range all {
			namespace, name, _ := strings.Cut(secret, "/")
			_, err := client.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
			if err == nil {
				reads = append(reads, secret)
			} else if !apierrors.IsForbidden(err) {
				t.Error(err)
			}
		}
		if !slices.Equal(reads, want) {
			t.Errorf("%s reads of %q the Secrets %q, want %q", account, all, reads, want)
		}
		for _, namespace := range []string{metav1.NamespaceAll, stack.Namespace, "istio-system", "kafka", "shop"} {
			if _, err := client.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
				t.Errorf("%s lists the Secrets of %q: %v", account, namespace, err)
			}
			if _, err := client.CoreV1().Secrets(namespace).Watch(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
				t.Errorf("%s watches the Secrets of %q: %v", account, namespace, err)
			}
		}
	}
	if len(all) < 5 {
		t.Errorf("the cluster has only the Secrets %q", all)
	}
}

// asking is a pod that names a KafkaUser and has none of its files.
const asking = `
apiVersion: v1
kind: Pod
metadata: {name: another, namespace: shop, annotations: {kafka.signet.dev/user: orders}}
spec: {automountServiceAccountToken: false, containers: [{name: app, image: app}]}
`

// uninstall holds that helm removes what it installed and nothing else, that a running pod loses nothing, that pods can be
// created, and that what remains is what docs/install.md says.
func (c *installation) uninstall(t *testing.T) {
	if _, err := c.Kubectl(t.Context(), asking, "create", "--dry-run=server", "-f", "-"); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
		t.Errorf("with no webhook that answers, a pod that asks for Kafka: %v", err)
	}
	removed := map[string]bool{}
	for document := range strings.SplitSeq("\n"+c.helm(t, "get", "manifest", "signet"), "\n---\n") {
		var object metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		if object.Kind != "" && object.Kind != "CustomResourceDefinition" {
			removed[object.Kind+" "+strings.TrimPrefix(object.Namespace+"/"+object.Name, "/")] = true
		}
	}
	before := c.inventory(t)
	for name := range before {
		if strings.HasPrefix(name, "Secret "+stack.Namespace+"/sh.helm.release.v1.signet.") {
			removed[name] = true
		}
	}
	if len(removed) < 15 {
		t.Fatalf("the release has only %v", removed)
	}
	c.helm(t, "uninstall", "signet")

	var after map[string]entry
	await.Until(t, time.Minute, "everything of the release is gone", func() (bool, string) {
		after = c.inventory(t)
		gone := map[string]bool{} // UIDs
		for name, e := range before {
			gone[e.uid] = after[name].uid != e.uid
		}
		for name, e := range after {
			if removed[name] || slices.ContainsFunc(e.owners, func(owner string) bool { return gone[owner] }) {
				return false, name + " is still there"
			}
		}
		return true, ""
	})
	for name, e := range before {
		orphan := slices.ContainsFunc(e.owners, func(owner string) bool {
			for name, e := range before {
				if e.uid == owner {
					return after[name].uid != owner
				}
			}
			return true
		})
		if after[name].uid != e.uid && !removed[name] && !orphan {
			t.Errorf("helm uninstall took %s with it", name)
		}
	}
	if now := only(after, "Pod shop/app", "Secret shop/orders-kafka-tls"); !same(now, c.mounted) {
		t.Errorf("the running pod and its Secret were %v, are %v", c.mounted, now)
	}
	if _, err := c.Kubectl(t.Context(), asking, "create", "--dry-run=server", "-f", "-"); err != nil {
		t.Errorf("pods that ask for Kafka cannot be created: %v", err)
	}
	c.remains(t, after)
}

var placeholder = regexp.MustCompile(`<[^>]+>`)

// remains compares what is there now and was not before the installation with the table in docs/install.md.
func (c *installation) remains(t *testing.T, after map[string]entry) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(c.Root, "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| what remains | |\n|---|---|\n")
	if !found {
		t.Fatal("docs/install.md has no table of what remains")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	listed := map[string]*regexp.Regexp{}
	seen := map[string]bool{}
	for row := range strings.Lines(table) {
		for _, quoted := range regexp.MustCompile("`[A-Z][^`]+`").FindAllString(strings.Split(row, "|")[1], -1) {
			pattern := strings.Trim(quoted, "`")
			listed[pattern] = regexp.MustCompile("^" + placeholder.ReplaceAllString(regexp.QuoteMeta(pattern), "[^/ ]+") + "$")
		}
	}
	// What the cluster had, or the test made, or each namespace has by itself.
	others := regexp.MustCompile(`^(Namespace (istio-system|kafka|shop)|Secret istio-system/istio-ca-secret|Pod shop/app|ServiceAccount [^/]+/default|ConfigMap [^/]+/kube-root-ca.crt)$`)
	for name := range after {
		if _, had := c.bare[name]; had || others.MatchString(name) {
			continue
		}
		says := false
		for pattern, expression := range listed {
			if expression.MatchString(name) {
				says, seen[pattern] = true, true
			}
		}
		if !says {
			t.Errorf("%s remains, and docs/install.md does not say so", name)
		}
	}
	for pattern := range listed {
		if !seen[pattern] {
			t.Errorf("docs/install.md says that %s remains, and nothing like it does", pattern)
		}
	}
}

// again holds that a new installation takes over what the former one left.
func (c *installation) again(t *testing.T) {
	serial := func() string {
		return c.kubectl(t, "get", "meshissuer", "mesh", "-o", "jsonpath={.status.ca.serial}")
	}
	before := serial()
	c.helm(t, "install", "signet", c.chart)
	stop := c.run(t)
	c.works(t)
	stop()
	if after := serial(); before == "" || after != before {
		t.Errorf("it signs with the CA %q, signed with %q", after, before)
	}
}
