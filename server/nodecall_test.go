// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"reflect"
	"testing"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// TestAPostmarkTravels holds that the node which runs a receiver is told all that the
// sender's says of a message.
func TestAPostmarkTravels(t *testing.T) {
	t.Parallel()
	_, nodes := nodesOf(t, 1, nil)
	service := &nodeService{host: nodes[0].host, methods: make(map[string]*actors.Method), codec: newCodecs(false).binary}
	for _, m := range nodes[0].host.Methods() {
		service.methods[m.Spec.Procedure] = m
	}
	want := &actors.Postmark{Sender: store.NewID(1), Number: 7, FormerNumbers: []uint64{3, 4}, PassedOver: []uint64{3, 5}}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[actors.Postmark]()) {
		if reflect.ValueOf(*want).FieldByIndex(field.Index).IsZero() {
			t.Errorf("the test leaves %s out", field.Name)
		}
	}
	encoded, err := encodeCall(&actors.Call{
		Method: service.methods[counterv1connect.CounterIncrementProcedure], Request: &counterv1.IncrementRequest{Amount: 1}, Postmark: want,
	})
	if err != nil {
		t.Fatal(err)
	}
	call, err := service.decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(call.Postmark, want) {
		t.Errorf("got %+v, want %+v", call.Postmark, want)
	}
}
