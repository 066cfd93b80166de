package link

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(t *testing.T, list ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestChoose(t *testing.T) {
	var everything []string
	for n := 128; n < 255; n++ {
		everything = append(everything, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n), 3, 0}), 24).String())
	}
	tests := []struct {
		name, want string
		used       []string
	}{
		{"empty machine", "10.128.0.0/16", nil},
		{"unrelated networks", "10.128.0.0/16", []string{"192.168.1.0/24", "10.0.0.0/16", "172.17.0.0/16"}},
		{"two clusters", "10.130.0.0/16", []string{"10.128.0.0/30", "10.128.0.0/16", "10.129.0.0/16"}},
		{"one address in the middle", "10.129.0.0/16", []string{"10.128.77.3/32"}},
		{"a larger network", "10.192.0.0/16", []string{"10.128.0.0/10"}},
		{"all of 10/8 is routed", "10.128.0.0/16", []string{"10.0.0.0/8"}},
		{"all of 10/8 is routed and the first is taken", "10.129.0.0/16", []string{"10.0.0.0/8", "10.128.0.0/16"}},
		{"nothing free", "", everything},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Choose(prefixes(t, tt.used...))
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), "no free network") {
					t.Fatalf("chose %v, %v", s.Network, err)
				}
				return
			}
			if err != nil || s.Network.String() != tt.want {
				t.Fatalf("chose %v, %v, want %s", s.Network, err, tt.want)
			}
		})
	}
}

func TestSubnetPartsAreApart(t *testing.T) {
	s, err := Choose(nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := []netip.Prefix{s.Link, s.Services, s.Pods}
	for i, a := range parts {
		if !s.Network.Contains(a.Addr()) || a.Bits() < s.Network.Bits() {
			t.Errorf("%v is not part of %v", a, s.Network)
		}
		for _, b := range parts[i+1:] {
			if a.Overlaps(b) {
				t.Errorf("%v overlaps %v", a, b)
			}
		}
	}
	if !s.Link.Contains(s.Host) || !s.Link.Contains(s.Node) || s.Host == s.Node {
		t.Errorf("host %v and node %v are not two addresses of %v", s.Host, s.Node, s.Link)
	}
	if !s.Services.Contains(s.DNS) || s.ServiceAddress().String() != "10.128.64.1" {
		t.Errorf("DNS %v, API server %v in %v", s.DNS, s.ServiceAddress(), s.Services)
	}
}
