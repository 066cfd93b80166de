// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/principal/subject"
)

func valid() File {
	return File{
		Cluster: "kafka/kafka", Generation: 7, Unmapped: Refuse, MeshTrustDomain: "cluster.local",
		Exact:  map[string]string{"CN=orders,OU=shop,O=signet": "shop.orders"},
		SPIFFE: map[string]string{"spiffe://kafka.signet.dev/user/shop/orders": "shop.orders"},
	}
}

func render(t testing.TB, f File, room int) map[string]string {
	t.Helper()
	files, err := Render(f, room)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parse(files map[string]string) (*Set, error) {
	return Parse([]byte(files[FileName]), func(file string) ([]byte, error) {
		text, ok := files[file]
		if !ok {
			return nil, os.ErrNotExist
		}
		return []byte(text), nil
	})
}

func TestRenderAndParse(t *testing.T) {
	files := render(t, valid(), MaxFile)
	if len(files) != 1 {
		t.Fatalf("%d files, want one", len(files))
	}
	set, err := parse(files)
	if err != nil {
		t.Fatal(err)
	}
	if set.Cluster() != "kafka/kafka" || set.Generation() != 7 || set.Len() != 2 {
		t.Errorf("read %s, generation %d, %d entries", set.Cluster(), set.Generation(), set.Len())
	}
	if e, err := set.Explain("CN=orders,OU=shop,O=signet", ""); err != nil || e.Name != "shop.orders" || e.Kind != "exact" {
		t.Errorf("Explain = %+v, %v", e, err)
	}
}

func many(n int) File {
	f := valid()
	for i := range n {
		f.Exact[fmt.Sprintf("CN=user-%d,OU=namespace,O=signet", i)] = fmt.Sprintf("namespace.user-%d", i)
		f.SPIFFE[fmt.Sprintf("spiffe://kafka.signet.dev/user/namespace/user-%d", i)] = fmt.Sprintf("namespace.user-%d", i)
	}
	return f
}

func TestShards(t *testing.T) {
	f := many(30000)
	files := render(t, f, MaxFile)
	if len(files) < 3 {
		t.Fatalf("%d files, want shards", len(files))
	}
	for name, text := range files {
		if len(text) > MaxFile {
			t.Errorf("%s has %d bytes", name, len(text))
		}
	}
	set, err := parse(files)
	if err != nil || set.Len() != len(f.Exact)+len(f.SPIFFE) {
		t.Fatalf("read %v entries of %d, %v", set, len(f.Exact)+len(f.SPIFFE), err)
	}

	// One more user changes the main file and the shards of its two entries, no other.
	f.Exact["CN=new,OU=namespace,O=signet"] = "namespace.new"
	again := render(t, f, MaxFile)
	var changed []string
	for name, text := range again {
		if files[name] != text {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	if len(again) != len(files) || len(changed) != 2 || changed[1] != FileName {
		t.Errorf("one more subject changed %v of %d files", changed, len(files))
	}

	// A volume that has the new main file and an old shard is refused as a whole.
	torn := maps.Clone(again)
	torn[changed[0]] = files[changed[0]]
	var refused *FileError
	if _, err := parse(torn); !errors.As(err, &refused) || refused.Code != CodeShard {
		t.Errorf("a torn set: %v", err)
	}
	delete(torn, changed[0])
	if _, err := parse(torn); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a shard that is not there: %v", err)
	}
	if _, err := Render(many(120000), MaxFile); err == nil || !strings.Contains(err.Error(), "kafka/kafka") {
		t.Errorf("more than the ConfigMaps hold: %v", err)
	}
}

// JSON cannot tell of a file that is not UTF-8, so that test/vectors do not.
func TestParseRefusesWhatIsNotUTF8(t *testing.T) {
	text := strings.Replace(render(t, valid(), MaxFile)[FileName], "orders", "order\xff", 1)
	var refused *FileError
	if _, err := Parse([]byte(text), nil); !errors.As(err, &refused) || refused.Code != CodeSyntax {
		t.Errorf("Parse = %v", err)
	}
	if _, err := Parse(make([]byte, MaxFile+1), nil); !errors.As(err, &refused) || refused.Code != CodeBounds {
		t.Errorf("Parse of too large a file = %v", err)
	}
}

func TestRenderIsDeterministic(t *testing.T) {
	f := many(100)
	first := render(t, f, 2000)
	for range 5 {
		if again := render(t, f, 2000); !maps.Equal(first, again) {
			t.Fatal("the same content rendered in two ways")
		}
	}
}

// encode returns the DER of a subject as its text says, for tests.
func encode(t testing.TB, text string) []byte {
	t.Helper()
	s, err := subject.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	return encodeRDNs(t, s)
}

func TestMatching(t *testing.T) {
	f := valid()
	f.Exact["CN=a.acme.example,O=Acme"] = "special"
	f.Patterns = []PatternEntry{{`CN=([a-z]+)\.acme\.example,O=Acme`, "acme.$1"}, {`CN=b\.acme\.example,O=Acme`, "b"}}
	set, err := parse(render(t, f, MaxFile))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"CN=a.acme.example,O=Acme": "[exact special pattern acme.a]",
		"CN=b.acme.example,O=Acme": "[pattern acme.b pattern b]",
		"CN=x":                     "[]",
		"":                         "[]",
	} {
		var got []string
		for _, e := range set.Matching(text) {
			got = append(got, e.Kind, e.Name)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("Matching(%q) = %v, want %s", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range []File{valid(), {Cluster: "a/b", Generation: 1, Unmapped: Explicit, Patterns: []PatternEntry{{"CN=(.*)", "$1"}}}} {
		text, err := json.Marshal(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "CN=orders,OU=shop,O=signet", "spiffe://kafka.signet.dev/user/shop/orders")
	}
	f.Fuzz(func(t *testing.T, text, name, id string) {
		set, err := Parse([]byte(text), nil)
		if err != nil {
			return
		}
		entry, err := set.Explain(name, id)
		if err == nil && CheckName(entry.Name) != nil {
			t.Fatalf("%q and %q are %q", name, id, entry.Name)
		}
		if name == "" && id == "" && err == nil {
			t.Fatalf("nobody is %q", entry.Name)
		}
	})
}
