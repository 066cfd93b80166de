// Package plan decides what runs on a node and with which settings: command
// lines, configuration files, order.
//
// It is a function from a few addresses and paths to text. It never starts,
// reads or writes anything; package node and the cluster command do.
package plan
