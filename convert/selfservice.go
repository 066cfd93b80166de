// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/access"
)

// service is one document of a self-service file.
type service struct {
	Name           string   `json:"name"`
	Consume        []string `json:"consume"`
	Produce        []string `json:"produce"`
	Admin          []string `json:"admin"`
	ConsumerGroups []string `json:"consumerGroups"`
}

// SelfService makes a KafkaUser of each document of a self-service file, which has the fields name, consume, produce, admin
// and consumerGroups and no others. The error is a *DocumentError.
func SelfService(text []byte, target Target) ([]Converted, error) {
	if target.Cluster.Name == "" {
		return nil, errors.New("a self-service file names no KafkaCluster: say which")
	}
	var out []Converted
	first := map[string]int{}
	number := 0
	err := documents(text, func(document []byte) error {
		number++
		var s service
		if err := yaml.UnmarshalStrict(document, &s); err != nil {
			return errors.New(strings.ReplaceAll(err.Error(), "json: ", ""))
		}
		if problems := validation.IsDNS1123Label(s.Name); len(problems) > 0 {
			return fmt.Errorf("name %q: %s", s.Name, problems[0])
		}
		if n := first[s.Name]; n > 0 {
			return fmt.Errorf("name %q is taken by service %d of the file", s.Name, n)
		}
		first[s.Name] = number
		user := newUser(target.Namespace, s.Name, target.cluster(target.Cluster, target.Namespace))
		user.Spec.Consume, user.Spec.Produce, user.Spec.Admin, user.Spec.ConsumerGroups = s.Consume, s.Produce, s.Admin, s.ConsumerGroups
		if errs := access.CheckDeclaration(user, nil); len(errs) > 0 {
			return fmt.Errorf("service %s: %w", s.Name, errors.Join(errs...))
		}
		out = append(out, Converted{Source: "service " + s.Name, Object: user})
		return nil
	})
	return out, err
}
