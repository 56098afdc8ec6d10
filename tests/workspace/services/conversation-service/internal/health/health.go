// Package health asks the service's dependencies whether they work, side by side, and keeps the answers for a moment.
package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"conversation-service/internal/config"
)

const (
	fresh    = time.Second
	patience = 1500 * time.Millisecond
)

// State is what a check found.
type State struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Address  string `json:"address"`
	Optional bool   `json:"optional"`
	Up       bool   `json:"up"`
	Millis   int64  `json:"millis"`
	Detail   string `json:"detail"`
}

// Check is a dependency and how to ask it.
type Check struct {
	Name, Kind, Address string
	Optional            bool
	Ask                 func(context.Context) (string, error)
}

// Pinger is the part of the store that is asked.
type Pinger interface {
	PingPostgres(context.Context) (string, error)
	PingRedis(context.Context) (string, error)
}

// Checks are the service's dependencies: it needs its databases, and is better with the rest.
func Checks(s config.Settings, data Pinger) []Check {
	checks := []Check{
		{"postgres", "postgres", net.JoinHostPort(s.Postgres.Host, s.Postgres.Port), false, data.PingPostgres},
		{"redis", "redis", s.Redis.Address, false, data.PingRedis},
	}
	for name, base := range s.Services {
		checks = append(checks, Check{name, "http", base, true, get(base + "/health")})
	}
	for name, address := range s.Optional {
		checks = append(checks, Check{name, name, address, true, dial(address)})
	}
	return checks
}

func get(url string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return "", err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		if answer.StatusCode >= 300 {
			return "", errors.New(answer.Status)
		}
		return answer.Status, nil
	}
}

func dial(address string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return "", err
		}
		return "accepts connections", connection.Close()
	}
}

// Board remembers.
type Board struct {
	checks []Check
	mutex  sync.Mutex
	when   time.Time
	states []State
}

// NewBoard has asked nothing yet.
func NewBoard(checks []Check) *Board { return &Board{checks: checks} }

// States asks, unless it has just done so.
func (b *Board) States(ctx context.Context) []State {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if time.Since(b.when) < fresh {
		return b.states
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	states := make([]State, len(b.checks))
	var all sync.WaitGroup
	for i, check := range b.checks {
		all.Add(1)
		go func() {
			defer all.Done()
			begun := time.Now()
			detail, err := check.Ask(limit)
			if err != nil {
				detail = err.Error()
			}
			states[i] = State{check.Name, check.Kind, check.Address, check.Optional, err == nil,
				time.Since(begun).Milliseconds(), detail}
		}()
	}
	all.Wait()
	b.states, b.when = states, time.Now()
	return states
}

// Ready unless something that is not optional is down.
func Ready(states []State) bool {
	for _, state := range states {
		if !state.Up && !state.Optional {
			return false
		}
	}
	return true
}

// Without names the optional ones that are down.
func Without(states []State) []string {
	names := []string{}
	for _, state := range states {
		if !state.Up && state.Optional {
			names = append(names, state.Name)
		}
	}
	return names
}
