// Command goclient is a Kafka client as an application would write it with franz-go, for tests and demonstrations:
// it lists topics, produces and consumes with the identity that is mounted into its pod.
//
// It decides nothing about access: what the broker refuses becomes an error on stderr and exit code 1. Each result is
// one JSON line on stdout. It reads its configuration from kafka.json (see [Config]) and never caches a certificate:
// each new connection reads the files again.
package main
