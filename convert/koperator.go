// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// koperatorReference names a KafkaCluster of kafka.banzaicloud.io; default namespace: that of the object.
type koperatorReference struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

func (r koperatorReference) in(namespace string) v1alpha1.ClusterReference {
	if r.Namespace != "" {
		namespace = r.Namespace
	}
	return v1alpha1.ClusterReference{Name: r.Name, Namespace: namespace}
}

// koperatorUserSpec is what is read of the spec of a KafkaUser of kafka.banzaicloud.io/v1alpha1.
type koperatorUserSpec struct {
	ClusterRef        koperatorReference `json:"clusterRef"`
	TopicGrants       []koperatorGrant   `json:"topicGrants"`
	IncludeJKS        bool               `json:"includeJKS"`
	ExpirationSeconds *int64             `json:"expirationSeconds"`
}

// koperatorGrant is one grant (UserTopicGrant); patternType is literal where it is not set.
type koperatorGrant struct {
	TopicName   string `json:"topicName"`
	AccessType  string `json:"accessType"`
	PatternType string `json:"patternType"`
}

func koperatorUser(object *unstructured.Unstructured, target Target, c *Converted) error {
	var spec koperatorUserSpec
	// What is about Koperator's own Secret and certificate has no counterpart, and needs none: pods get theirs mounted.
	if err := c.spec(object, &spec, "clusterRef", "topicGrants", "includeJKS", "expirationSeconds", "secretName", "createCert"); err != nil {
		return err
	}
	user := c.user(object, target, spec.ClusterRef.in(object.GetNamespace()))
	if user == nil {
		return nil
	}
	c.note("certificates that Koperator made are of another subject: to let them be the same principal until they are replaced, add CN=%s to externalSubjects, and approve it", object.GetName())
	var certificate v1alpha1.UserCertificate
	if spec.IncludeJKS {
		certificate.Keystores = []v1alpha1.KeystoreFormat{v1alpha1.KeystoreJKS}
		c.note("the JKS keystore is keystore.jks, its password %s, and the trust store is the PEM file ca.crt: client-jks.properties says so", v1alpha1.KeystorePassword)
	}
	if seconds := spec.ExpirationSeconds; seconds != nil {
		if life := time.Duration(*seconds) * time.Second; life >= time.Hour {
			certificate.Duration = &metav1.Duration{Duration: life}
		} else {
			c.note("expirationSeconds %d is not carried over: a certificate lives for an hour at least", *seconds)
		}
	}
	if certificate.Keystores != nil || certificate.Duration != nil {
		user.Spec.Certificate = &certificate
	}
	koperatorRights(spec.TopicGrants, c).declare(user, c)
	c.Object = user
	return nil
}

// koperatorRights collects what grants allow: read is READ and DESCRIBE, write is WRITE, CREATE and DESCRIBE. Beside, a
// reader may join every consumer group, which nobody gets here.
func koperatorRights(grants []koperatorGrant, c *Converted) rights {
	r := newRights()
	reads := false
	for _, grant := range grants {
		n, ok := nameOf(grant.TopicName, grant.PatternType == "prefixed")
		switch {
		case !ok || grant.PatternType != "" && grant.PatternType != "literal" && grant.PatternType != "prefixed":
			c.note("%s access to topics that %s %s is not carried over: a KafkaUser names topics literally or by prefix", grant.AccessType, grant.PatternType, grant.TopicName)
		case grant.AccessType == "read":
			reads = true
			r.topics[n] = append(r.topics[n], read, describe)
		case grant.AccessType == "write":
			r.topics[n] = append(r.topics[n], write, create, describe)
		default:
			c.note("access %s to topic %s is not known", grant.AccessType, grant.TopicName)
		}
	}
	if reads {
		c.note("Koperator lets every reader join every consumer group: list those that it uses under consumerGroups, unless they are named after the namespace, which are free")
	}
	return r
}

func koperatorTopic(object *unstructured.Unstructured, target Target, c *Converted) error {
	var spec struct {
		ClusterRef        koperatorReference `json:"clusterRef"`
		Name              string             `json:"name"`
		Partitions        *int64             `json:"partitions"`
		ReplicationFactor *int64             `json:"replicationFactor"`
		Config            map[string]string  `json:"config"`
	}
	if err := c.spec(object, &spec, "clusterRef", "name", "partitions", "replicationFactor", "config"); err != nil {
		return err
	}
	c.topic(object, target, spec.ClusterRef.in(object.GetNamespace()), spec.Name, spec.Partitions, spec.ReplicationFactor, spec.Config)
	return nil
}
