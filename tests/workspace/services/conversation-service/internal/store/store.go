// Package store keeps conversations and messages in PostgreSQL, and counts and caches them in Redis.
package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"time"

	_ "github.com/lib/pq" // the driver registers itself
	"github.com/redis/go-redis/v9"

	"conversation-service/internal/config"
)

// Conversation is a row of conversations.
type Conversation struct {
	ID      int64     `json:"id"`
	Title   string    `json:"title"`
	Created time.Time `json:"created"`
}

// Message is a row of messages.
type Message struct {
	ID           int64     `json:"id"`
	Conversation int64     `json:"conversation"`
	Text         string    `json:"text"`
	Created      time.Time `json:"created"`
}

// Store is both databases.
type Store struct {
	db       *sql.DB
	cache    *redis.Client
	prepared atomic.Bool
}

const tables = `
CREATE TABLE IF NOT EXISTS conversations (
  id bigserial PRIMARY KEY, title text NOT NULL, created timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS messages (
  id bigserial PRIMARY KEY, conversation bigint NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
  text text NOT NULL, created timestamptz NOT NULL DEFAULT now());`

// Open connects to nothing yet.
func Open(s config.Settings) (*Store, error) {
	db, err := sql.Open("postgres", s.Postgres.DSN())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(5)
	cache := redis.NewClient(&redis.Options{
		Addr: s.Redis.Address, Password: s.Redis.Password, DialTimeout: 2 * time.Second, DisableIndentity: true,
	})
	return &Store{db: db, cache: cache}, nil
}

// Close ends the connections.
func (s *Store) Close() {
	_ = s.cache.Close()
	_ = s.db.Close()
}

// Prepare makes the tables, and tries until the database lets it.
func (s *Store) Prepare(ctx context.Context, log *slog.Logger) {
	for ctx.Err() == nil {
		err := s.prepare(ctx)
		if err == nil {
			return
		}
		log.Warn("the tables are not there yet", "error", err.Error())
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (s *Store) prepare(ctx context.Context) error {
	if s.prepared.Load() {
		return nil
	}
	// Two replicas start at once, and CREATE TABLE IF NOT EXISTS does not like that.
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(7105)"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, tables); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.prepared.Store(true)
	return nil
}

// PingPostgres says which server answers.
func (s *Store) PingPostgres(ctx context.Context) (string, error) {
	var version string
	err := s.db.QueryRowContext(ctx, "SHOW server_version").Scan(&version)
	return "server " + version, err
}

// PingRedis says whether Redis answers.
func (s *Store) PingRedis(ctx context.Context) (string, error) {
	return s.cache.Ping(ctx).Result()
}

// Create makes a conversation and counts it.
func (s *Store) Create(ctx context.Context, title string) (Conversation, error) {
	c := Conversation{Title: title}
	if err := s.prepare(ctx); err != nil {
		return c, err
	}
	row := s.db.QueryRowContext(ctx, "INSERT INTO conversations (title) VALUES ($1) RETURNING id, created", title)
	if err := row.Scan(&c.ID, &c.Created); err != nil {
		return c, err
	}
	return c, s.cache.Incr(ctx, "conversations:created").Err()
}

// List gives the newest conversations, and how many were ever counted.
func (s *Store) List(ctx context.Context) ([]Conversation, int64, error) {
	if err := s.prepare(ctx); err != nil {
		return nil, 0, err
	}
	rows, err := s.db.QueryContext(ctx, "SELECT id, title, created FROM conversations ORDER BY id DESC LIMIT 50")
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	all := []Conversation{}
	for rows.Next() {
		var c Conversation
		if err := rows.Scan(&c.ID, &c.Title, &c.Created); err != nil {
			return nil, 0, err
		}
		all = append(all, c)
	}
	counted, err := s.cache.Get(ctx, "conversations:created").Int64()
	if err == redis.Nil {
		err = nil
	}
	if err != nil {
		return nil, 0, err
	}
	return all, counted, rows.Err()
}

// Get gives one conversation; sql.ErrNoRows where there is none.
func (s *Store) Get(ctx context.Context, id int64) (Conversation, error) {
	c := Conversation{ID: id}
	if err := s.prepare(ctx); err != nil {
		return c, err
	}
	row := s.db.QueryRowContext(ctx, "SELECT title, created FROM conversations WHERE id = $1", id)
	return c, row.Scan(&c.Title, &c.Created)
}

// Say adds a message and puts it in front of the recent ones.
func (s *Store) Say(ctx context.Context, conversation int64, text string) (Message, error) {
	m := Message{Conversation: conversation, Text: text}
	if err := s.prepare(ctx); err != nil {
		return m, err
	}
	row := s.db.QueryRowContext(ctx,
		"INSERT INTO messages (conversation, text) VALUES ($1, $2) RETURNING id, created", conversation, text)
	if err := row.Scan(&m.ID, &m.Created); err != nil {
		return m, err
	}
	line, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	pipe := s.cache.TxPipeline()
	pipe.LPush(ctx, "messages:recent", line)
	pipe.LTrim(ctx, "messages:recent", 0, 49)
	_, err = pipe.Exec(ctx)
	return m, err
}

// Recent gives the newest messages of all conversations, out of Redis.
func (s *Store) Recent(ctx context.Context) ([]Message, error) {
	lines, err := s.cache.LRange(ctx, "messages:recent", 0, 49).Result()
	if err != nil {
		return nil, err
	}
	all := []Message{}
	for _, line := range lines {
		var m Message
		if json.Unmarshal([]byte(line), &m) == nil {
			all = append(all, m)
		}
	}
	return all, nil
}
