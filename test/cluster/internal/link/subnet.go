package link

import (
	"errors"
	"net/netip"
)

// Subnet is the address plan of one cluster.
type Subnet struct {
	// Network is the whole /16.
	Network netip.Prefix
	// Link is the /30 of the device pair, Host and Node its two addresses.
	Link       netip.Prefix
	Host, Node netip.Addr
	// Services (/18) and Pods (/17) are Kubernetes' own ranges.
	Services, Pods netip.Prefix
	// DNS is the name server's ClusterIP, the tenth as everywhere.
	DNS netip.Addr
}

// Choose returns the first of 10.128.0.0/16 … 10.254.0.0/16 that overlaps none
// of the prefixes in use on the host (addresses and routes, without the
// default route). On a host that routes all of 10.0.0.0/8, for example into a
// VPN, a /16 is taken out of it, as long as nothing more precise is there.
func Choose(used []netip.Prefix) (Subnet, error) {
	for _, wide := range []int{0, 8} {
		for n := 128; n < 255; n++ {
			network := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n)}), 16)
			free := true
			for _, u := range used {
				if u.Bits() > wide && u.Overlaps(network) {
					free = false
					break
				}
			}
			if free {
				return subnet(byte(n)), nil
			}
		}
	}
	return Subnet{}, errors.New("no free network: every /16 from 10.128 to 10.254 is in use on this machine (cluster down --all removes clusters; ip route shows the rest)")
}

func subnet(n byte) Subnet {
	at := func(c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{10, n, c, d}) }
	return Subnet{
		Network:  netip.PrefixFrom(at(0, 0), 16),
		Link:     netip.PrefixFrom(at(0, 0), 30),
		Host:     at(0, 1),
		Node:     at(0, 2),
		Services: netip.PrefixFrom(at(64, 0), 18),
		Pods:     netip.PrefixFrom(at(128, 0), 17),
		DNS:      at(64, 10),
	}
}

// ServiceAddress is the ClusterIP of the API server itself, the first one.
func (s Subnet) ServiceAddress() netip.Addr { return s.Services.Addr().Next() }
