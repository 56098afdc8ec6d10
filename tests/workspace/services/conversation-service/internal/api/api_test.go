package api

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"conversation-service/internal/config"
	"conversation-service/internal/health"
	"conversation-service/internal/store"
)

type memory struct{ all []store.Conversation }

func (m *memory) Create(_ context.Context, title string) (store.Conversation, error) {
	c := store.Conversation{ID: int64(len(m.all) + 1), Title: title}
	m.all = append(m.all, c)
	return c, nil
}
func (m *memory) List(context.Context) ([]store.Conversation, int64, error) {
	return m.all, int64(len(m.all)), nil
}
func (m *memory) Get(_ context.Context, id int64) (store.Conversation, error) {
	if id < 1 || id > int64(len(m.all)) {
		return store.Conversation{}, sql.ErrNoRows
	}
	return m.all[id-1], nil
}
func (m *memory) Say(_ context.Context, c int64, text string) (store.Message, error) {
	return store.Message{ID: 1, Conversation: c, Text: text}, nil
}
func (m *memory) Recent(context.Context) ([]store.Message, error) { return []store.Message{}, nil }

func ask(t *testing.T, handler http.Handler, method, path, body string) (int, map[string]any) {
	t.Helper()
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(method, path, strings.NewReader(body)))
	var read map[string]any
	_ = json.Unmarshal(answer.Body.Bytes(), &read)
	return answer.Code, read
}

func service() http.Handler {
	checks := []health.Check{{Name: "postgres", Ask: func(context.Context) (string, error) { return "fine", nil }}}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	return New(config.Settings{Service: "conversation-service"}, &memory{}, health.NewBoard(checks), "hello", log)
}

func TestAConversationIsMadeAndFound(t *testing.T) {
	s := service()
	if status, _ := ask(t, s, "POST", "/api/v1/conversations", `{"title": ""}`); status != http.StatusBadRequest {
		t.Errorf("without a title: %d", status)
	}
	if status, body := ask(t, s, "POST", "/api/v1/conversations", `{"title": "a"}`); status != http.StatusCreated {
		t.Errorf("creating: %d %v", status, body)
	}
	if status, _ := ask(t, s, "GET", "/api/v1/conversations/1", ""); status != http.StatusOK {
		t.Errorf("finding: %d", status)
	}
	for _, id := range []string{"2", "x"} {
		if status, _ := ask(t, s, "GET", "/api/v1/conversations/"+id, ""); status != http.StatusNotFound {
			t.Errorf("finding %s: %d", id, status)
		}
	}
}

func TestEveryPathOfThePlatformAnswers(t *testing.T) {
	s := service()
	for _, path := range []string{"/health", "/ready", "/info", "/", "/api/v1/conversations/health", "/api/v1/messages/health"} {
		status, body := ask(t, s, "GET", path, "")
		if status != http.StatusOK || body["service"] != "conversation-service" {
			t.Errorf("%s: %d %v", path, status, body)
		}
	}
	if status, _ := ask(t, s, "GET", "/metrics", ""); status != http.StatusOK {
		t.Errorf("/metrics: %d", status)
	}
}
