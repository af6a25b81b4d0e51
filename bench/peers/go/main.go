// The peer on Go: net/http in front, franz-go behind; it answers 200 once Kafka has the body.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const largest = 1 << 20

func newID() []byte {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	return fmt.Appendf(nil, "%x", raw)
}

func record(source string, body []byte) *kgo.Record {
	return &kgo.Record{Value: body, Headers: []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")},
		{Key: "ce_id", Value: newID()},
		{Key: "ce_source", Value: []byte("/webhooks/" + source)},
		{Key: "ce_type", Value: []byte("bluetick.webhook.received")},
		{Key: "ce_time", Value: []byte(time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))},
		{Key: "ce_subject", Value: []byte(source)},
		{Key: "content-type", Value: []byte("application/json")},
	}}
}

func main() {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("KAFKA")),
		kgo.DefaultProduceTopic(os.Getenv("OUTPUT")),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()),
		kgo.ProducerLinger(2*time.Millisecond),
	)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /webhooks/{source}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, largest))
		if err == nil {
			sent := client.ProduceSync(r.Context(), record(r.PathValue("source"), body))
			err = sent.FirstErr()
		}
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	listener, err := net.Listen("tcp", strings.Join([]string{"127.0.0.1", os.Getenv("PORT")}, ":"))
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	stop, done := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer done()
	go func() { _ = server.Serve(listener) }()
	<-stop.Done()
	_ = server.Shutdown(context.Background())
	client.Close()
}
