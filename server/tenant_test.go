// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// room is a chat room whose methods do nothing: the matrix asks who gets there.
type room struct {
	chatv1connect.UnimplementedChatRoomHandler
	actors.Actor[*chatv1.ChatRoomState, *chatv1.ChatRoomEvent]
}

// ServeHTTP tells who got there.
func (r *room) ServeHTTP(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, r.ID()) }

// victim is an actor of the namespace red, and all that its owner knows about it.
type victim struct{ id, conn, cursor string }

const victimKey = "the-key"

// TestP49_NothingCrossesNamespaces tries, for every RPC of every service, each way
// in which a request can name an actor, as a principal of another namespace.
func TestP49_NothingCrossesNamespaces(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		authenticated(cfg)
		actors.Register(cfg.Registry, chatv1connect.RegisterChatRoomHandler, func() *room { return new(room) })
	})
	tried := 0
	for _, service := range []protoreflect.ServiceDescriptor{
		counterv1.File_counter_v1_counter_proto.Services().ByName("Counter"),
		chatv1.File_chat_v1_chat_proto.Services().ByName("ChatRoom"),
	} {
		v := b.newVictim(t, service)
		before := b.tenants(t)
		for i := range service.Methods().Len() {
			tried += b.tryActorMethod(t, service.Methods().Get(i), v)
		}
		tried += b.tryLifecycle(t, service, v)
		if after := b.tenants(t); before != after {
			t.Errorf("%s: the namespace red was\n%s\nand is\n%s", service.FullName(), before, after)
		}
	}
	if tried < 100 {
		t.Errorf("only %d requests were made", tried)
	}
}

// newVictim makes an actor in red and opens a connection to it, and makes one of
// the same key in blue.
func (b *bundle) newVictim(t *testing.T, service protoreflect.ServiceDescriptor) victim {
	t.Helper()
	var subscription protoreflect.MethodDescriptor
	for i := range service.Methods().Len() {
		if m := service.Methods().Get(i); isSubscription(m) {
			subscription = m
		}
	}
	open := func(as string) *troupev1.EventInfo {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		response := b.rpc(ctx, t, subscription, procedureOf(subscription), headers("Authorization", as, "Actor-Namespace", as, "Actor-Key", victimKey), sample(subscription.Input(), nil))
		t.Cleanup(func() { _ = response.Body.Close() })
		prefix := make([]byte, envelopeBytes)
		if _, err := io.ReadFull(response.Body, prefix); err != nil {
			t.Fatal(err)
		}
		frame := make([]byte, int(prefix[3])<<8+int(prefix[4]))
		if _, err := io.ReadFull(response.Body, frame); err != nil {
			t.Fatal(err)
		}
		union := dynamicpb.NewMessage(subscription.Output())
		if err := proto.Unmarshal(frame, union); err != nil {
			t.Fatal(err)
		}
		encoded, err := proto.Marshal(union.Get(subscription.Output().Fields().ByName("info")).Message().Interface())
		if err != nil {
			t.Fatal(err)
		}
		info := new(troupev1.EventInfo)
		if err := proto.Unmarshal(encoded, info); err != nil {
			t.Fatal(err)
		}
		return info
	}
	info := open("red")
	open("blue")
	return victim{id: info.GetOpened().GetActorId(), conn: info.GetOpened().GetConnection(), cursor: info.GetCursor()}
}

// tenants describes what is in the namespace red.
func (b *bundle) tenants(t *testing.T) string {
	t.Helper()
	header := headers("Authorization", "root", "Content-Type", "application/json")
	_, list := do(t, b.h1, b.url+"/troupe.v1.ActorService/List", `{"namespace":"red"}`, header)
	if !strings.Contains(list, victimKey) {
		t.Fatalf("red has no victim: %s", list)
	}
	return list
}

