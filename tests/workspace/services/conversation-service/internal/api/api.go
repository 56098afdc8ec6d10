// Package api is the service's HTTP side.
package api

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"conversation-service/internal/config"
	"conversation-service/internal/health"
	"conversation-service/internal/store"
)

// Data is the part of the store that requests need.
type Data interface {
	Create(context.Context, string) (store.Conversation, error)
	List(context.Context) ([]store.Conversation, int64, error)
	Get(context.Context, int64) (store.Conversation, error)
	Say(context.Context, int64, string) (store.Message, error)
	Recent(context.Context) ([]store.Message, error)
}

type server struct {
	settings config.Settings
	data     Data
	board    *health.Board
	greeting string
	started  time.Time
	metrics  *metrics
}

type object = map[string]any

// New puts the routes together.
func New(s config.Settings, data Data, board *health.Board, greeting string, log *slog.Logger) http.Handler {
	v := &server{s, data, board, greeting, time.Now(), newMetrics(s.Service, s.Version)}
	routes := http.NewServeMux()
	for _, path := range []string{"/health", "/api/v1/health", "/api/v1/conversations/health", "/api/v1/messages/health"} {
		routes.HandleFunc("GET "+path, v.health)
	}
	routes.HandleFunc("GET /ready", v.ready)
	routes.HandleFunc("GET /info", v.info)
	routes.HandleFunc("GET /{$}", v.info)
	routes.HandleFunc("GET /metrics", v.metrics.serve)
	routes.HandleFunc("GET /api/v1/conversations", v.list)
	routes.HandleFunc("POST /api/v1/conversations", v.create)
	routes.HandleFunc("GET /api/v1/conversations/{id}", v.get)
	routes.HandleFunc("GET /api/v1/messages", v.recent)
	routes.HandleFunc("POST /api/v1/messages", v.say)
	return v.metrics.count(routes, log)
}

func (v *server) answer(w http.ResponseWriter, status int, o object) {
	o["service"] = v.settings.Service
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(o)
}

func (v *server) fail(w http.ResponseWriter, err error) {
	if errors.Is(err, sql.ErrNoRows) {
		v.answer(w, http.StatusNotFound, object{"error": "there is no such conversation"})
		return
	}
	v.answer(w, http.StatusServiceUnavailable, object{"error": err.Error()})
}

func (v *server) health(w http.ResponseWriter, _ *http.Request) {
	v.answer(w, http.StatusOK, object{"status": "ok"})
}

func (v *server) ready(w http.ResponseWriter, r *http.Request) {
	states := v.board.States(r.Context())
	without := health.Without(states)
	status, phrase := http.StatusOK, "ready"
	if !health.Ready(states) {
		status, phrase = http.StatusServiceUnavailable, "not ready"
	} else if len(without) > 0 {
		phrase = "ready, with less"
	}
	v.answer(w, status, object{"status": phrase, "ready": status == http.StatusOK, "runsWithout": without, "dependencies": states})
}

func (v *server) info(w http.ResponseWriter, r *http.Request) {
	states := v.board.States(r.Context())
	v.answer(w, http.StatusOK, object{
		"version": v.settings.Version, "language": "go", "greeting": v.greeting,
		"prefixes":  []string{"/api/v1/conversations", "/api/v1/messages"},
		"startedAt": v.started.UTC().Format(time.RFC3339), "uptimeSeconds": int(time.Since(v.started).Seconds()),
		"ready": health.Ready(states), "runsWithout": health.Without(states), "dependencies": states,
	})
}

func (v *server) list(w http.ResponseWriter, r *http.Request) {
	all, counted, err := v.data.List(r.Context())
	if err != nil {
		v.fail(w, err)
		return
	}
	v.answer(w, http.StatusOK, object{"conversations": all, "created": counted})
}

func (v *server) create(w http.ResponseWriter, r *http.Request) {
	var body struct{ Title string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil || body.Title == "" {
		v.answer(w, http.StatusBadRequest, object{"error": "a title is needed"})
		return
	}
	made, err := v.data.Create(r.Context(), body.Title)
	if err != nil {
		v.fail(w, err)
		return
	}
	v.answer(w, http.StatusCreated, object{"conversation": made})
}

func (v *server) get(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		err = sql.ErrNoRows
	}
	var found store.Conversation
	if err == nil {
		found, err = v.data.Get(r.Context(), id)
	}
	if err != nil {
		v.fail(w, err)
		return
	}
	v.answer(w, http.StatusOK, object{"conversation": found})
}

func (v *server) say(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Conversation int64
		Text         string
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil || body.Text == "" {
		v.answer(w, http.StatusBadRequest, object{"error": "a conversation and a text are needed"})
		return
	}
	made, err := v.data.Say(r.Context(), body.Conversation, body.Text)
	if err != nil {
		v.fail(w, err)
		return
	}
	v.answer(w, http.StatusCreated, object{"message": made})
}

func (v *server) recent(w http.ResponseWriter, r *http.Request) {
	all, err := v.data.Recent(r.Context())
	if err != nil {
		v.fail(w, err)
		return
	}
	v.answer(w, http.StatusOK, object{"messages": all})
}
