// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
)

// row is one line of the table: what was measured, against which limit, in every
// round.
type row struct {
	// ID is the letter of the group it belongs to, Name what it measures.
	ID, Name string
	// Limit names the limit; empty if there is none to measure.
	Limit string
	// Unit is of Limits and Ours.
	Unit string
	// Limits and Ours have one value a round.
	Limits, Ours []float64
	// Score is how a round's values become its score.
	Score score
	// Goals are what the medians are held against.
	Goals []goal
	// Notes are further figures, median over the rounds, for -v and -json.
	Notes map[string][]float64
	// Err says why the row could not be measured.
	Err string
}

// score compares one round's own value with its limit.
type score string

const (
	// ratio is ours/limit, for rates.
	ratio score = "ours/limit"
	// inverse is limit/ours, for costs.
	inverse score = "limit/ours"
	// difference is ours-limit.
	difference score = "ours-limit"
)

// goal is a bound for a median.
type goal struct {
	// Of is the score or our own value.
	Of subject
	// Min and Max are the bounds; NaN is none.
	Min, Max float64
}

type subject string

const (
	ofScore subject = "score"
	ofOurs  subject = "ours"
)

func atLeast(of subject, bound float64) goal { return goal{of, bound, math.NaN()} }
func atMost(of subject, bound float64) goal  { return goal{of, math.NaN(), bound} }

// add takes the values of one round.
func (r *row) add(limit, ours float64) {
	if r.Limit != "" {
		r.Limits = append(r.Limits, limit)
	}
	r.Ours = append(r.Ours, ours)
}

// note adds a further figure of a round.
func (r *row) note(name string, value float64) {
	if r.Notes == nil {
		r.Notes = map[string][]float64{}
	}
	r.Notes[name] = append(r.Notes[name], value)
}

// scores has one score a round, or none without a limit.
func (r *row) scores() []float64 {
	scores := make([]float64, 0, len(r.Limits))
	for i, limit := range r.Limits {
		switch r.Score {
		case ratio:
			scores = append(scores, r.Ours[i]/limit)
		case inverse:
			scores = append(scores, limit/r.Ours[i])
		case difference:
			scores = append(scores, r.Ours[i]-limit)
		}
	}
	return scores
}

// met says whether the row's goals are met; ok is false if it has none or was not
// measured.
func (r *row) met() (met, ok bool) {
	if r.Err != "" || len(r.Goals) == 0 {
		return false, false
	}
	met = true
	for _, g := range r.Goals {
		value := median(r.Ours)
		if g.Of == ofScore {
			value = median(r.scores())
		}
		// NaN compares false, so a missing bound is no obstacle and a
		// missing value is one.
		met = met && !math.IsNaN(value) && !(value < g.Min) && !(value > g.Max)
	}
	return met, true
}

// median is the middle of the values, NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
