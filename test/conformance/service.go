// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	conformancev1 "github.com/troupe-dev/troupe/test/conformance/gen/connectrpc/conformance/v1"
	"github.com/troupe-dev/troupe/test/conformance/gen/connectrpc/conformance/v1/conformancev1connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// service does what each request tells it to: service.proto of the suite says how.
type service struct {
	conformancev1connect.UnimplementedConformanceServiceHandler
}

// Unary implements the suite's service, as do the methods below.
func (service) Unary(ctx context.Context, request *conformancev1.UnaryRequest) (*conformancev1.UnaryResponse, error) {
	payload, err := answer(ctx, request.GetResponseDefinition(), request)
	return &conformancev1.UnaryResponse{Payload: payload}, err
}

func (service) IdempotentUnary(ctx context.Context, request *conformancev1.IdempotentUnaryRequest) (*conformancev1.IdempotentUnaryResponse, error) {
	payload, err := answer(ctx, request.GetResponseDefinition(), request)
	return &conformancev1.IdempotentUnaryResponse{Payload: payload}, err
}

func (service) ClientStream(ctx context.Context, stream conformancev1connect.ConformanceServiceClientStreamServerStream) (*conformancev1.ClientStreamResponse, error) {
	var requests []proto.Message
	var plan *conformancev1.UnaryResponseDefinition
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if len(requests) == 0 {
			plan = request.GetResponseDefinition()
		}
		requests = append(requests, request)
	}
	payload, err := answer(ctx, plan, requests...)
	return &conformancev1.ClientStreamResponse{Payload: payload}, err
}

func (service) ServerStream(ctx context.Context, request *conformancev1.ServerStreamRequest, stream conformancev1connect.ConformanceServiceServerStreamServerStream) error {
	r := newReplies(ctx, request.GetResponseDefinition(), func(payload *conformancev1.ConformancePayload) error {
		return stream.Send(&conformancev1.ServerStreamResponse{Payload: payload})
	})
	r.requests = []proto.Message{request}
	if len(r.data) > 0 {
		if err := stream.SendHeaders(); err != nil {
			return err
		}
	}
	return r.rest()
}

func (service) BidiStream(ctx context.Context, stream conformancev1connect.ConformanceServiceBidiStreamServerStream) error {
	var r *replies
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		fullDuplex := false
		if r == nil {
			fullDuplex = request.GetFullDuplex()
			r = newReplies(ctx, request.GetResponseDefinition(), func(payload *conformancev1.ConformancePayload) error {
				return stream.Send(&conformancev1.BidiStreamResponse{Payload: payload})
			})
			r.fullDuplex = fullDuplex
			if fullDuplex && len(r.data) > 0 {
				if err := stream.SendHeaders(); err != nil {
					return err
				}
			}
		}
		r.requests = append(r.requests, request)
		if !r.fullDuplex {
			continue
		}
		if len(r.data) == 0 {
			break
		}
		if err := r.next(); err != nil {
			return err
		}
	}
	if r == nil {
		return nil
	}
	if !r.fullDuplex && len(r.data) > 0 {
		if err := stream.SendHeaders(); err != nil {
			return err
		}
	}
	return r.rest()
}

// answer makes the payload of the one response of a call, or its error.
func answer(ctx context.Context, plan *conformancev1.UnaryResponseDefinition, requests ...proto.Message) (*conformancev1.ConformancePayload, error) {
	info, err := requestInfo(ctx, requests)
	if err != nil {
		return nil, err
	}
	setMetadata(ctx, plan.GetResponseHeaders(), plan.GetResponseTrailers())
	if err := pause(ctx, plan.GetResponseDelayMs()); err != nil {
		return nil, err
	}
	if failure := plan.GetError(); failure != nil {
		return nil, failureOf(failure, info)
	}
	return &conformancev1.ConformancePayload{Data: plan.GetResponseData(), RequestInfo: info}, nil
}

// replies are the responses of a stream.
type replies struct {
	ctx        context.Context //nolint:containedctx // it lives as long as the call
	send       func(*conformancev1.ConformancePayload) error
	requests   []proto.Message // that no response has told of
	data       [][]byte        // of those that are to come
	failure    *conformancev1.Error
	delay      uint32
	fullDuplex bool
	begun      bool
}

