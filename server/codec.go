// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"io"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/troupe-dev/troupe/actors"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// maxNesting bounds how deep a request may nest, in either encoding.
const maxNesting = 100

// rawMessage is a message that is already encoded for the codec at hand.
type rawMessage []byte

// binaryCodec is protobuf's binary encoding, for Connect and for the runtime.
type binaryCodec struct {
	*connectproto.BinaryCodec
}

// jsonCodec is protobuf's JSON encoding, for Connect and for the runtime.
type jsonCodec struct {
	*connectproto.JSONCodec
}

var (
	_ actors.Codec        = (*binaryCodec)(nil)
	_ actors.Codec        = (*jsonCodec)(nil)
	_ connect.StableCodec = (*binaryCodec)(nil)
	_ connect.StableCodec = (*jsonCodec)(nil)
)

// codecs are the encodings of the wire. They are safe for concurrent use.
type codecs struct {
	binary *binaryCodec
	json   *jsonCodec
}

// newCodecs makes the codecs. A strict one refuses JSON with unknown fields.
func newCodecs(strict bool) codecs {
	binary, json := connectproto.NewBinaryCodec(), connectproto.NewJSONCodec()
	binary.UnmarshalOptions.RecursionLimit = maxNesting
	json.UnmarshalOptions.RecursionLimit = maxNesting
	json.UnmarshalOptions.DiscardUnknown = !strict
	return codecs{binary: &binaryCodec{binary}, json: &jsonCodec{json}}
}

// named returns the codec that Connect negotiated.
func (c codecs) named(name string) actors.Codec {
	if name == connect.CodecNameJSON {
		return c.json
	}
	return c.binary
}

// Append implements [actors.Codec].
func (c *binaryCodec) Append(dst []byte, message proto.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(dst, message)
}

// MarshalWrite implements [connect.Codec].
func (c *binaryCodec) MarshalWrite(ctx context.Context, dst io.Writer, message any) error {
	if written, err := writeEncoded(dst, message, c); written {
		return err
	}
	return c.BinaryCodec.MarshalWrite(ctx, dst, message)
}

// UnmarshalRead implements [connect.Codec].
func (c *binaryCodec) UnmarshalRead(ctx context.Context, src io.Reader, message any) error {
	buffer, buffered := src.(*bytes.Buffer)
	target, ok := message.(proto.Message)
	if !buffered || !ok {
		return c.BinaryCodec.UnmarshalRead(ctx, src, message)
	}
	return c.UnmarshalOptions.Unmarshal(buffer.Next(buffer.Len()), target)
}

// Append implements [actors.Codec].
func (c *jsonCodec) Append(dst []byte, message proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{}.MarshalAppend(dst, message)
}

// MarshalWrite implements [connect.Codec].
func (c *jsonCodec) MarshalWrite(ctx context.Context, dst io.Writer, message any) error {
	if written, err := writeEncoded(dst, message, c); written {
		return err
	}
	return c.JSONCodec.MarshalWrite(ctx, dst, message)
}

// UnmarshalRead implements [connect.Codec].
func (c *jsonCodec) UnmarshalRead(ctx context.Context, src io.Reader, message any) error {
	buffer, buffered := src.(*bytes.Buffer)
	target, ok := message.(proto.Message)
	if !buffered || !ok {
		return c.JSONCodec.UnmarshalRead(ctx, src, message)
	}
	data := buffer.Next(buffer.Len())
	if len(data) == 0 {
		return errors.New("the body is empty; an empty message is {}")
	}
	return c.UnmarshalOptions.Unmarshal(data, target)
}

// writeEncoded writes a message that is encoded already, and says whether it is one.
func writeEncoded(dst io.Writer, message any, codec actors.Codec) (written bool, err error) {
	var encoded []byte
	switch message := message.(type) {
	case *rawMessage:
		encoded = *message
	case *actors.Frame: // whose bytes every subscriber of one codec shares
		if encoded, err = message.Encoded(codec); err != nil {
			return true, err
		}
	default:
		return false, nil
	}
	_, err = dst.Write(encoded)
	return true, err
}
