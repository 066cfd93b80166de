// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/test/stack"
)

// filesOf lists the files that a pod of the kcat image has of a KafkaUser.
func (p pod) filesOf(t *testing.T, user string) []string {
	t.Helper()
	out, err := p.exec(t, "ls", mount+user)
	if err != nil {
		t.Fatal(err)
	}
	return sortedFields(out)
}

// Every pod has the first; the second are those for the listener outside.
const (
	plainFiles    = "ca.crt client.properties kafka.json keystore.pem librdkafka.conf tls.crt tls.key"
	externalFiles = "ca-external.crt client-external.properties kafka-external.json librdkafka-external.conf"
)

func sortedFields(lists ...string) []string {
	fields := strings.Fields(strings.Join(lists, " "))
	slices.Sort(fields)
	return fields
}

// TestKeystores: Kafka's Java client connects with a PKCS#12 and with a JKS keystore, by the properties that name them. A pod
// that came before its KafkaUser has them, too. When the declaration no longer asks for them they go, and running pods still
// get everything else that changes.
func TestKeystores(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "keystores")
	granted := ns + "-granted"
	topic(t, granted)
	annotations := map[string]string{"kafka.signet.dev/user": "orders"}
	apply(t, "%s", podManifest(ns, "early", stack.ImageJava, annotations))
	kafkaUser(t, ns, "orders", fmt.Sprintf("consume: [%s]\ncertificate: {keystores: [PKCS12, JKS]}", granted))
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	if by := kubectl(t, "-n", ns, "get", "kafkauser", "orders", "-o", "jsonpath={.status.delivery}"); by != "Secret" {
		t.Errorf("delivered by %q; only the Secret has keystores", by)
	}
	apply(t, "%s", podManifest(ns, "looks", stack.ImageKcat, annotations))
	app := startPod(t, ns, stack.ImageJava, annotations)
	early, looks := pod{ns, "early"}, pod{ns, "looks"}
	early.waitReady(t)
	looks.waitReady(t)

	java := clients()[1]
	for _, test := range []struct {
		pod  pod
		file string
	}{
		{app, "client-pkcs12.properties"}, {app, "client-jks.properties"}, {app, "client-pkcs12-external.properties"}, {app, "client-jks-external.properties"},
		{early, "client-pkcs12.properties"}, {early, "client-jks.properties"},
	} {
		out, err := test.pod.exec(t, append(java.topics(), "--config", mount+"orders/"+test.file)...)
		if err != nil || !slices.Equal(topicNames(t, out), []string{granted}) {
			t.Errorf("pod %s with %s: %v: %s", test.pod.name, test.file, err, out)
		}
	}
	if principal := "User:" + ns + ".orders"; !brokerSaw(t, principal) {
		t.Errorf("the broker did not see %s", principal)
	}

	want := sortedFields(plainFiles, externalFiles, "keystore.p12 keystore.jks client-pkcs12.properties client-jks.properties client-pkcs12-external.properties client-jks-external.properties")
	if got := looks.filesOf(t, "orders"); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	kafkaUser(t, ns, "orders", fmt.Sprintf("consume: [%s]\ncertificate: {keystores: [JKS]}", granted))
	want = sortedFields(plainFiles, externalFiles, "keystore.jks client-jks.properties client-jks-external.properties")
	eventually(t, "the PKCS#12 keystore goes from a running pod", func() (bool, string) {
		got := looks.filesOf(t, "orders")
		return slices.Equal(got, want), strings.Join(got, " ")
	})
	if out, err := app.exec(t, append(java.topics(), "--config", mount+"orders/client-jks.properties")...); err != nil {
		t.Errorf("with the keystore that is left: %v: %s", err, out)
	}
}

// TestFilesForEachListener: the files for the listener outside let each client in, from within a pod; they come, change and go
// with the listener while a pod runs.
func TestFilesForEachListener(t *testing.T) {
	t.Parallel()
	ns := namespace(t, "listeners")
	granted := ns + "-granted"
	topic(t, granted)
	kafkaUser(t, ns, "orders", fmt.Sprintf("consume: [%s]", granted))
	waitCondition(t, ns, "kafkauser", "orders", "Ready", "True", "")
	outside := fmt.Sprintf("%s:%d", s.NodeIP, stack.ExternalPort)
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			name := strings.ToLower(c.name)
			apply(t, "%s", podManifest(ns, name, c.image, map[string]string{"kafka.signet.dev/user": "orders"}))
			p := pod{ns, name}
			p.waitReady(t)
			command := map[string][]string{
				"franz-go": append(c.topics(), "--config", mount+"orders/kafka-external.json"),
				"Java":     append(c.topics(), "--config", mount+"orders/client-external.properties"),
				"kcat":     {"kcat", "-F", mount + "orders/librdkafka-external.conf", "-L", "-J"},
			}[c.name]
			out, err := p.exec(t, command...)
			if err != nil || !slices.Equal(topicNames(t, out), []string{granted}) {
				t.Fatalf("%v: %s", err, out)
			}
			// kcat tells which brokers it was sent to.
			if c.name == "kcat" && !strings.Contains(out, outside) {
				t.Errorf("it was not at %s: %s", outside, out)
			}
		})
	}

	apply(t, "%s", clusterManifest(ns, "own", "mesh", "kafka.kafka.svc:9093", "{}"))
	apply(t, "%s", ownUser(ns, "roamer", "own"))
	waitCondition(t, ns, "kafkauser", "roamer", "CertificateReady", "True", "")
	apply(t, "%s", podManifest(ns, "roams", stack.ImageKcat, map[string]string{"kafka.signet.dev/user": "roamer"}))
	p := pod{ns, "roams"}
	p.waitReady(t)
	if got := p.filesOf(t, "roamer"); !slices.Equal(got, sortedFields(plainFiles)) {
		t.Errorf("with one listener: %q", got)
	}
	patch := func(operation string) {
		kubectl(t, "-n", ns, "patch", "kafkacluster", "own", "--type=json", "-p", "["+operation+"]")
	}
	reads := func(file, want string) {
		t.Helper()
		eventually(t, file+" of a running pod has "+want, func() (bool, string) {
			out, err := s.Kubectl(t.Context(), "", "-n", ns, "exec", p.name, "-c", "app", "--", "cat", mount+"roamer/"+file)
			return err == nil && strings.Contains(out, want), fmt.Sprint(out, err)
		})
	}
	patch(`{"op":"add","path":"/spec/listeners/-","value":{"name":"external","scope":"External","bootstrapServers":["kafka.example.com:9094"]}}`)
	reads("client-external.properties", "bootstrap.servers=kafka.example.com:9094\n")
	reads("librdkafka-external.conf", "bootstrap.servers=kafka.example.com:9094\n")
	reads("kafka-external.json", `"kafka.example.com:9094"`)
	reads("ca-external.crt", "BEGIN CERTIFICATE")
	reads("client.properties", "bootstrap.servers=kafka.kafka.svc:9093\n")
	patch(`{"op":"replace","path":"/spec/listeners/1/bootstrapServers/0","value":"kafka.example.org:9094"}`)
	reads("client-external.properties", "bootstrap.servers=kafka.example.org:9094\n")
	patch(`{"op":"remove","path":"/spec/listeners/1"}`)
	eventually(t, "the files go with the listener", func() (bool, string) {
		got := p.filesOf(t, "roamer")
		return slices.Equal(got, sortedFields(plainFiles)), strings.Join(got, " ")
	})
}
