// Package cgroup gives a cluster its own subtree in every control group
// hierarchy of the machine (version 1, version 2, or both), and removes it.
//
// It decides where that subtree is: below each hierarchy's visible root, under
// one name. Inside, the node sees its subtree as the root (a cgroup namespace),
// so whatever containers create is removed with it.
package cgroup
