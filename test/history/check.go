// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Log is the values that a register ever had, in order: the first one has version 1.
type Log []int64

// versions returns the version of each value, or what is wrong with the log.
func (l Log) versions() (map[int64]int64, []error) {
	var problems []error
	found := make(map[int64]int64, len(l))
	for n, value := range l {
		version := int64(n) + 1
		if first, twice := found[value]; twice {
			problems = append(problems, fmt.Errorf("the value %d took effect twice, as version %d and %d", value, first, version))
			continue
		}
		found[value] = version
	}
	return found, problems
}

// Check returns what is wrong with the operations on one register, given its log.
// Patience bounds the search for an order of them; without a verdict by then it says so.
func Check(operations []Operation, log Log, patience time.Duration) []error {
	versions, problems := log.versions()
	asked := make(map[int64]bool, len(operations))
	var ordered []porcupine.Operation
	for _, o := range operations {
		asked[o.Value] = o.Kind != Read
		version, written := versions[o.Value]
		switch {
		case o.Kind == Read:
			written = false
		case o.Outcome == NotDone && written:
			problems = append(problems, fmt.Errorf("was denied, and took effect as version %d: %s", version, o))
		case o.Outcome == Done && o.writes() && !written:
			problems = append(problems, fmt.Errorf("was acknowledged, and is lost: %s", o))
		case o.Outcome == Done && !o.writes() && written:
			problems = append(problems, fmt.Errorf("says that it has written nothing, and took effect as version %d: %s", version, o))
		}
		if step, ok := o.step(version, written); ok {
			ordered = append(ordered, step)
		}
	}
	for n, value := range log {
		if !asked[value] {
			problems = append(problems, fmt.Errorf("version %d is %d, which nobody has asked for", n+1, value))
		}
	}
	switch verdict, info := porcupine.CheckOperationsVerbose(model, ordered, patience); verdict {
	case porcupine.Ok:
	case porcupine.Unknown:
		problems = append(problems, fmt.Errorf("no order of %d operations was found within %s, nor that there is none", len(ordered), patience))
	case porcupine.Illegal:
		problems = append(problems, fmt.Errorf("there is no order of the operations: %s", stuck(ordered, info)))
	}
	return problems
}

// never is later than any return.
const never = math.MaxInt64

// step is the operation as it is put in order, unless there is nothing to put: it has
// had no effect and said nothing.
func (o Operation) step(version int64, written bool) (porcupine.Operation, bool) {
	step := porcupine.Operation{ClientId: o.Client, Input: o, Call: int64(o.Call), Output: o, Return: int64(o.Return)}
	switch {
	case o.Outcome == Done && o.Kind != Later:
	case o.Kind != Read && o.Outcome != NotDone && written:
		// When it was done is not known, as what is.
		o.Version = version
		step.Output, step.Return = o, never
	default:
		return porcupine.Operation{}, false
	}
	return step, true
}

// content is a register at one moment.
type content struct{ value, version int64 }

// model is a register of which each operation is done at one moment.
var model = porcupine.Model{
	Init: func() any { return content{} },
	Step: func(state, _, output any) (bool, any) {
		return output.(Operation).after(state.(content)) //nolint:forcetypeassert // the only types
	},
}

// after returns what the operation makes of a register, and whether what it said is
// right then.
func (o Operation) after(was content) (right bool, is content) {
	is = content{o.Value, was.version + 1}
	if o.Kind == Read || o.Kind == Swap && o.Outcome == Done && !o.Swapped {
		is = was
	}
	right = o.Version == is.version
	if o.Outcome == Done && o.Kind != Later {
		right = right && o.Previous == was.value
	}
	if o.Kind == Swap {
		right = right && (was.value == o.Expected) == (is != was)
	}
	return right, is
}

// stuck describes the longest order that was found and what does not fit after it.
func stuck(operations []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []int
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	placed := make(map[int]bool, len(longest))
	var is content
	for _, n := range longest {
		placed[n] = true
		_, is = operations[n].Output.(Operation).after(is) //nolint:forcetypeassert // the only type
	}
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, "after %d of %d the value is %d, version %d, and none of these can be next",
		len(longest), len(operations), is.value, is.version)
	shown := 0
	for n, o := range operations {
		if !placed[n] && shown < 8 {
			_, _ = fmt.Fprintf(&text, "\n\t%s", o.Output)
			shown++
		}
	}
	return text.String()
}
