// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signet-kafka/signet/test/await"
	"github.com/signet-kafka/signet/test/stack"
)

// s is the stack that all tests share, and stage the namespaces that they share.
var (
	s     *stack.Stack
	stage scene
)

const (
	// patience is how long a state may take to come about. A test that waits so long fails.
	patience = 60 * time.Second
	// mallory is the attacker's user name.
	mallory = "mallory"
	// certManager is the user name of cert-manager's controller.
	certManager = "system:serviceaccount:cert-manager:cert-manager"
	// node is the user name of the node, for what a thief of the kubelet's credentials could do.
	node = "system:node:node1"
	// opaque is all that the sender of a denied request learns beside the one-word reason.
	opaque = "this issuer signs only the certificates of KafkaUsers, for those who may ask for them; the audit log of the Signet controller says what was wrong with this request"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx := context.Background()
	var done func(context.Context) error
	var err error
	if s, done, err = stack.ForTests(ctx, "attack", os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		return 1
	}
	defer func() {
		if err := done(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "attack: cluster down:", err)
			code = 1
		}
	}()
	defer func() {
		if err := leave(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "attack: something is left behind:", err)
			code = 1
		}
	}()
	if stage, err = newScene(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		return 1
	}
	return m.Run()
}

// scene is a namespace of mallory's with the KafkaUser mine, for which she may sign, and a victim's with the KafkaUser
// orders.
type scene struct{ home, victim string }

// newScene makes the scene and waits until both KafkaUsers have their certificates.
func newScene(ctx context.Context) (scene, error) {
	sc := scene{home: unique("mallory"), victim: unique("victim")}
	if err := sc.declare(ctx); err != nil {
		return sc, err
	}
	for _, u := range []struct{ namespace, name string }{{sc.home, "mine"}, {sc.victim, "orders"}} {
		if _, err := s.Kubectl(ctx, "", "-n", u.namespace, "wait", "--for=condition=Ready", "kafkauser/"+u.name, "--timeout=60s"); err != nil {
			return sc, err
		}
	}
	return sc, nil
}

func (sc scene) declare(ctx context.Context) error {
	leaves(&shared.namespaces, sc.home, sc.victim)
	return s.Apply(ctx, namespaceManifest(sc.home)+namespaceManifest(sc.victim)+developer(sc.home)+signer(sc.home, "mine")+
		kafkaUserManifest(sc.home, "mine", "consume: []")+kafkaUserManifest(sc.victim, "orders", "consume: []"))
}

func namespaceManifest(name string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Namespace
metadata: {name: %s}
`, name)
}

// developer gives mallory what the developers of a namespace have, and lets her ask for certificates from outside.
func developer(namespace string) string {
	return fmt.Sprintf(`
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: edit, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[2]s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: kafka, namespace: %[1]s}
rules: [{apiGroups: [kafka.signet.dev], resources: [kafkausers], verbs: [get, list, watch, create, update, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: kafka, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: kafka}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[2]s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: signet-attack}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: signet-external-client}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[2]s}]
`, namespace, mallory)
}

// signer lets mallory sign for one KafkaUser.
func signer(namespace, user string) string {
	return fmt.Sprintf(`
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: sign-%[2]s, namespace: %[1]s}
rules: [{apiGroups: [kafka.signet.dev], resources: [kafkausers], resourceNames: [%[2]s], verbs: [sign]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: sign-%[2]s, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: sign-%[2]s}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[3]s}]
`, namespace, user, mallory)
}

// kafkaUserManifest declares a KafkaUser; spec is one line of YAML.
func kafkaUserManifest(namespace, name, spec string) string {
	return fmt.Sprintf(`
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: %s, namespace: %s}
spec:
  clusterRef: {name: kafka, namespace: kafka}
  %s
