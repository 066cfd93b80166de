// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// serverTLS returns a certificate for 127.0.0.1 and what trusts it.
func serverTLS(t *testing.T) (server, trusting *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kfake"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}

// withKfake returns a harness with franz-go's in-process Kafka behind TLS.
func withKfake(t *testing.T) (*harness, *kfake.Cluster) {
	t.Helper()
	server, trusting := serverTLS(t)
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	return newHarness(t, &adminTLS{config: trusting}, kafka.ListenAddrs()), kafka
}

func TestControllers(t *testing.T) {
	for name, scenario := range scenarios {
		t.Run(name, func(t *testing.T) {
			h, _ := withKfake(t)
			scenario(t, h)
		})
	}
}

// TestOneRefusedAmongMany holds that a binding that the broker refuses shows on its user and holds nobody else up.
func TestOneRefusedAmongMany(t *testing.T) {
	h, kafka := withKfake(t)
	kafka.ControlKey(int16(kmsg.CreateACLs), func(request kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		creations := request.(*kmsg.CreateACLsRequest).Creations
		refused := -1
		for i, c := range creations {
			if c.ResourceName == "cursed" && c.Operation == kmsg.ACLOperationRead {
				refused = i
			}
		}
		if refused < 0 {
			return nil, nil, false
		}
		// kfake has no way to refuse one: let it have none, and answer as a broker that took the others would.
		response := request.ResponseKind().(*kmsg.CreateACLsResponse)
		for i := range creations {
			result := kmsg.NewCreateACLsResponseResult()
			if i == refused {
				result.ErrorCode, result.ErrorMessage = kerr.InvalidRequest.Code, kmsg.StringPtr("no such luck")
			}
			response.Results = append(response.Results, result)
		}
		return response, nil, true
	})
	cursed := h.user("shop", "cursed", v1alpha1.KafkaUserSpec{Consume: []string{"cursed"}})
	fine := h.user("shop", "fine", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	if wait := h.pass(); wait > retryRefused {
		t.Errorf("tried again after %s", wait)
	}
	c := h.wantReason(cursed, v1alpha1.ReasonRefusedByBroker)
	for _, want := range []string{"1 bindings refused", "READ on TOPIC LITERAL cursed", "INVALID_REQUEST", "no such luck"} {
		if !strings.Contains(c.Message, want) {
			t.Errorf("message lacks %q: %s", want, c.Message)
		}
	}
	if *cursed.Status.ACLs != 4 {
		t.Errorf("status.acls %d, want 4", *cursed.Status.ACLs)
	}
	if c := h.synced(fine); c.Status != metav1.ConditionTrue {
		t.Errorf("another user: %s: %s", c.Reason, c.Message)
	}
	kafka.DropControl()
}

// TestWholeRequestRefused holds what is said where the brokers have no authorizer, or where Signet is no super user.
func TestWholeRequestRefused(t *testing.T) {
	for _, c := range []struct {
		code *kerr.Error
		want string
	}{
		{kerr.SecurityDisabled, "authorizer.class.name"},
		{kerr.ClusterAuthorizationFailed, "status.adminPrincipal a super user"},
	} {
		t.Run(c.code.Message, func(t *testing.T) {
			h, kafka := withKfake(t)
			kafka.ControlKey(int16(kmsg.DescribeACLs), func(request kmsg.Request) (kmsg.Response, error, bool) {
				kafka.KeepControl()
				response := request.ResponseKind().(*kmsg.DescribeACLsResponse)
				response.ErrorCode = c.code.Code
				return response, nil, true
			})
			user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
			h.pass()
			for _, got := range []metav1.Condition{h.wantReason(user, v1alpha1.ReasonRefusedByBroker), h.ask()} {
				if got.Reason != v1alpha1.ReasonRefusedByBroker || !strings.Contains(got.Message, c.want) {
					t.Errorf("%s: %s, want %q", got.Reason, got.Message, c.want)
				}
			}
		})
	}
}

// TestNothingIsAskedOfAnEmptyPrincipal watches every request about ACLs while users have no principal that could be
// told, one of them with a finalizer, one that is being deleted.
func TestNothingIsAskedOfAnEmptyPrincipal(t *testing.T) {
	h, kafka := withKfake(t)
	asked := 0
	look := func(what string, principal *string) {
		asked++
		if principal != nil && *principal == "" {
			t.Errorf("%s of an empty principal", what)
		}
	}
	for _, key := range []kmsg.Key{kmsg.DescribeACLs, kmsg.CreateACLs, kmsg.DeleteACLs} {
		kafka.ControlKey(int16(key), func(request kmsg.Request) (kmsg.Response, error, bool) {
			kafka.KeepControl()
			switch request := request.(type) {
			case *kmsg.DescribeACLsRequest:
				look("description", request.Principal)
			case *kmsg.CreateACLsRequest:
				for _, c := range request.Creations {
					look("creation", &c.Principal)
				}
			case *kmsg.DeleteACLsRequest:
				for _, f := range request.Filters {
					if f.Principal == nil {
						t.Error("deletion of every principal's")
					}
					look("deletion", f.Principal)
				}
			}
			return nil, nil, false
		})
	}
	h.template("{namespace}-{serviceAccount}")
	spec := v1alpha1.KafkaUserSpec{Consume: []string{"payments"}}
	leaving := h.user("shop", "leaving", spec)
	leaving.Finalizers = []string{Finalizer}
	h.must(h.api.Update(h.ctx, leaving))
	h.pass()
	h.fullPass()
	h.must(h.api.Delete(h.ctx, leaving))
	h.look(leaving)
	h.user("shop", "none", spec)
	fine := spec
	fine.Workload = &v1alpha1.Workload{ServiceAccountName: "web"}
	with := h.user("shop", "with", fine)
	h.pass()
	h.fullPass()
	h.edit(with, func(s *v1alpha1.KafkaUserSpec) { s.Consume = nil })
	h.pass()
	if asked == 0 {
		t.Error("nothing was asked at all")
	}
	if c := h.synced(with); c.Status != metav1.ConditionTrue {
		t.Errorf("a user with a principal: %s: %s", c.Reason, c.Message)
	}
	if !h.gone(leaving) {
		t.Error("a user without a principal cannot be deleted")
	}
}

// TestOutage holds that an outage delays and loses nothing: users that were in force stay so, others say Unreachable,
// the cluster is left alone for a while, and one sign of life brings everything up to date.
func TestOutage(t *testing.T) {
	h, _ := withKfake(t)
	before := h.user("shop", "before", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	h.pass()
	h.wantSynced(before)

	identity := h.users.Connections.identity.(*adminTLS)
	working := identity.config
	identity.answer(nil, errors.New("the issuer is not ready"))
	h.users.Connections.CloseAll()
	during := h.user("shop", "during", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	leaving := h.user("shop", "leaving", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
	first := h.pass()
	if c := h.wantReason(during, v1alpha1.ReasonUnreachable); !strings.Contains(c.Message, "the issuer is not ready") {
		t.Errorf("message without the cause: %s", c.Message)
	}
	if c := h.synced(before); c.Status != metav1.ConditionTrue {
		t.Errorf("a user in force became %s: %s", c.Reason, c.Message)
	}
	if c := h.ask(); c.Reason != v1alpha1.ReasonUnreachable {
		t.Errorf("Reachable: %s: %s", c.Reason, c.Message)
	}
	if wait := h.pass(); wait > first {
		t.Errorf("while left alone: next look after %s, the first said %s", wait, first)
	}
	var waits []time.Duration
	for range 8 {
		h.now = h.now.Add(2 * time.Minute)
		waits = append(waits, h.pass())
	}
	if waits[1] <= first || waits[7] > maxRetry*11/10 {
		t.Errorf("waits do not grow to %s: %s, then %v", maxRetry, first, waits)
	}
	h.must(h.api.Delete(h.ctx, leaving))
	h.must(h.api.Delete(h.ctx, before))
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(before))
	h.pass()
	if c := h.wantReason(before, v1alpha1.ReasonUnreachable); !strings.Contains(c.Message, "deletion waits") {
		t.Errorf("deletion during an outage: %s", c.Message)
	}

	identity.answer(working, nil)
	if c := h.ask(); c.Status != metav1.ConditionTrue {
		t.Errorf("Reachable again: %s: %s", c.Reason, c.Message)
	}
	h.fullPass()
	h.wantSynced(during)
	if !h.gone(before) || len(h.held("User:shop.before")) != 0 {
		t.Error("the deletion of the outage was lost")
	}
}

// TestInvalidCluster holds what is said of a KafkaCluster that got past the API server's validation.
func TestInvalidCluster(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.KafkaCluster){
		"no such listener": func(c *v1alpha1.KafkaCluster) { c.Spec.Admin.Listener = "none" },
		"malformed selector": func(c *v1alpha1.KafkaCluster) {
			c.Spec.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := withKfake(t)
			user := h.user("shop", "orders", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
			h.pass()
			h.wantSynced(user)
			var cluster v1alpha1.KafkaCluster
			h.must(h.api.Get(h.ctx, h.cluster, &cluster))
			change(&cluster)
			cluster.Generation++
			h.must(h.api.Update(h.ctx, &cluster))
			late := h.user("shop", "late", v1alpha1.KafkaUserSpec{Consume: []string{"payments"}})
			h.fullPass()
			h.wantReason(late, v1alpha1.ReasonInvalid)
			if c := h.ask(); c.Reason != v1alpha1.ReasonInvalid {
				t.Errorf("Reachable: %s: %s", c.Reason, c.Message)
			}
		})
	}
}

// TestConcerns holds which changes of a KafkaUser make a pass, and that the controller's own do not.
func TestConcerns(t *testing.T) {
	base := newUser(func(*v1alpha1.KafkaUserSpec) {})
	base.Status.Conditions = []metav1.Condition{recorded(metav1.ConditionTrue, v1alpha1.ReasonReady, 1)}
	base.Finalizers = []string{Finalizer}
	for name, c := range map[string]struct {
		change func(*v1alpha1.KafkaUser)
		want   bool
	}{
		"declaration":         {func(u *v1alpha1.KafkaUser) { u.Generation++ }, true},
		"mapping":             {func(u *v1alpha1.KafkaUser) { u.Status.Conditions[0].ObservedGeneration++ }, true},
		"mapping gone":        {func(u *v1alpha1.KafkaUser) { u.Status.Conditions = nil }, true},
		"deletion":            {func(u *v1alpha1.KafkaUser) { u.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, true},
		"finalizer by hand":   {func(u *v1alpha1.KafkaUser) { u.Finalizers = nil }, true},
		"another object":      {func(u *v1alpha1.KafkaUser) { u.UID = "new" }, true},
		"own status":          {func(u *v1alpha1.KafkaUser) { n := int32(3); u.Status.ACLs = &n }, false},
		"somebody's label":    {func(u *v1alpha1.KafkaUser) { u.Labels = map[string]string{"a": "b"} }, false},
		"another's finalizer": {func(u *v1alpha1.KafkaUser) { u.Finalizers = append(u.Finalizers, "x/y") }, false},
	} {
		after := base.DeepCopy()
		c.change(after)
		if got := concerns(base, after); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
