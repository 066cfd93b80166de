// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrNoTopic says that no broker has written the access log yet.
var ErrNoTopic = errors.New("topic " + AccessTopic + " does not exist: brokers with authorizer.class.name=dev.signet.kafka.broker.SignetAuthorizer make it")

const (
	// pollTime is how long to wait for records before asking whether there are any.
	pollTime = 2 * time.Second
	// idlePolls in a row without a record, on a Kafka that answers, are its end: what was there has been compacted away.
	idlePolls = 3
)

// ConsumerOptions make a client read AccessTopic from its beginning, with no group: any number of readers, and nothing to
// commit.
func ConsumerOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumeTopics(AccessTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(time.Second),
	}
}

// ReadAll reads AccessTopic as it is now into the Graph, by a client with ConsumerOptions.
func ReadAll(ctx context.Context, kafka *kgo.Client, graph *Graph) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	read := false
	err := Follow(ctx, kafka, graph, func() { read = true; stop() })
	if read {
		return nil
	}
	return err
}

// Follow reads AccessTopic into the Graph, by a client with ConsumerOptions, until the context ends or it cannot go on.
// It calls reached once, when the Graph has everything that was there at the start. The error is never nil.
func Follow(ctx context.Context, kafka *kgo.Client, graph *Graph, reached func()) error {
	pending, err := unread(ctx, kafka)
	if err != nil {
		return err
	}
	done := false
	for idle := 0; ; {
		if !done && len(pending) == 0 {
			done = true
			reached()
		}
		fetches := poll(ctx, kafka)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := failure(fetches); err != nil {
			return fmt.Errorf("read topic %s: %w", AccessTopic, err)
		}
		idle++
		fetches.EachRecord(func(r *kgo.Record) {
			idle = 0
			graph.Add(r.Key, r.Value)
			if end, ok := pending[r.Partition]; ok && r.Offset+1 >= end {
				delete(pending, r.Partition)
			}
		})
		if idle >= idlePolls && len(pending) > 0 {
			if _, err := unread(ctx, kafka); err != nil {
				return err
			}
			clear(pending)
		}
	}
}

// poll waits for records, but not for long.
func poll(ctx context.Context, kafka *kgo.Client) kgo.Fetches {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	return kafka.PollFetches(ctx)
}

// failure returns the first error that is more than an interruption.
func failure(fetches kgo.Fetches) error {
	var lost *kgo.ErrDataLoss
	for _, f := range fetches.Errors() {
		if !errors.Is(f.Err, context.DeadlineExceeded) && !errors.As(f.Err, &lost) {
			return missing(f.Err)
		}
	}
	return nil
}

// unread returns the ends of the partitions that hold anything.
func unread(ctx context.Context, kafka *kgo.Client) (map[int32]int64, error) {
	admin := kadm.NewClient(kafka)
	starts, err := admin.ListStartOffsets(ctx, AccessTopic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", AccessTopic, missing(err))
	}
	ends, err := admin.ListEndOffsets(ctx, AccessTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", AccessTopic, missing(err))
	}
	pending := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(AccessTopic, end.Partition); ok && end.Offset > start.Offset {
			pending[end.Partition] = end.Offset
		}
	})
	return pending, nil
}

func missing(err error) error {
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return ErrNoTopic
	}
	return err
}