// tryActorMethod calls one method of an actor type in every way and returns how many
// there were.
func (b *bundle) tryActorMethod(t *testing.T, m protoreflect.MethodDescriptor, v victim) (tried int) {
	t.Helper()
	procedure := procedureOf(m)
	absent := "0" + v.id[1:len(v.id)-1] + "0"
	try := func(name, path string, want []string, header ...string) failure {
		t.Helper()
		tried++
		if isInternal(m) { // refused to everybody, whatever they name
			want = append(slices.Clip(want), internalMethod.reason)
		}
		got := b.try(t, m, path, headers(append([]string{"Authorization", "blue"}, header...)...), sample(m.Input(), nil))
		if !slices.Contains(want, got.reason) {
			t.Errorf("%s by %s: got %q (%s), want %v", procedure, name, got.reason, got.message, want)
		}
		return got
	}
	denied := []string{"namespace_denied"}
	try("key", procedure, denied, "Actor-Namespace", "red", "Actor-Key", victimKey)
	try("key to create", procedure, denied, "Actor-Namespace", "red", "Actor-Key", "new", "Actor-Resolve", "create")
	try("key and token", procedure, denied, "Actor-Namespace", "red", "Actor-Key", victimKey, "Actor-Conn", v.conn)
	try("id and namespace", procedure, denied, "Actor-Namespace", "red", "Actor-Id", v.id)
	try("URL", "/actors/red/"+victimKey+"/@"+procedure, denied)
	try("URL and query", "/actors/red/"+victimKey+"/@"+procedure+"?resolve=get&resume="+v.cursor, denied)
	try("encoded URL", "/actors/r%65d/"+victimKey+"/@"+procedure, denied)
	if raw := "/@/" + string(m.Parent().FullName()) + "/http/"; m.Parent().Name() == "ChatRoom" {
		try("raw URL", "/actors/red/"+victimKey+raw, denied)
		try("encoded raw URL", "/actors/%72ed/"+victimKey+raw, denied)
		try("raw URL and token", "/actors/blue/"+victimKey+raw, []string{"connection_gone"}, "Actor-Conn", v.conn)
		try("raw URL and namespace", "/actors/blue/"+victimKey+raw, []string{"address_conflict"}, "Actor-Namespace", "red")
		try("raw URL and id", "/actors/blue/"+victimKey+raw, []string{"address_conflict"}, "Actor-Id", v.id)
	}
	try("namespace in capitals", procedure, []string{"bad_namespace"}, "Actor-Namespace", "RED", "Actor-Key", victimKey)
	try("namespace and space", procedure, []string{"bad_namespace"}, "Actor-Namespace", "red\t ,x", "Actor-Key", victimKey)
	try("no namespace", procedure, denied, "Actor-Key", victimKey)
	try("two addresses", "/actors/blue/x/@"+procedure, []string{"address_conflict"}, "Actor-Namespace", "red")
	for _, key := range []string{"..%2Fred%2F" + victimKey, "~../red/" + victimKey, "%00red%00" + victimKey, "red/" + victimKey} {
		try("key "+key, procedure, []string{"actor_not_found", "bad_actor_key"}, "Actor-Namespace", "blue", "Actor-Key", key, "Actor-Resolve", "get")
	}
	there := try("id", procedure, []string{"actor_not_found"}, "Actor-Namespace", "blue", "Actor-Id", v.id)
	nowhere := try("absent id", procedure, []string{"actor_not_found"}, "Actor-Namespace", "blue", "Actor-Id", absent)
	if there.code != nowhere.code || there.message != nowhere.message {
		t.Errorf("%s: an id of another namespace is told from an absent one: %+v and %+v", procedure, there, nowhere)
	}
	if isSubscription(m) {
		try("cursor", procedure, []string{"cursor_out_of_range"}, "Actor-Namespace", "blue", "Actor-Key", victimKey, "Actor-Resume", v.cursor)
	} else {
		try("token", procedure, []string{"connection_gone"}, "Actor-Namespace", "blue", "Actor-Key", victimKey, "Actor-Conn", v.conn)
	}
	return tried
}

// tryLifecycle calls every method of the ActorService about an actor of red, as a
// user and as a server of blue.
func (b *bundle) tryLifecycle(t *testing.T, service protoreflect.ServiceDescriptor, v victim) (tried int) {
	t.Helper()
	methods := troupev1.File_troupe_v1_actor_service_proto.Services().ByName("ActorService").Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		if sharesStream(m) {
			continue
		}
		try := func(name, as string, address *troupev1.Address, want ...string) {
			t.Helper()
			tried++
			got := b.try(t, m, procedureOf(m), headers("Authorization", as), sample(m.Input(), address))
			if !slices.Contains(want, got.reason) {
				t.Errorf("%s by %s as %s: got %q (%s), want %v", procedureOf(m), name, as, got.reason, got.message, want)
			}
		}
		key := &troupev1.Address{Namespace: "red", Type: string(service.FullName()), Key: []string{victimKey}}
		id := &troupev1.Address{Namespace: "red", Id: v.id}
		foreign := &troupev1.Address{Namespace: "blue", Id: v.id}
		try("key", "blue-ops", key, "namespace_denied")
		try("id and namespace", "blue-ops", id, "namespace_denied")
		try("key", "blue", key, "namespace_denied", "server_role_required")
		try("id and namespace", "blue", id, "namespace_denied", "server_role_required")
		if m.Input().Fields().ByName("address") != nil {
			try("id", "blue-ops", foreign, "actor_not_found", "address_conflict")
			try("id", "blue", foreign, "actor_not_found", "address_conflict", "server_role_required")
		}
	}
	for _, as := range []string{"blue-ops", "blue"} {
		for want, carried := range map[string]*troupev1.Subscription{
			"namespace_denied": {Namespace: "red", Key: []string{victimKey}, Resume: v.cursor},
			"actor_not_found":  {Namespace: "blue", Id: v.id},
		} {
			tried++
			carried.Number, carried.Type, carried.Params = 1, string(service.FullName()), paramsOf(t, service)
			if got := b.tryCarried(t, as, carried); got != want {
				t.Errorf("a shared stream of %s that carries %v: got %q, want %q", as, carried, got, want)
			}
		}
	}
	return tried
}

