// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
)

// URL returns the URL of an actor's own HTTP handler, for plain HTTP clients and
// WebSockets. The type is the full name of the actor's service: the generated
// constant ending in Name. Path, which may have a query, is what the handler sees;
// it begins with a slash, and whoever makes it escapes it. The address is by key;
// its resolve mode and parameters become part of the query.
//
// What is sent there is the caller's: none of the client's options apply.
func (c *Client) URL(actorType string, address Address, path string) (string, error) {
	switch {
	case c.err != nil:
		return "", c.err
	case c.baseURL == "":
		return "", localErrorf("a client with a transport of its own has no URLs")
	case address.ID != "":
		return "", localErrorf("a URL names an actor by key, not by id")
	case address.Input != nil:
		return "", localErrorf("a URL holds no input")
	case !strings.HasPrefix(path, "/"):
		return "", localErrorf("the path %q does not begin with a slash", path)
	}
	if _, err := address.encode(c.namespace); err != nil {
		return "", err
	}
	key, err := wire.EncodeKey(address.Key)
	if err != nil {
		return "", localErrorf("%v", err)
	}
	if key != "" {
		key = "/" + key
	}
	namespace := address.Namespace
	if namespace == "" {
		namespace = c.namespace
	}
	if namespace == "" {
		namespace = wire.DefaultNamespace
	}
	query := make(url.Values)
	if address.Resolve != "" {
		query.Set("resolve", string(address.Resolve))
	}
	if address.Params != nil {
		params, err := proto.Marshal(address.Params)
		if err != nil {
			return "", localErrorf("the address's params: %v", err)
		}
		query.Set("params", base64.RawURLEncoding.EncodeToString(params))
	}
	if len(query) > 0 {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + query.Encode()
	}
	return strings.TrimSuffix(c.baseURL, "/") + "/actors/" + namespace + key + "/@/" + url.PathEscape(actorType) + "/http" + path, nil
}
