// Package config reads what the platform tells the service in its environment.
package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Settings is everything that may differ from one place to another.
type Settings struct {
	Service  string
	Version  string
	Port     string
	Postgres Postgres
	Redis    Redis
	// Services that this one calls, by name.
	Services map[string]string
	// Systems that make it better, and without which it works: name to host:port.
	Optional map[string]string
}

// Postgres is where conversations are.
type Postgres struct{ Host, Port, Database, User, Password string }

// Redis is where counters and recent messages are.
type Redis struct{ Address, Password string }

// DSN is the connection string of lib/pq.
func (p Postgres) DSN() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(p.User, p.Password),
		Host:     net.JoinHostPort(p.Host, p.Port),
		Path:     p.Database,
		RawQuery: "sslmode=disable&connect_timeout=2",
	}
	return u.String()
}

// Read takes the settings from an environment. Passwords are never part of an error.
func Read(env func(string) string) (Settings, error) {
	or := func(name, other string) string {
		if value := env(name); value != "" {
			return value
		}
		return other
	}
	s := Settings{
		Service: or("SERVICE_NAME", "conversation-service"),
		Version: or("VERSION", "1.1.0"),
		Port:    or("PORT", "8080"),
		Postgres: Postgres{
			Host: env("POSTGRES_HOST"), Port: or("POSTGRES_PORT", "5432"),
			Database: or("POSTGRES_DB", "voiceassistant"), User: or("POSTGRES_USER", "voiceassistant"),
			Password: env("POSTGRES_PASSWORD"),
		},
		Redis:    Redis{Address: env("REDIS_ADDR"), Password: env("REDIS_PASSWORD")},
		Services: map[string]string{},
		Optional: map[string]string{},
	}
	for name, variable := range map[string]string{
		"identity-service": "IDENTITY_SERVICE_URL", "ai-orchestrator": "AI_ORCHESTRATOR_URL",
	} {
		if value := env(variable); value != "" {
			s.Services[name] = strings.TrimRight(value, "/")
		}
	}
	for name, variable := range map[string]string{"kafka": "KAFKA_BROKERS", "nacos": "NACOS_ADDR"} {
		if value := strings.Split(env(variable), ",")[0]; value != "" {
			s.Optional[name] = value
		}
	}
	for name, value := range map[string]string{"POSTGRES_HOST": s.Postgres.Host, "REDIS_ADDR": s.Redis.Address} {
		if value == "" {
			return s, fmt.Errorf("%s is not set", name)
		}
	}
	return s, nil
}
