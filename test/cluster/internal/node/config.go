package node

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/signet-kafka/signet/test/cluster/internal/link"
	"github.com/signet-kafka/signet/test/cluster/internal/plan"
)

// Config is what the process inside is told, as JSON in a file.
type Config struct {
	// Dir is the cluster's directory.
	Dir string `json:"dir"`
	// Keep are further directories that must stay visible at their own paths.
	Keep []string `json:"keep,omitempty"`
	// Hostname is the node's name. Empty: there is no node, the components are
	// ordinary processes and nothing is mounted or configured.
	Hostname string `json:"hostname,omitempty"`
	// Subnet holds the node's addresses.
	Subnet link.Subnet `json:"subnet"`
	// Components are what runs.
	Components []plan.Component `json:"components"`
}

// Event is one line of what the process inside reports: progress, or the reason
// why it ends.
type Event struct {
	// Message is a progress line.
	Message string `json:"message,omitempty"`
	// Running says that every component has been started and those that can be
	// asked are serving.
	Running bool `json:"running,omitempty"`
	// Error is why the cluster ends; Component is whose log says more.
	Error     string `json:"error,omitempty"`
	Component string `json:"component,omitempty"`
}

// Write writes the event as one line of JSON. The reader may be gone: what
// happens then is not the writer's concern.
func (e Event) Write(w io.Writer) {
	raw, err := json.Marshal(e)
	if err != nil {
		return
	}
	_, _ = w.Write(append(raw, '\n'))
}

// componentError is a component that ended or never served.
type componentError struct {
	component string
	err       error
}

func (e *componentError) Error() string { return fmt.Sprintf("%s: %v", e.component, e.err) }
func (e *componentError) Unwrap() error { return e.err }