func newReplies(ctx context.Context, plan *conformancev1.StreamResponseDefinition, send func(*conformancev1.ConformancePayload) error) *replies {
	setMetadata(ctx, plan.GetResponseHeaders(), plan.GetResponseTrailers())
	return &replies{ctx: ctx, send: send, data: plan.GetResponseData(), failure: plan.GetError(), delay: plan.GetResponseDelayMs()}
}

// next sends one response. The first one tells all about the call; of a full-duplex
// stream each later one tells which requests have come since.
func (r *replies) next() error {
	payload := &conformancev1.ConformancePayload{Data: r.data[0]}
	r.data = r.data[1:]
	var err error
	switch {
	case !r.begun:
		payload.RequestInfo, err = requestInfo(r.ctx, r.requests)
	case r.fullDuplex && len(r.requests) > 0:
		payload.RequestInfo = new(conformancev1.ConformancePayload_RequestInfo)
		payload.RequestInfo.Requests, err = anys(r.requests)
	}
	if err != nil {
		return err
	}
	r.begun, r.requests = true, nil
	if err := pause(r.ctx, r.delay); err != nil {
		return err
	}
	return r.send(payload)
}

// rest sends what is left and ends the stream.
func (r *replies) rest() error {
	for len(r.data) > 0 {
		if err := r.next(); err != nil {
			return err
		}
	}
	if r.failure == nil {
		return nil
	}
	if r.begun {
		return failureOf(r.failure, nil)
	}
	info, err := requestInfo(r.ctx, r.requests)
	if err != nil {
		return err
	}
	return failureOf(r.failure, info)
}

// requestInfo is what the server has seen of a call.
func requestInfo(ctx context.Context, requests []proto.Message) (*conformancev1.ConformancePayload_RequestInfo, error) {
	packed, err := anys(requests)
	if err != nil {
		return nil, err
	}
	info := &conformancev1.ConformancePayload_RequestInfo{Requests: packed}
	if call, ok := connect.CallInfoForServerContext(ctx); ok {
		for name, values := range call.RequestHeader().All() {
			info.RequestHeaders = append(info.RequestHeaders, &conformancev1.Header{Name: name, Value: values})
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		info.TimeoutMs = proto.Int64(time.Until(deadline).Milliseconds())
	}
	if http, ok := connecthttp.ServerInfoForContext(ctx); ok && len(http.HTTPGetQueryParams()) > 0 {
		info.ConnectGetInfo = new(conformancev1.ConformancePayload_ConnectGetInfo)
		for name, values := range http.HTTPGetQueryParams() {
			info.ConnectGetInfo.QueryParams = append(info.ConnectGetInfo.QueryParams, &conformancev1.Header{Name: name, Value: values})
		}
	}
	return info, nil
}

func anys(messages []proto.Message) ([]*anypb.Any, error) {
	packed := make([]*anypb.Any, len(messages))
	for n, message := range messages {
		var err error
		if packed[n], err = anypb.New(message); err != nil {
			return nil, err
		}
	}
	return packed, nil
}

// failureOf makes an error as a request describes it, with info as one more detail
// unless that is nil.
func failureOf(failure *conformancev1.Error, info *conformancev1.ConformancePayload_RequestInfo) error {
	err := connect.NewError(connect.Code(failure.GetCode()), failure.GetMessage())
	details := make([]proto.Message, 0, len(failure.GetDetails())+1)
	for _, detail := range failure.GetDetails() {
		details = append(details, detail)
	}
	if info != nil {
		details = append(details, info)
	}
	for _, message := range details {
		detail, bad := connectproto.NewErrorDetail(message)
		if bad != nil {
			return bad
		}
		err = err.WithDetail(detail)
	}
	return err
}

func setMetadata(ctx context.Context, headers, trailers []*conformancev1.Header) {
	call, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return
	}
	for _, header := range headers {
		for _, value := range header.GetValue() {
			call.ResponseHeader().Add(header.GetName(), value)
		}
	}
	for _, trailer := range trailers {
		for _, value := range trailer.GetValue() {
			call.ResponseTrailer().Add(trailer.GetName(), value)
		}
	}
}

func pause(ctx context.Context, ms uint32) error {
	if ms == 0 {
		return nil
	}
	timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