// sharesStream reports whether a method of ActorService is about a shared stream, whose
// subscriptions name actors, each for itself.
func sharesStream(m protoreflect.MethodDescriptor) bool {
	return m.Name() == "Watch" || m.Name() == "AddSubscription" || m.Name() == "RemoveSubscription"
}

// paramsOf returns some parameters of a service's connections.
func paramsOf(t *testing.T, service protoreflect.ServiceDescriptor) *troupev1.Payload {
	t.Helper()
	for i := range service.Methods().Len() {
		if m := service.Methods().Get(i); isSubscription(m) {
			encoded, err := proto.Marshal(sample(m.Input(), nil))
			if err != nil {
				t.Fatal(err)
			}
			return &troupev1.Payload{Encoding: &troupev1.Payload_Binary{Binary: encoded}}
		}
	}
	t.Fatalf("%s has no subscription", service.FullName())
	return nil
}

// tryCarried opens a shared stream that carries one subscription, which must be refused,
// and returns why it was.
func (b *bundle) tryCarried(t *testing.T, as string, carried *troupev1.Subscription) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	response := b.rpc(ctx, t, nil, troupev1connect.ActorServiceWatchProcedure, headers("Authorization", as),
		&troupev1.WatchRequest{Subscriptions: []*troupev1.Subscription{carried}})
	defer func() { _ = response.Body.Close() }()
	for {
		var head [5]byte
		if _, err := io.ReadFull(response.Body, head[:]); err != nil {
			t.Fatalf("the shared stream ended: %v", err)
		}
		message := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(response.Body, message); err != nil {
			t.Fatal(err)
		}
		frame := new(troupev1.WatchFrame)
		if err := proto.Unmarshal(message, frame); err != nil {
			t.Fatal(err)
		}
		switch {
		case frame.GetEvent() != nil:
			t.Fatalf("%s is told %v", as, frame.GetEvent())
		case frame.GetEnded() != nil:
			for _, detail := range frame.GetEnded().GetError().GetDetails() {
				info := new(errdetails.ErrorInfo)
				if detail.GetType() == string(info.ProtoReflect().Descriptor().FullName()) && proto.Unmarshal(detail.GetValue(), info) == nil {
					return info.GetReason()
				}
			}
			return ""
		}
	}
}

// try makes one request, which must be refused.
func (b *bundle) try(t *testing.T, m protoreflect.MethodDescriptor, path string, header http.Header, message proto.Message) failure {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	response := b.rpc(ctx, t, m, path, header, message)
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s is not refused: %v", path, err)
	}
	f := readFailure(t, response, data)
	if f.code == "" {
		t.Errorf("%s with %v is not refused", path, header)
	}
	return f
}

// rpc makes a request by gRPC, so that every kind of method is called alike.
func (b *bundle) rpc(ctx context.Context, t *testing.T, _ protoreflect.MethodDescriptor, path string, header http.Header, message proto.Message) *http.Response {
	t.Helper()
	encoded, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path, bytes.NewReader(envelope(encoded)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	request.Header.Set("Content-Type", "application/grpc")
	response, err := b.h2.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func headers(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func procedureOf(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

func isSubscription(m protoreflect.MethodDescriptor) bool { return actionOf(m).GetSubscription() }

func isInternal(m protoreflect.MethodDescriptor) bool { return actionOf(m).GetInternal() }

func actionOf(m protoreflect.MethodDescriptor) *troupev1.ActionOptions {
	action, _ := proto.GetExtension(m.Options(), troupev1.E_Action).(*troupev1.ActionOptions)
	return action
}

// sample makes a message that the rules of its schema accept. Fields that name an
// actor or a namespace get those of address.
func sample(md protoreflect.MessageDescriptor, address *troupev1.Address) proto.Message {
	message := dynamicpb.NewMessage(md)
	for i := range md.Fields().Len() {
		field := md.Fields().Get(i)
		switch {
		case field.IsList(), field.IsMap(), field.Name() == "page_token":
		case (field.Name() == "namespace" || field.Name() == "type") && md.Fields().ByName("address") != nil: // excluded by it
		case field.Name() == "namespace":
			message.Set(field, protoreflect.ValueOfString(address.GetNamespace()))
		case field.Message() != nil && field.Message().FullName() == address.ProtoReflect().Descriptor().FullName():
			nested := message.Mutable(field).Message().Interface()
			encoded, err := proto.Marshal(address)
			if err == nil {
				err = proto.Unmarshal(encoded, nested)
			}
			if err != nil {
				panic(err) // the message has just been encoded
			}
		case field.Kind() == protoreflect.StringKind:
			message.Set(field, protoreflect.ValueOfString("x"))
		case field.Kind() == protoreflect.Int64Kind:
			message.Set(field, protoreflect.ValueOfInt64(1))
		case field.Kind() == protoreflect.Uint64Kind:
			message.Set(field, protoreflect.ValueOfUint64(1))
		case field.Kind() == protoreflect.Int32Kind:
			message.Set(field, protoreflect.ValueOfInt32(1))
		}
	}
	return message
}
