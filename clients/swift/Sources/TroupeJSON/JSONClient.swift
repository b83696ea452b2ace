// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TroupeCore

/// A client that speaks JSON over Connect: for programs without generated code, on every
/// platform. Messages are any `Codable`, in protobuf's JSON encoding: names in
/// lowerCamelCase, 64-bit numbers as strings.
public final class JSONClient: Sendable {
    /// How a client behaves.
    public struct Options: Sendable {
        /// The tenant.
        public var namespace = "default"
        /// Sent with every call and stream; asked anew for every attempt.
        public var headers: ActorCalls.HeaderSource = { [:] }
        /// Repeats calls: see ``RetryPolicy``.
        public var retries = true
        /// Gives every call of a method that may have effects an idempotency key.
        public var idempotencyKeys = true
        public var platform = Platform.system

        public init() {}
    }

    let http: HTTPClient
    let options: Options
    let retries: RetryPolicy
    let baseURL: URL

    /// A client of the server at `baseURL`. It sends nothing yet.
    public init(baseURL: URL, options: Options = .init()) {
        http = HTTPClient(baseURL: baseURL, codec: "json")
        self.baseURL = baseURL
        self.options = options
        retries = RetryPolicy(platform: options.platform, enabled: options.retries)
    }

    /// Ends every call and stream, and frees the session.
    public func close() {
        http.invalidate()
    }

    /// The actor with this key, which a first call creates, with this input.
    public func getOrCreate(_ service: String, _ key: [String], input: JSONInput? = nil, params: Data? = nil) -> JSONActor {
        JSONActor(client: self, service: service, target: .key(key, .getOrCreate), params: params,
                  creation: input.map { Creation(client: self, service: service, key: key, input: $0) })
    }

    /// The actor with this key. Calls fail with `not_found` while there is none.
    public func get(_ service: String, _ key: [String], params: Data? = nil) -> JSONActor {
        JSONActor(client: self, service: service, target: .key(key, .get), params: params)
    }

    /// One incarnation of an actor.
    public func forID(_ service: String, _ id: String, params: Data? = nil) -> JSONActor {
        JSONActor(client: self, service: service, target: .id(id), params: params)
    }

    /// Creates an actor now; `already_exists` if its key is taken. What is returned is of
    /// this incarnation only. Throws ``ActorError``.
    public func create(_ service: String, _ key: [String], input: JSONInput? = nil) async throws -> JSONActor {
        let request = LifecycleRequest(address: .init(namespace: options.namespace, type: service, key: key), input: input)
        let reply: LifecycleReply = try await call(.lifecycle("Create"), request)
        return forID(service, reply.actor?.id ?? "")
    }

    /// Calls a service that is no actor, such as `troupe.v1.ActorService`. Throws
    /// ``ActorError``.
    public func call<Request: Encodable, Reply: Decodable>(
        _ method: Method, _ request: Request, as reply: Reply.Type = Reply.self
    ) async throws -> Reply {
        let body = try JSONEncoder().encode(request)
        return try await retries.run(method, keyed: false) { [http, options] left in
            let answer = try await http.unary(method.path, headers: try await options.headers(), body: body, timeout: left)
            return try decode(Reply.self, answer.body)
        }
    }
}

/// The input message of a creation.
public struct JSONInput: Encodable, Sendable {
    /// The full name of the message, such as "chat.v1.ChatRoomInput".
    public let type: String
    public let value: [String: JSONValue]

    public init(type: String, _ value: [String: JSONValue]) {
        self.type = type
        self.value = value
    }

    public func encode(to encoder: any Encoder) throws {
        try JSONValue.object(value.merging(["@type": .string("type.googleapis.com/\(type)")]) { $1 }).encode(to: encoder)
    }
}

/// The creation of an actor with an input, which goes ahead of the first call, once: a
/// JSON client cannot write the binary header that would carry it.
actor Creation {
    private let client: JSONClient
    private let request: LifecycleRequest
    private var task: Task<LifecycleReply, any Error>?
    private var told = false

    init(client: JSONClient, service: String, key: [String], input: JSONInput) {
        self.client = client
        request = LifecycleRequest(address: .init(namespace: client.options.namespace, type: service, key: key), input: input)
    }

    /// Reports, once, whether this has created the actor.
    func ensure() async throws -> Bool {
        let task = self.task ?? Task { [client, request] in
            try await client.call(.lifecycle("GetOrCreate", idempotency: .idempotent), request)
        }
        self.task = task
        do {
            let created = try await task.value.created ?? false
            defer { told = true }
            return created && !told
        } catch {
            self.task = nil
            throw error
        }
    }
}

struct LifecycleRequest: Encodable, Sendable {
    struct Address: Encodable {
        var namespace: String?
        var type: String?
        var key: [String]?
        var id: String?
    }

    let address: Address
    var input: JSONInput?
}

struct LifecycleReply: Decodable, Sendable {
    struct Actor: Decodable {
        let id: String
    }

    let actor: Actor?
    let id: String?
    let created: Bool?
}

extension Method {
    static func lifecycle(_ name: String, idempotency: Idempotency = .unknown) -> Method {
        Method(service: "troupe.v1.ActorService", name: name, idempotency: idempotency)
    }
}

func decode<Message: Decodable>(_ type: Message.Type, _ data: Data) throws -> Message {
    do {
        return try JSONDecoder().decode(type, from: data)
    } catch {
        throw ActorError(.internal, "the answer is not a \(type): \(error)")
    }
}
