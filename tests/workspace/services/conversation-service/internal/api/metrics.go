package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"
)

type labels struct {
	path, method string
	code         int
}

type metrics struct {
	service, version string
	started          time.Time
	mutex            sync.Mutex
	requests         map[labels]int
}

func newMetrics(service, version string) *metrics {
	return &metrics{service: service, version: version, started: time.Now(), requests: map[labels]int{}}
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// count notes every answer, and logs those that are not routine.
func (m *metrics) count(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		seen := &recorder{w, http.StatusOK}
		next.ServeHTTP(seen, r)
		route := "other"
		if _, pattern, found := strings.Cut(r.Pattern, " "); found {
			route = pattern
		}
		m.mutex.Lock()
		m.requests[labels{route, r.Method, seen.status}]++
		m.mutex.Unlock()
		routine := route == "/health" || route == "/ready" || route == "/metrics"
		if !routine || seen.status >= 500 {
			log.Info("request", "method", r.Method, "path", r.URL.Path, "status", seen.status,
				"micros", time.Since(begun).Microseconds(), "requestId", r.Header.Get("X-Request-Id"))
		}
	})
}

func (m *metrics) serve(w http.ResponseWriter, _ *http.Request) {
	var lines []string
	m.mutex.Lock()
	for l, count := range m.requests {
		lines = append(lines, fmt.Sprintf("http_requests_total{service=%q,path=%q,method=%q,code=\"%d\"} %d",
			m.service, l.path, l.method, l.code, count))
	}
	m.mutex.Unlock()
	sort.Strings(lines)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintf(w, "# TYPE build_info gauge\nbuild_info{service=%q,version=%q,language=\"go\"} 1\n", m.service, m.version)
	fmt.Fprintf(w, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds{service=%q} %d\n", m.service, m.started.Unix())
	fmt.Fprintf(w, "# TYPE http_requests_total counter\n%s\n", strings.Join(lines, "\n"))
}
