package config

import (
	"strings"
	"testing"
)

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestReadsWhatThePlatformSays(t *testing.T) {
	s, err := Read(environment("POSTGRES_HOST", "pg", "POSTGRES_PASSWORD", "p@ss", "REDIS_ADDR", "r:6379",
		"KAFKA_BROKERS", "k1:9092,k2:9092", "IDENTITY_SERVICE_URL", "http://identity-service:8080/"))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Optional["kafka"]; got != "k1:9092" {
		t.Errorf("kafka is %q", got)
	}
	if got := s.Services["identity-service"]; got != "http://identity-service:8080" {
		t.Errorf("identity-service is %q", got)
	}
	if dsn := s.Postgres.DSN(); !strings.Contains(dsn, "p%40ss@pg:5432/voiceassistant") {
		t.Errorf("the password is not escaped: %s", dsn)
	}
}

func TestNamesWhatIsMissing(t *testing.T) {
	_, err := Read(environment("POSTGRES_HOST", "pg"))
	if err == nil || !strings.Contains(err.Error(), "REDIS_ADDR") {
		t.Errorf("error is %v", err)
	}
}
