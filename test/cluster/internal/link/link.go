package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// device is the node's end of the link, inside its namespace.
const device = "eth0"

// Used returns the IPv4 prefixes that the host's addresses and routes occupy.
func Used() ([]netip.Prefix, error) {
	var used []netip.Prefix
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		used = appendPrefix(used, a.IPNet)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		used = appendPrefix(used, r.Dst)
	}
	return used, nil
}

func appendPrefix(list []netip.Prefix, n *net.IPNet) []netip.Prefix {
	if n == nil {
		return list
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	if !ok || ones == 0 {
		return list
	}
	return append(list, netip.PrefixFrom(addr.Unmap(), ones).Masked())
}

// Connect makes the host's device name, puts its other end into the network
// namespace of the process, and routes the cluster's network to it.
func Connect(name string, s Subnet, pid int) error {
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name},
		PeerName:      device,
		PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("interface %s: add: %w", name, err)
	}
	host, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if err := address(host, netip.PrefixFrom(s.Host, s.Link.Bits())); err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: host.Attrs().Index, Dst: ipNet(s.Network), Gw: s.Node.AsSlice()}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("route %s via %s: %w", s.Network, s.Node, err)
	}
	return nil
}

// Configure sets up the node's end: called inside the node's namespace.
func Configure(s Subnet) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("interface lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("interface lo: %w", err)
	}
	eth, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("interface %s: %w", device, err)
	}
	if err := address(eth, netip.PrefixFrom(s.Node, s.Link.Bits())); err != nil {
		return err
	}
	// Components look for the default route to find the node's own address.
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: s.Host.AsSlice()}); err != nil {
		return fmt.Errorf("default route via %s: %w", s.Host, err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("enable forwarding: %w", err)
	}
	return nil
}

// Disconnect removes the host's device, and with it the other end and the
// route. A device that is not there is no error.
func Disconnect(name string) error {
	l, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.As(err, &missing) {
		if _, gone := netlink.LinkByName(name); errors.As(gone, &missing) {
			return nil
		}
		return fmt.Errorf("interface %s: remove: %w", name, err)
	}
	return nil
}

func address(l netlink.Link, p netip.Prefix) error {
	if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
		return fmt.Errorf("interface %s: address %s: %w", l.Attrs().Name, p, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("interface %s: up: %w", l.Attrs().Name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
