package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

// operation is what one subcommand does with a client that has the given configuration.
type operation func(ctx context.Context, config Config, args []string, print func(any) error) error

func newCommand() *cobra.Command {
	var (
		from    source
		timeout time.Duration
	)
	root := &cobra.Command{
		Use:           "goclient",
		Short:         "a Kafka client (franz-go) with the identity mounted into its pod",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&from.file, "config", os.Getenv("KAFKA_CLIENT_JSON"), "kafka.json to read (default $KAFKA_CLIENT_JSON)")
	flags.StringVar(&from.dir, "dir", "", "directory with kafka.json, ca.crt, tls.crt and tls.key; wins over --config")
	flags.StringVar(&from.ca, "ca", "", "CA bundle: connect with TLS but without a client certificate")
	flags.StringSliceVar(&from.bootstrap, "bootstrap", nil, "host:port of brokers; alone it means plaintext without identity")
	flags.DurationVar(&timeout, "timeout", 20*time.Second, "give up after this time")

	add := func(use, short string, args cobra.PositionalArgs, do operation) *cobra.Command {
		cmd := &cobra.Command{Use: use, Short: short, Args: args}
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if flags.Changed("bootstrap") && !flags.Changed("config") {
				// Whoever names brokers by hand does not mean the identity of the environment.
				from.file = ""
			}
			config, err := from.load()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			err = do(ctx, config, args, json.NewEncoder(cmd.OutOrStdout()).Encode)
			if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%s: gave up after %s: %w", cmd.Name(), timeout, err)
			} else if err != nil {
				return fmt.Errorf("%s: %w", cmd.Name(), err)
			}
			return nil
		}
		root.AddCommand(cmd)
		return cmd
	}

	add("topics", "list the topics that this identity may see", cobra.NoArgs, topics)

	var partitions int32
	create := add("create-topic TOPIC", "create a topic", cobra.ExactArgs(1),
		func(ctx context.Context, config Config, args []string, print func(any) error) error {
			return createTopic(ctx, config, args[0], partitions, print)
		})
	create.Flags().Int32Var(&partitions, "partitions", 1, "number of partitions")

	add("produce TOPIC MESSAGE...", "append messages to a topic", cobra.MinimumNArgs(2), produce)

	var (
		group string
		count int
	)
	read := add("consume TOPIC", "read messages from the beginning, or from a group's position", cobra.ExactArgs(1),
		func(ctx context.Context, config Config, args []string, print func(any) error) error {
			return consume(ctx, config, args[0], group, count, print)
		})
	read.Flags().StringVar(&group, "group", "", "consumer group; empty means none")
	read.Flags().IntVar(&count, "count", 1, "stop after this many messages")

	root.AddCommand(&cobra.Command{
		Use: "sleep", Short: "wait for SIGTERM, so that others can exec into the container", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { <-cmd.Context().Done() },
	})
	return root
}

func topics(ctx context.Context, config Config, _ []string, print func(any) error) error {
	client, err := config.client()
	if err != nil {
		return err
	}
	defer client.Close()
	found, err := kadm.NewClient(client).ListTopics(ctx)
	if err != nil {
		return err
	}
	for _, topic := range found.Sorted() {
		if err := print(struct {
			Topic      string `json:"topic"`
			Partitions int    `json:"partitions"`
		}{topic.Topic, len(topic.Partitions)}); err != nil {
			return err
		}
	}
	return nil
}

func createTopic(ctx context.Context, config Config, topic string, partitions int32, print func(any) error) error {
	client, err := config.client()
	if err != nil {
		return err
	}
	defer client.Close()
	created, err := kadm.NewClient(client).CreateTopic(ctx, partitions, -1, nil, topic)
	if err = cmp.Or(err, created.Err); err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	return print(struct {
		Topic      string `json:"topic"`
		Partitions int32  `json:"partitions"`
	}{topic, partitions})
}

// Message is one message as it is printed.
type Message struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Value     string `json:"value"`
}

func message(r *kgo.Record) Message {
	return Message{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Value: string(r.Value)}
}

func produce(ctx context.Context, config Config, args []string, print func(any) error) error {
	// Without these the client would retry an unauthorized topic until the timeout.
	client, err := config.client(kgo.UnknownTopicRetries(3), kgo.RecordRetries(10))
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, 0, len(args)-1)
	for _, value := range args[1:] {
		records = append(records, &kgo.Record{Topic: args[0], Value: []byte(value)})
	}
	for _, result := range client.ProduceSync(ctx, records...) {
		if result.Err != nil {
			return fmt.Errorf("topic %s: %w", args[0], result.Err)
		}
		if err := print(message(result.Record)); err != nil {
			return err
		}
	}
	return nil
}

func consume(ctx context.Context, config Config, topic, group string, count int, print func(any) error) error {
	options := []kgo.Opt{
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(200 * time.Millisecond),
	}
	if group != "" {
		// Positions are committed for exactly what was printed.
		options = append(options, kgo.ConsumerGroup(group), kgo.DisableAutoCommit())
	}
	client, err := config.client(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	// A consumer waits for a topic it may not see; the metadata says so at once.
	known, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err = cmp.Or(err, known[topic].Err); err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	var printed []*kgo.Record
	for len(printed) < count {
		fetches := client.PollFetches(ctx)
		if failed := fetches.Errors(); len(failed) > 0 {
			return fmt.Errorf("topic %s: %w", topic, failed[0].Err)
		}
		records := fetches.Records()
		slices.SortStableFunc(records, func(a, b *kgo.Record) int { return cmp.Compare(a.Partition, b.Partition) })
		for _, record := range records[:min(len(records), count-len(printed))] {
			if err := print(message(record)); err != nil {
				return err
			}
			printed = append(printed, record)
		}
	}
	if group == "" {
		return nil
	}
	if err := client.CommitRecords(ctx, printed...); err != nil {
		return fmt.Errorf("group %s: %w", group, err)
	}
	return nil
}
