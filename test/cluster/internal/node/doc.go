// Package node is the inside of a cluster: the first process of its namespaces,
// which prepares mounts and network, starts the components, waits until they
// serve, reaps orphans, and ends everything when one component ends.
//
// It decides what of the host is visible inside. It never restarts a component,
// since a test must see a crash, and never cleans up: when it dies, the kernel
// ends every process and drops every mount and interface of its namespaces.
package node
