// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"math/bits"
	"time"
)

const (
	// subBits sets the precision: each power of two is cut into 2^subBits
	// buckets, so a recorded value is off by less than one part in 128.
	subBits    = 7
	subBuckets = 1 << subBits
	// maxShift bounds the range: values from 2^(maxShift+subBits+1) ns, about
	// 73 minutes, share the last bucket.
	maxShift = 34
)

// Histogram counts durations in log-linear buckets. The zero value is empty. It
// is not safe for concurrent use: give each worker its own and [Histogram.Merge]
// them.
type Histogram struct {
	counts [(maxShift + 2) * subBuckets]uint64
	total  uint64
	sum    time.Duration
	max    time.Duration
}

// Record counts one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.total++
	h.sum += d
	h.max = max(h.max, d)
}

// Merge adds what other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Count is the number of recorded durations.
func (h *Histogram) Count() uint64 { return h.total }

// Max is the longest recorded duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the mean of the recorded durations, exactly.
func (h *Histogram) Mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return h.sum / time.Duration(h.total)
}

// Quantile returns the duration that a part q, from 0 to 1, of all recorded ones
// does not exceed, to the histogram's precision.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := uint64(q * float64(h.total))
	if rank >= h.total {
		return h.max
	}
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen > rank {
			return min(middle(i), h.max)
		}
	}
	return h.max
}

// bucket returns the index of v's bucket.
func bucket(v uint64) int {
	shift := bits.Len64(v) - subBits - 1
	if shift < 0 {
		return int(v)
	}
	if shift > maxShift {
		return (maxShift+2)*subBuckets - 1
	}
	return shift*subBuckets + int(v>>shift)
}

// middle returns the middle of a bucket.
func middle(index int) time.Duration {
	if index < 2*subBuckets {
		return time.Duration(index)
	}
	shift := index/subBuckets - 1
	low := uint64(index-shift*subBuckets) << shift
	return time.Duration(low + 1<<shift/2)
}
