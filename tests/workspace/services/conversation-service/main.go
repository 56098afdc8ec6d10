// Conversations and their messages: rows in PostgreSQL, counters and a recent-messages cache in Redis.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"conversation-service/internal/api"
	"conversation-service/internal/config"
	"conversation-service/internal/health"
	"conversation-service/internal/store"
)

// greeting is part of every answer of /info; the reload tests change it.
const greeting = "hello"

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("service", "conversation-service")
	if err := run(log); err != nil {
		log.Error("the service ends", "error", err.Error())
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	settings, err := config.Read(os.Getenv)
	if err != nil {
		return err
	}
	data, err := store.Open(settings)
	if err != nil {
		return err
	}
	defer data.Close()
	board := health.NewBoard(health.Checks(settings, data))
	server := &http.Server{
		Addr:              ":" + settings.Port,
		Handler:           api.New(settings, data, board, greeting, log),
		ReadHeaderTimeout: 10 * time.Second,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	log.Info("listening", "port", settings.Port)
	// The first request that needs a table finds it; a database that starts later is no reason to end.
	go data.Prepare(ctx, log)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// Requests under way get a moment; the kubelet is waiting.
	limit, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := server.Shutdown(limit); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
