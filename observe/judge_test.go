// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
)

func TestJudge(t *testing.T) {
	const name = "User:shop.orders"
	cluster := testCluster(v1alpha1.ClusterPolicy{})
	cluster.Spec.Authorization = &v1alpha1.Authorization{Mode: v1alpha1.AuthorizationHybrid}
	user := testUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"orders"} })
	user.Generation = 3
	rules := access.RulesOf(access.Grants(user, cluster, access.Facts{}))
	for title, test := range map[string]struct {
		uses        []Use
		enforcement v1alpha1.Enforcement
		status      metav1.ConditionStatus
		reason      string
		denied      int32
		effective   v1alpha1.EffectiveAuthorization
		says        string
	}{
		"ready":                          {seen(name, "READ TOPIC orders"), "", metav1.ConditionTrue, v1alpha1.ReasonNothingDenied, 0, v1alpha1.Audited, "everything"},
		"enforced":                       {seen(name, "READ TOPIC orders"), v1alpha1.EnforcementEnforce, metav1.ConditionTrue, v1alpha1.ReasonNothingDenied, 0, v1alpha1.Enforced, "everything"},
		"not ready":                      {seen(name, "?READ TOPIC x", "?READ TOPIC a b"), "", metav1.ConditionFalse, v1alpha1.ReasonWouldBeDenied, 2, v1alpha1.Audited, "2 of the accesses of the last 30 days are allowed by no ACL, such as READ on topic x"},
		"never seen":                     {nil, "", metav1.ConditionUnknown, v1alpha1.ReasonNotSeen, 0, v1alpha1.Audited, name},
		"seen long ago":                  {seen(name, "-READ TOPIC x"), "", metav1.ConditionUnknown, v1alpha1.ReasonNotSeen, 0, v1alpha1.Audited, name},
		"tolerated once, granted by now": {seen(name, "?READ TOPIC orders"), "", metav1.ConditionTrue, v1alpha1.ReasonNothingDenied, 0, v1alpha1.Audited, "everything"},
	} {
		t.Run(title, func(t *testing.T) {
			user := user.DeepCopy()
			user.Spec.Enforcement = test.enforcement
			s := Judge(user, cluster, name, test.uses, rules, noon)
			if s.Ready.Status != test.status || s.Ready.Reason != test.reason || !strings.Contains(s.Ready.Message, test.says) || s.Ready.ObservedGeneration != 3 || s.Observed.WouldBeDenied != test.denied || s.Observed.Authorization != test.effective {
				t.Errorf("%+v", s)
			}
			if (s.Observed.LastSeen == nil) != (len(test.uses) == 0) {
				t.Errorf("last seen %v", s.Observed.LastSeen)
			}
			if !s.changed(&user.Status) {
				t.Error("the first summary is nothing new")
			}
			// What was written is not written again, until an hour has passed or something else is to be said.
			user.Status.Observed, user.Status.Conditions = &s.Observed, []metav1.Condition{s.Ready}
			if len(test.uses) == 0 {
				return
			}
			later := func(by time.Duration) []Use {
				uses := slices.Clone(test.uses)
				for i := range uses {
					uses[i].Last = uses[i].Last.Add(by)
				}
				return uses
			}
			if again := Judge(user, cluster, name, later(59*time.Minute), rules, noon); again.changed(&user.Status) {
				t.Errorf("after 59 minutes: %+v", again)
			}
			if again := Judge(user, cluster, name, later(time.Hour), rules, noon); !again.changed(&user.Status) || !again.Observed.LastSeen.After(s.Observed.LastSeen.Time) {
				t.Errorf("after an hour: %+v", again)
			}
			user.Generation++
			if again := Judge(user, cluster, name, test.uses, rules, noon); !again.changed(&user.Status) {
				t.Error("another generation is nothing new")
			}
		})
	}
}
