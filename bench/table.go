// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// printTable prints one line a row, and with notes the further figures below.
func printTable(w io.Writer, rows []*row, notes bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\tROW\tLIMIT\tOURS\tRATIO\tSPREAD\tGOAL\tMET")
	for _, r := range rows {
		if r.Err != "" {
			_, _ = fmt.Fprintf(table, "%s\t%s\tfailed: %s\t\t\t\t\t\n", r.ID, r.Name, r.Err)
			continue
		}
		limit := "–"
		if r.Limit != "" {
			limit = r.Limit + " " + quantity(median(r.Limits), r.Unit)
		}
		scores := r.scores()
		spread := scores
		if len(scores) == 0 {
			spread = r.Ours
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.ID, r.Name, limit, quantity(median(r.Ours), r.Unit),
			r.scoreText(median(scores)), r.spreadText(spread), r.goalText(), r.metText())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !notes {
		return nil
	}
	return printNotes(w, rows)
}

func printNotes(w io.Writer, rows []*row) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table)
	for _, r := range rows {
		for _, name := range slices.Sorted(maps.Keys(r.Notes)) {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.ID, r.Name, name, quantity(median(r.Notes[name]), ""))
		}
	}
	return table.Flush()
}

func (r *row) scoreText(value float64) string {
	switch {
	case math.IsNaN(value):
		return "–"
	case r.Score == difference:
		return fmt.Sprintf("%+.0f %s", value, r.Unit)
	default:
		return fmt.Sprintf("%.2f", value)
	}
}

func (r *row) spreadText(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	low, high := slices.Min(values), slices.Max(values)
	switch {
	case len(r.Limits) == 0:
		return quantity(low, "") + "–" + quantity(high, "")
	case r.Score == difference:
		return fmt.Sprintf("%+.0f–%+.0f", low, high)
	default:
		return fmt.Sprintf("%.2f–%.2f", low, high)
	}
}

func (r *row) goalText() string {
	var goals []string
	for _, g := range r.Goals {
		sign, bound := "≥", g.Min
		if math.IsNaN(bound) {
			sign, bound = "≤", g.Max
		}
		text := quantity(bound, r.Unit)
		if g.Of == ofScore {
			text = r.scoreText(bound)
		}
		goals = append(goals, sign+" "+text)
	}
	return strings.Join(goals, ", ")
}

func (r *row) metText() string {
	met, ok := r.met()
	switch {
	case !ok:
		return ""
	case met:
		return "yes"
	default:
		return "NO"
	}
}

// quantity prints a number with as many digits as it deserves, thousands apart.
func quantity(value float64, unit string) string {
	if unit != "" {
		unit = " " + unit
	}
	switch {
	case math.IsNaN(value):
		return "–"
	case math.Abs(value) < 100:
		return fmt.Sprintf("%.4g%s", value, unit)
	}
	digits := fmt.Sprintf("%.0f", value)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits + unit
}

// summary is a row as -json writes it.
type summary struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Limit  string   `json:"limit,omitempty"`
	Unit   string   `json:"unit,omitempty"`
	Score  score    `json:"score,omitempty"`
	Median *float64 `json:"median,omitempty"`
	Goal   string   `json:"goal,omitempty"`
	Met    *bool    `json:"met,omitempty"`
	Error  string   `json:"error,omitempty"`

	Limits []float64            `json:"limits,omitempty"`
	Ours   []float64            `json:"ours,omitempty"`
	Scores []float64            `json:"scores,omitempty"`
	Notes  map[string][]float64 `json:"notes,omitempty"`
}

// writeJSON writes every round of every row to a file.
func writeJSON(path, machine string, rows []*row) error {
	summaries := make([]summary, 0, len(rows))
	for _, r := range rows {
		s := summary{
			ID: r.ID, Name: r.Name, Limit: r.Limit, Unit: r.Unit, Score: r.Score,
			Goal: r.goalText(), Error: r.Err,
			Limits: r.Limits, Ours: r.Ours, Scores: r.scores(), Notes: r.Notes,
		}
		if value := median(s.Scores); !math.IsNaN(value) {
			s.Median = &value
		}
		if met, ok := r.met(); ok {
			s.Met = &met
		}
		summaries = append(summaries, s)
	}
	data, err := json.MarshalIndent(map[string]any{"machine": machine, "rows": summaries}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644) //nolint:gosec // figures are no secret
}
