package main

import (
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// release is one installation of a chart that lies in a directory.
type release struct {
	// dir is the chart's directory, name and namespace are the release's.
	dir, name, namespace string
	// version replaces the chart's placeholder of a version; empty leaves it.
	version string
	// kubernetes is the version of the cluster, for example "v1.37.1".
	kubernetes string
	values     map[string]any
}

// render returns the chart's objects as one YAML stream in the order in which Helm installs them, without hooks and
// notes. A chart with a crds directory is refused: none of ours has one.
func (r release) render() (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("chart %s: %w", r.dir, err) }
	chart, err := loader.LoadDir(r.dir)
	if err != nil {
		return fail(err)
	}
	if r.version != "" {
		chart.Metadata.Version, chart.Metadata.AppVersion = r.version, r.version
	}
	if n := len(chart.CRDObjects()); n > 0 {
		return fail(fmt.Errorf("%d CRDs in its crds directory would be left out", n))
	}
	capabilities := common.DefaultCapabilities.Copy()
	version, err := common.ParseKubeVersion(r.kubernetes)
	if err != nil {
		return fail(err)
	}
	capabilities.KubeVersion = *version
	values, err := util.ToRenderValues(chart, r.values,
		common.ReleaseOptions{Name: r.name, Namespace: r.namespace, Revision: 1, IsInstall: true}, capabilities)
	if err != nil {
		return fail(err)
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		return fail(err)
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	_, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return fail(err)
	}
	var stream strings.Builder
	for _, m := range manifests {
		fmt.Fprintf(&stream, "---\n%s\n", m.Content)
	}
	return stream.String(), nil
}
