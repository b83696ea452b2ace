// Package deps pins modules while the tree grows; it goes away.
package deps

import (
	_ "buf.build/go/protovalidate"
	_ "connectrpc.com/connect/v2/connecthttp"
	_ "connectrpc.com/cors"
	_ "connectrpc.com/grpcreflect/v2"
	_ "github.com/cockroachdb/pebble/v2"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/rs/cors"
	_ "go.uber.org/goleak"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "pgregory.net/rapid"
	_ "golang.org/x/sys/unix"
	_ "connectrpc.com/validate"
)
