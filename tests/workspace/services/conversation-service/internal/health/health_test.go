package health

import (
	"context"
	"errors"
	"testing"
)

func answers(err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return "fine", err }
}

func TestOptionalOnesDoNotCount(t *testing.T) {
	board := NewBoard([]Check{
		{Name: "postgres", Ask: answers(nil)},
		{Name: "kafka", Optional: true, Ask: answers(errors.New("refused"))},
	})
	states := board.States(context.Background())
	if !Ready(states) {
		t.Errorf("not ready: %+v", states)
	}
	if without := Without(states); len(without) != 1 || without[0] != "kafka" {
		t.Errorf("runs without %v", without)
	}
}

func TestADatabaseThatIsDownCounts(t *testing.T) {
	states := NewBoard([]Check{{Name: "postgres", Ask: answers(errors.New("refused"))}}).States(context.Background())
	if Ready(states) || states[0].Detail != "refused" {
		t.Errorf("ready: %+v", states)
	}
}
