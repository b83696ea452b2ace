// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The names of the metadata that a Troupe server reads and writes.
public enum HeaderName {
    public static let key = "actor-key"
    public static let id = "actor-id"
    public static let resolve = "actor-resolve"
    public static let input = "actor-input-bin"
    public static let namespace = "actor-namespace"
    public static let params = "actor-params-bin"
    public static let connection = "actor-conn"
    public static let resume = "actor-resume"
    public static let events = "actor-events"
    public static let idempotencyKey = "idempotency-key"
    public static let cursor = "actor-cursor"
    public static let created = "actor-created"
}

/// What a call does about the actor's existence.
public enum Resolve: String, Hashable, Sendable {
    /// Creates the actor if it is absent.
    case getOrCreate = "get-or-create"
    /// Fails with `not_found` if the actor is absent.
    case get
    /// Fails with `already_exists` if the actor is present.
    case create
}

/// Names an actor and says how calls reach it.
public struct Address: Hashable, Sendable {
    /// A key, or one incarnation by its id.
    public enum Target: Hashable, Sendable {
        case key([String], Resolve)
        case id(String)
    }

    public var target: Target
    /// The tenant.
    public var namespace: String
    /// The actor type's input message, in protobuf's binary encoding; used only by a
    /// call that creates the actor. At most 4 KiB.
    public var input: Data?
    /// The parameters of calls made outside a connection: the encoded request of the
    /// actor's subscription. At most 4 KiB.
    public var params: Data?

    public init(_ target: Target, namespace: String = "default", input: Data? = nil, params: Data? = nil) {
        self.target = target
        self.namespace = namespace
        self.input = input
        self.params = params
    }

    /// The bound of `input` and `params`, in bytes.
    public static let maxBinaryHeaderBytes = 4096

    /// The metadata that stands for the address. Throws ``AddressError``.
    public func headers() throws -> [String: String] {
        try Self.check(namespace: namespace)
        var headers = [HeaderName.namespace: namespace]
        switch target {
        case .key(let segments, let resolve):
            let key = try ActorKey.encode(segments)
            headers[HeaderName.key] = key.isEmpty ? nil : key
            headers[HeaderName.resolve] = resolve.rawValue
            if let input {
                guard resolve != .get else { throw AddressError("an address that creates no actor takes no input") }
                headers[HeaderName.input] = try Self.encode(input, what: "input")
            }
        case .id(let id):
            guard !id.isEmpty, id.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
                throw AddressError("\"\(id)\" is not an actor id")
            }
            guard input == nil else { throw AddressError("an address by id creates no actor and takes no input") }
            headers[HeaderName.id] = id
        }
        if let params {
            headers[HeaderName.params] = try Self.encode(params, what: "params")
        }
        return headers
    }

    private static func encode(_ data: Data, what: String) throws -> String {
        guard data.count <= maxBinaryHeaderBytes else {
            throw AddressError("the address's \(what) has \(data.count) bytes, of at most \(maxBinaryHeaderBytes)")
        }
        return data.base64EncodedString().trimmingCharacters(in: CharacterSet(charactersIn: "="))
    }

    private static func check(namespace: String) throws {
        let bytes = namespace.utf8
        func isWord(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        let marks = Array("._-".utf8)
        guard let first = bytes.first, bytes.count <= 64, isWord(first), bytes.allSatisfy({ isWord($0) || marks.contains($0) }) else {
            throw AddressError("a namespace has 1 to 64 characters and matches [a-z0-9][a-z0-9._-]*; \"\(namespace)\" does not")
        }
    }
}

extension Address {
    /// The URL of an actor's own HTTP handler, for plain requests and WebSockets. The
    /// service is the full name of the actor's; `path`, which may have a query, is what
    /// the handler sees: it begins with a slash, and whoever makes it escapes it. The
    /// address is by key; its resolve mode and parameters become part of the query.
    /// Throws ``AddressError``.
    public func url(base: URL, service: String, path: String) throws -> URL {
        guard case .key(let segments, let resolve) = target else { throw AddressError("a URL names an actor by key, not by id") }
        guard input == nil else { throw AddressError("a URL holds no input") }
        guard path.hasPrefix("/") else { throw AddressError("the path \"\(path)\" does not begin with a slash") }
        _ = try headers() // checks the rest
        let key = try ActorKey.encode(segments)
        var query = resolve == .getOrCreate ? [] : ["resolve=\(resolve.rawValue)"]
        if let params {
            query.append("params=\(params.base64URLEncodedString())")
        }
        var text = base.absoluteString
        while text.hasSuffix("/") { text.removeLast() }
        text += "/actors/\(namespace)" + (key.isEmpty ? "" : "/\(key)") + "/@/\(service)/http\(path)"
        if !query.isEmpty {
            text += (path.contains("?") ? "&" : "?") + query.joined(separator: "&")
        }
        guard let url = URL(string: text) else { throw AddressError("\"\(text)\" is not a URL") }
        return url
    }
}

extension Data {
    /// Base64 for URLs, without padding.
    package func base64URLEncodedString() -> String {
        base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .trimmingCharacters(in: CharacterSet(charactersIn: "="))
    }
}
