// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build wasip1

// Command wasm is Signet's filter for Envoy: package filter behind the proxy-wasm ABI 0.2.1, as a network filter in
// front of the TCP proxy. hack/filter.sh builds it. It decides nothing: each of Envoy's calls becomes an event of a
// filter.Connection, and the Effect becomes calls of Envoy's.
//
// Each of Envoy's workers has a machine of its own, which runs one call at a time. Any failure, of the configuration
// too, closes connections: configure the filter with fail_open false (a WasmPlugin with failStrategy FAIL_CLOSE).
package main

import (
	"os"
	"time"

	"github.com/signet-kafka/signet/filter"
)

// tickPeriod is how often connections are looked at that wait for their login.
const tickPeriod = time.Second

// A plugin is one configuration, under Envoy's root context.
type plugin struct {
	filter *filter.Filter
	// waiting are the connections without a login.
	waiting map[uint32]*filter.Connection
}

type connection struct {
	*filter.Connection
	plugin *plugin
}

var (
	plugins     = map[uint32]*plugin{}
	connections = map[uint32]connection{}
)

func main() {}

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_vm_start
func onVMStart(_, _ uint32) uint32 { return 1 }

//go:wasmexport proxy_on_configure
func onConfigure(root, length uint32) uint32 {
	f, err := filter.New(getBuffer(bufferConfiguration, 0, int(length)), os.Getenv)
	if err != nil {
		log(levelError, "signet: "+err.Error())
		return 0
	}
	plugins[root] = &plugin{filter: f, waiting: map[uint32]*filter.Connection{}}
	if proxySetTickPeriodMilliseconds(uint32(tickPeriod.Milliseconds())) != 0 {
		log(levelError, "signet: envoy sets no timer")
		return 0
	}
	log(levelInfo, "signet: "+f.Describe())
	return 1
}

//go:wasmexport proxy_on_context_create
func onContextCreate(context, parent uint32) {
	if p := plugins[parent]; p != nil {
		c := p.filter.NewConnection(func() string { return property("connection", "peer_certificate") }, time.Now())
		connections[context] = connection{c, p}
		p.waiting[context] = c
	}
}

//go:wasmexport proxy_on_new_connection
func onNewConnection(context uint32) uint32 {
	if _, ok := connections[context]; !ok {
		return closeConnection("a connection without a configuration")
	}
	return actionContinue
}

//go:wasmexport proxy_on_downstream_data
func onDownstreamData(context, length, end uint32) uint32 {
	c, ok := connections[context]
	if !ok {
		return closeConnection("")
	}
	b := &buffer{kind: bufferDownstream, length: int(length)}
	e := c.Downstream(b, end != 0, time.Now())
	if b.failed {
		return closeConnection("envoy gives no bytes")
	}
	switch e.Action {
	case filter.Pass:
		return actionContinue
	case filter.Hold:
		return actionPause
	case filter.Send:
		// Only what stands in the buffer now goes on; what follows finds the filter paused.
		if setBuffer(bufferDownstream, everything, e.Data) && proxyContinueStream(streamDownstream) == 0 {
			return actionPause
		}
	case filter.Prepend:
		if setBuffer(bufferDownstream, 0, e.Data) {
			return actionContinue
		}
	case filter.Replace:
		if setBuffer(bufferDownstream, everything, e.Data) {
			return actionContinue
		}
	case filter.Close:
		return closeConnection(e.Log)
	}
	return closeConnection("envoy takes no bytes")
}

//go:wasmexport proxy_on_upstream_data
func onUpstreamData(context, length, end uint32) uint32 {
	c, ok := connections[context]
	if !ok {
		return closeUpstream("")
	}
	b := &buffer{kind: bufferUpstream, length: int(length)}
	e := c.Upstream(b, end != 0, time.Now())
	if b.failed {
		return closeUpstream("envoy gives no bytes")
	}
	switch e.Action {
	case filter.Pass:
	case filter.Replace:
		if !setBuffer(bufferUpstream, everything, e.Data) {
			return closeUpstream("envoy takes no bytes")
		}
	default:
		return closeUpstream(e.Log)
	}
	if e.Log != "" {
		log(levelInfo, "signet: "+e.Log)
	}
	if e.Resume {
		delete(c.plugin.waiting, context)
		if !setBuffer(bufferDownstream, 0, e.Held) || proxyContinueStream(streamDownstream) != 0 {
			return closeUpstream("envoy takes no bytes")
		}
	}
	return actionContinue
}

//go:wasmexport proxy_on_downstream_connection_close
func onDownstreamConnectionClose(_, _ uint32) {}

//go:wasmexport proxy_on_upstream_connection_close
func onUpstreamConnectionClose(_, _ uint32) {}

//go:wasmexport proxy_on_tick
func onTick(root uint32) {
	p := plugins[root]
	if p == nil {
		return
	}
	now := time.Now()
	for context, c := range p.waiting {
		if e := c.Tick(now); e.Action == filter.Close {
			delete(p.waiting, context)
			if proxySetEffectiveContext(context) == 0 {
				closeConnection(e.Log)
			}
		}
	}
}

//go:wasmexport proxy_on_done
func onDone(_ uint32) uint32 { return 1 }

//go:wasmexport proxy_on_delete
func onDelete(context uint32) {
	if c, ok := connections[context]; ok {
		delete(c.plugin.waiting, context)
		delete(connections, context)
	}
	delete(plugins, context)
}

// closeConnection closes the connection of the call, and lets nothing more of it through.
func closeConnection(why string) uint32 {
	if why != "" {
		log(levelWarn, "signet: "+why)
	}
	_ = proxyCloseStream(streamDownstream)
	return actionPause
}

// closeUpstream is closeConnection in a call for bytes of the broker, which Envoy would still write.
func closeUpstream(why string) uint32 {
	_ = setBuffer(bufferUpstream, everything, nil)
	return closeConnection(why)
}