`, name, namespace, spec)
}

var counter atomic.Int64

// unique returns a name that no other object has.
func unique(prefix string) string {
	return fmt.Sprintf("%s-%d-%d", prefix, time.Now().Unix()%1e6, counter.Add(1))
}

// shared is what the tests, which run side by side, have in common.
var shared = struct {
	sync.Mutex
	// namespaces are to be removed at the end, because a namespace takes seconds to go, and so are the requests, which are
	// CertificateSigningRequests and in none.
	namespaces, requests []string
	// uids are those that were asked for, by namespace, kind and name: what they belong to is not made anew under its name.
	uids map[[3]string]string
	// audit is what was last read of the audit log.
	audit []auditLine
}{uids: map[[3]string]string{}}

// leaves notes names in a list of shared.
func leaves(list *[]string, names ...string) {
	shared.Lock()
	defer shared.Unlock()
	*list = append(*list, names...)
}

// leave removes what the tests made in the cluster, and releases the principals that the ledger keeps for it.
func leave(ctx context.Context) error {
	var problems []error
	do := func(args ...string) {
		if _, err := s.Kubectl(ctx, "", args...); err != nil {
			problems = append(problems, err)
		}
	}
	do("delete", "clusterrolebinding", "signet-attack", "--ignore-not-found")
	if len(shared.requests) > 0 {
		do(append([]string{"delete", "csr", "--ignore-not-found"}, shared.requests...)...)
	}
	for _, namespace := range shared.namespaces {
		do("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
	}
	for _, namespace := range shared.namespaces {
		do("wait", "--for=delete", "namespace/"+namespace, "--timeout=90s")
	}
	mappings, err := s.Kubectl(ctx, "", "-n", "kafka", "get", "principalmappings", "-o", `jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}`)
	if err != nil {
		problems = append(problems, err)
	}
	for _, mapping := range strings.Fields(mappings) {
		for _, namespace := range shared.namespaces {
			if strings.HasPrefix(mapping, namespace+".") {
				do("-n", "kafka", "delete", "principalmapping", mapping)
			}
		}
	}
	return errors.Join(problems...)
}

// own returns a namespace of mallory's for one test, with these KafkaUsers ready.
func own(t *testing.T, users ...string) string {
	t.Helper()
	name := unique("attack")
	leaves(&shared.namespaces, name)
	manifests := []string{namespaceManifest(name), developer(name)}
	for _, user := range users {
		manifests = append(manifests, kafkaUserManifest(name, user, "consume: []"))
	}
	apply(t, strings.Join(manifests, ""))
	for _, user := range users {
		kubectl(t, "-n", name, "wait", "--for=condition=Ready", "kafkauser/"+user, "--timeout=60s")
	}
	return name
}

// kubectl runs kubectl as the administrator and fails the test where it fails.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.Kubectl(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply applies manifests as the administrator.
func apply(t *testing.T, manifests string) {
	t.Helper()
	if err := s.Apply(t.Context(), manifests); err != nil {
		t.Fatal(err)
	}
}

// as runs kubectl as somebody else and returns what it says, on standard output or, where it fails, on standard error.
func as(t *testing.T, user, stdin string, args ...string) (out string, ok bool) {
	t.Helper()
	flags := []string{"--as=" + user}
	if user == node {
		flags = append(flags, "--as-group=system:nodes")
	}
	out, err := s.Kubectl(t.Context(), stdin, append(flags, args...)...)
	var failed *stack.CommandError
	switch {
	case errors.As(err, &failed) && failed.ExitCode > 0:
		return failed.Stderr, false
	case err != nil:
		t.Fatal(err)
	}
	return out, true
}

// mustAs is as, where the API server is to let it happen.
func mustAs(t *testing.T, user, stdin string, args ...string) string {
	t.Helper()
	out, ok := as(t, user, stdin, args...)
	if !ok {
		t.Fatalf("%s is refused kubectl %s: %s\n%s", user, strings.Join(args, " "), out, stdin)
	}
	return out
}

// forbidden holds that the API server itself refuses, and says this.
func forbidden(t *testing.T, user, stdin, says string, args ...string) {
	t.Helper()
	out, ok := as(t, user, stdin, args...)
	if ok {
		t.Errorf("%s is allowed kubectl %s: %s\n%s", user, strings.Join(args, " "), out, stdin)
	} else if !strings.Contains(out, says) {
		t.Errorf("kubectl %s as %s says %q, want something with %q", strings.Join(args, " "), user, out, says)
	}
}

// eventually waits until check is satisfied; check returns what is the matter otherwise.
func eventually(t *testing.T, what string, check func() (ok bool, state string)) {
	t.Helper()
	await.Until(t, patience, what, check)
}

// condition is one condition of an object's status.
type condition struct{ Type, Status, Reason, Message string }

// object is what the tests read of a request of any kind, a KafkaUser, a Secret.
type object struct {
	Metadata struct {
		Name, UID, Namespace string
		Annotations          map[string]string
	}
	Spec struct {
		Request, PodName, ServiceAccountName, NodeName string
	}
	Status struct {
		Certificate, CA, CertificateChain string
		Conditions                        []condition
		PendingSubjects                   []string
		Effective                         int
	}
	Data map[string]string
}

func (o object) condition(conditionType string) condition {
	for _, c := range o.Status.Conditions {
		if c.Type == conditionType {
			return c
		}
	}
	return condition{}
}

// list returns the objects of a kind in a namespace.
func list(t *testing.T, namespace, kind string) []object {
	t.Helper()
	var l struct{ Items []object }
	if err := json.Unmarshal([]byte(kubectl(t, "-n", namespace, "get", kind, "-o", "json")), &l); err != nil {
		t.Fatal(err)
	}
	return l.Items
}

// get reads one object; kind may be cluster-wide, with namespace "".
func get(t *testing.T, namespace, kind, name string) object {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(kubectl(t, "-n", namespace, "get", kind, name, "-o", "json")), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// uid returns the UID of an object.
func uid(t *testing.T, namespace, kind, name string) string {
	t.Helper()
	key := [3]string{namespace, kind, name}
	shared.Lock()
	known := shared.uids[key]
	shared.Unlock()
	if known == "" {
		known = kubectl(t, "-n", namespace, "get", kind, name, "-o", "jsonpath={.metadata.uid}")
		shared.Lock()
		shared.uids[key] = known
		shared.Unlock()
	}
	return known
}

// auditLine is one line of the controller's audit log.
type auditLine struct {
	Msg, Outcome, Requester, Pod, Object, Reason, Detail, Subject, URI, Serial string
}

// readAudit reads the audit log of the controllers that run.
func readAudit(t *testing.T) {
	t.Helper()
	var lines []auditLine
	for line := range strings.Lines(kubectl(t, "-n", stack.Namespace, "logs", "-l", "app.kubernetes.io/component=controller", "--since=5m", "--tail=-1")) {
		var l auditLine
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "certificate decision" {
			lines = append(lines, l)
		}
	}
	shared.Lock()
	defer shared.Unlock()
	shared.audit = lines
}

// audit returns the lines that were last read about an object.
func audit(object string) []auditLine {
	shared.Lock()
	defer shared.Unlock()
	return slices.DeleteFunc(slices.Clone(shared.audit), func(l auditLine) bool { return l.Object != object })
}

// answer is what is to become of a request.
type answer struct {
	// kind, namespace and name of the request.
	kind, namespace, name string
	// requester is whom the audit log is to name.
	requester string
	// reason is the one word.
	reason string
	// message is what the requester is told; "" for the opaque sentence.
	message string
	// again tells that an honest request had the name before.
	again bool
}

func (a answer) object() string {
	if a.namespace == "" {
		return a.kind + " " + a.name
	}
	return a.kind + " " + a.namespace + "/" + a.name
}

// text is what the requester is told.
func (a answer) text() string { return cmp.Or(a.message, opaque) }

// denied waits until the request is denied, and holds that nothing was signed, that the requester is told no more than the
// answer's words, and that the audit log has them with the requester.
func (a answer) denied(t *testing.T) {
	t.Helper()
	var o object
	eventually(t, a.object()+" is denied", func() (bool, string) {
		o = get(t, a.namespace, a.kind, a.name)
		return o.condition("Denied").Status == "True", fmt.Sprintf("%+v", o.Status)
	})
	if c := o.condition("Denied"); c.Reason != a.reason || c.Message != a.text() {
		t.Errorf("%s: %s: %q, want %s: %q", a.object(), c.Reason, c.Message, a.reason, a.text())
	}
	a.unsigned(t, o)
	a.audited(t, "denied")
}

// unsigned holds that the request carries nothing, and that its conditions say no more than they should.
func (a answer) unsigned(t *testing.T, o object) {
	t.Helper()
	if o.Status.Certificate+o.Status.CA+o.Status.CertificateChain != "" {
		t.Errorf("%s carries a certificate", a.object())
	}
	for _, c := range o.Status.Conditions {
		if c.Type != "Approved" && c.Message != a.text() && c.Message != a.reason+": "+a.text() {
			t.Errorf("%s: condition %s says %q", a.object(), c.Type, c.Message)
		}
	}
}

// audited holds that the audit log says this of the request, with requester, reason and detail, and that nothing was issued.
func (a answer) audited(t *testing.T, outcome string) {
	t.Helper()
	known := true // many requests are answered before the first is looked at
	eventually(t, a.object()+" is in the audit log", func() (bool, string) {
		if !known {
			readAudit(t)
		}
		known = false
		lines := audit(a.object())
		for _, l := range lines {
			if !a.again && (l.Outcome == "issued" || l.Serial != "") {
				t.Errorf("the audit log says that it was issued: %+v", l)
			}
		}
		for _, l := range lines {
			if l.Outcome == outcome && l.Requester == a.requester && l.Reason == a.reason && l.Detail != "" {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", lines)
	})
}

// cleanup runs kubectl as the administrator after a test, whose own context has ended by then.
func cleanup(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := s.Kubectl(ctx, "", args...)
	if err != nil {
		return err.Error(), false
	}
	return out, true
}
