// Prints a line for each of Bluetick's statuses as they arrive: a consumer to copy.
//
// A real service does its work where this one prints. The work must be safe to repeat: after a
// crash before the commit, the last batch is read again.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	batch   = 500
	window  = 100_000
	timeout = 10 * time.Second
	usage   = "usage: statuses --group GROUP [--since 2026-11-22T04:12:05Z] BOOTSTRAP NAMESPACE"
)

// status has the fields that are needed: others are ignored, and unknown values are passed on.
type status struct {
	MessageKey string `json:"message_key"`
	Status     string `json:"status"`
	Verdict    string `json:"verdict"`
	OccurredAt *int64 `json:"occurred_at"`
	Replay     string `json:"replay"`
}

// seen holds a bounded number of the latest ids.
//
// It is needed only if processing a record twice does harm. Bluetick publishes each fact once, but a
// processed record whose commit failed is read again. It covers one process. To be safe across
// restarts too, store ce_id with the effect, with a unique index.
type seen struct {
	ids  map[string]struct{}
	ring []string
	next int
}

// add adds the id and reports whether it was new.
func (s *seen) add(id string) bool {
	if _, known := s.ids[id]; known {
		return false
	}
	delete(s.ids, s.ring[s.next])
	s.ids[id], s.ring[s.next] = struct{}{}, id
	s.next = (s.next + 1) % len(s.ring)
	return true
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "statuses:", err)
		os.Exit(1)
	}
}

func run() error {
	group := flag.String("group", "", "the consumer group")
	sinceText := flag.String("since", "", "start time of a new group; default: the start of the log")
	flag.Parse()
	if flag.NArg() != 2 || *group == "" {
		return errors.New(usage)
	}
	// The start position of a group without an offset. A deleted offset must be an error.
	start := kgo.NoResetOffset().AtStart()
	if *sinceText != "" {
		since, err := time.Parse(time.RFC3339, *sinceText)
		if err != nil {
			return errors.New(usage)
		}
		start = kgo.NoResetOffset().AfterMilli(since.UnixMilli())
	}
	bootstrap, topic := flag.Arg(0), flag.Arg(1)+".statuses"
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.ConsumerGroup(*group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(start),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // the default also returns aborted records
		kgo.DisableAutoCommit(),                      // the default commits at intervals
		kgo.BlockRebalanceOnPoll(),                   // the batch is finished before partitions move
	)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	if err := exists(client, topic); err != nil {
		return fmt.Errorf("Kafka at %s, topic %s: %w; are address and namespace right?", bootstrap, topic, err)
	}
	// On SIGTERM and Ctrl-C: finish and commit the current batch, and leave the group.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return follow(ctx, client)
}

func follow(ctx context.Context, client *kgo.Client) error {
	known := &seen{ids: map[string]struct{}{}, ring: make([]string, window)}
	out := bufio.NewWriter(os.Stdout)
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, batch)
		for _, fault := range fetches.Errors() {
			if errors.Is(fault.Err, kerr.OffsetOutOfRange) {
				return fmt.Errorf("the group is at an offset of %s[%d] that "+
					"was deleted; move its offsets by hand to accept the gap", fault.Topic, fault.Partition)
			}
			if !errors.Is(fault.Err, context.Canceled) {
				return fmt.Errorf("reading %s[%d]: %w", fault.Topic, fault.Partition, fault.Err)
			}
		}
		for _, record := range fetches.Records() {
			id, line, err := read(record)
			if err != nil {
				return err
			}
			if known.add(id) {
				fmt.Fprintln(out, line)
			}
		}
		if err := out.Flush(); err != nil { // before the commit
			return err
		}
		if err := commit(client); err != nil {
			return err
		}
		client.AllowRebalance()
	}
	return nil
}

func commit(client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := client.CommitUncommittedOffsets(ctx)
	switch {
	case errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID),
		errors.Is(err, kerr.RebalanceInProgress):
		fmt.Fprintln(os.Stderr, "the group has removed this member; the batch is read again")
		return nil
	default:
		return err
	}
}

// read returns the fact's id, and a line: key, status, verdict, time, and live or replay.
func read(record *kgo.Record) (id, line string, err error) {
	for _, header := range record.Headers {
		if header.Key == "ce_id" {
			id = string(header.Value)
		}
	}
	var one status
	err = json.Unmarshal(record.Value, &one)
	if err != nil || id == "" || one.MessageKey == "" || one.Status == "" || one.Verdict == "" {
		return "", "", fmt.Errorf("%s[%d] offset %d is not a status; find out who wrote it",
			record.Topic, record.Partition, record.Offset)
	}
	at, origin := "-", "live"
	if one.OccurredAt != nil {
		at = time.UnixMilli(*one.OccurredAt).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if one.Replay != "" {
		origin = "replay"
	}
	return id, strings.Join([]string{one.MessageKey, one.Status, one.Verdict, at, origin}, "\t"), nil
}

// exists checks the topic, so that a wrong address or namespace is an error and not a long wait.
func exists(client *kgo.Client, topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	request := kmsg.NewPtrMetadataRequest()
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic = kmsg.StringPtr(topic)
	request.Topics = append(request.Topics, wanted)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.Topics[0].ErrorCode)
}
