// Package link joins a node's network namespace to the host by a pair of
// virtual Ethernet devices and one route.
//
// It decides which addresses a cluster gets: one /16 that nothing on the host
// uses, with the link, the Services and the pods in parts of it, so that a
// single route lets the host reach them all. It changes nothing else on the
// host: no firewall rule, no forwarding, no default route.
package link
