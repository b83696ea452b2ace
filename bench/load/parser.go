// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// flagEnd marks the envelope that ends a Connect stream.
const flagEnd = 0b10

// parser finds the events in a chunked body of envelopes, however the reads cut
// it. The zero value is at the beginning of a body.
type parser struct {
	state chunkState
	// left is how much of the current chunk is to come, and while its size is
	// read, the size so far.
	left int
	// carry is the beginning of an envelope that is not complete.
	carry []byte
}

type chunkState uint8

const (
	inSize chunkState = iota // in the line that holds the size
	inData                   // in the chunk
	inEnd                    // in the line end after the chunk
)

var errChunk = errors.New("not a chunked body")

// feed takes the next bytes and returns how many events they complete, and the
// size of these.
func (p *parser) feed(data []byte) (events, payload int, err error) {
	for len(data) > 0 {
		switch p.state {
		case inSize:
			digit := data[0]
			data = data[1:]
			switch {
			case digit >= '0' && digit <= '9':
				p.left = p.left<<4 | int(digit-'0')
			case digit >= 'a' && digit <= 'f':
				p.left = p.left<<4 | int(digit-'a'+10)
			case digit == '\n' && p.left == 0:
				return events, payload, io.EOF
			case digit == '\n':
				p.state = inData
			case digit != '\r':
				return events, payload, errChunk
			}
		case inData:
			n := min(p.left, len(data))
			e, b, err := p.envelopes(data[:n])
			events, payload = events+e, payload+b
			if err != nil {
				return events, payload, err
			}
			data = data[n:]
			if p.left -= n; p.left == 0 {
				p.state = inEnd
			}
		case inEnd:
			if data[0] == '\n' {
				p.state = inSize
			}
			data = data[1:]
		}
	}
	return events, payload, nil
}

// envelopes counts the events in a piece of the body.
func (p *parser) envelopes(data []byte) (events, payload int, err error) {
	for len(p.carry) > 0 {
		// Complete the envelope's head first, then its message.
		n := min(envelopeSize(p.carry)-len(p.carry), len(data))
		p.carry = append(p.carry, data[:n]...)
		data = data[n:]
		if len(p.carry) < envelopeSize(p.carry) {
			if len(data) == 0 {
				return events, payload, nil
			}
			continue
		}
		e, b, err := count(p.carry)
		events, payload = events+e, payload+b
		p.carry = p.carry[:0]
		if err != nil {
			return events, payload, err
		}
	}
	for len(data) > 0 {
		size := envelopeSize(data)
		if len(data) < size || len(data) < envelopeHead {
			p.carry = append(p.carry, data...)
			break
		}
		e, b, err := count(data[:size])
		events, payload = events+e, payload+b
		if err != nil {
			return events, payload, err
		}
		data = data[size:]
	}
	return events, payload, nil
}

const envelopeHead = 5

// envelopeSize returns the size of the envelope that data begins with, or of its
// head while that is all that can be said.
func envelopeSize(data []byte) int {
	if len(data) < envelopeHead {
		return envelopeHead
	}
	return envelopeHead + int(binary.BigEndian.Uint32(data[1:]))
}

// count looks at one whole envelope.
func count(envelope []byte) (events, payload int, err error) {
	message := envelope[envelopeHead:]
	if envelope[0]&flagEnd != 0 {
		return 0, 0, fmt.Errorf("end of stream: %.300s", message)
	}
	if isControl(message) {
		return 0, 0, nil
	}
	return 1, len(message), nil
}

// isControl reports whether an event union holds nothing but its first field,
// the EventInfo, as the frames that speak of the stream itself do.
func isControl(message []byte) bool {
	if len(message) < 2 || message[0] != 1<<3|2 {
		return len(message) == 0
	}
	length, n := binary.Uvarint(message[1:])
	return n > 0 && int(length) == len(message)-1-n
}
